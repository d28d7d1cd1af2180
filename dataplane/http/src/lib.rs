//! What all services over HTTP have in common: connections, and how they say that something did not work.

mod connection;
mod finished;
mod limits;
mod lingering;
mod listen;
mod origin;
mod problem;
mod shown;

pub use self::connection::{HEAD_WITHIN, connection};
pub use self::finished::finished;
pub use self::limits::{Allowances, Limits, Rate};
pub use self::lingering::{Coming, Lingering, Silence, Whole, hearing};
pub use self::listen::listen;
pub use self::origin::is_same_origin;
pub use self::problem::{FieldError, Problem, problem};
pub use self::shown::{NotShown, Shown};

//! Routing without I/O: which tenant a host belongs to, and which rule answers a request.
//!
//! The gateway serves from a [`Table`]; the operator tells users who holds a host. Both decide by the
//! same functions of this crate, so a status never says other than what is served.

mod claims;
mod host;
mod path;
mod support;
mod table;
mod weights;

pub use self::claims::{Claimant, Claims};
pub use self::host::{HostError, normalize_host};
pub use self::path::{PathError, check_path};
pub use self::support::unsupported;
pub use self::table::{PathRule, Rule, RuleError, Table};
pub use self::weights::Weights;

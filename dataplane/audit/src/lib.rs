//! Who did what to which object, from where, and what became of it.
//!
//! Every process that lets somebody change something has a [`Recorder`]; records go into a stream of JetStream from which nothing is taken
//! away before its time ([`Trail::open`]), by subjects: what was done in a tenant's place, and what somebody did elsewhere. [`Trail::read`]
//! reads one or the other. While the bus is away, records wait in memory, and what does not fit is counted as lost.

mod record;
mod recorder;
mod trail;

pub use self::record::{Actor, Outcome, Record};
pub use self::recorder::{Recorder, Writing};
pub use self::trail::{Asked, Page, Trail, TrailError};

/// The stream's name.
pub const STREAM: &str = "eddy-audit";

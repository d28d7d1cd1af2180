//! Who did what to which object, from where, and what became of it.
//!
//! Every process that lets somebody change something has a [`Recorder`]; records go into a stream of JetStream from which nothing is taken
//! away before its time ([`Trail::open`]), by subjects: what was done in a tenant's place, and what somebody did elsewhere. [`Trail::read`]
//! reads one or the other. What is done often, as writing files is, is told of by numbers ([`Recorder::record_often`]). While the bus is away, records wait in memory, and what does not fit is counted as lost.

mod often;
mod origin;
mod record;
mod recorder;
mod trail;

pub use self::origin::Origin;
pub use self::record::{Actor, Outcome, Record};
pub use self::recorder::{NoRoom, Recorder, Writing};
pub use self::trail::{Asked, Page, Trail, TrailError};

/// The stream's name.
pub const STREAM: &str = "eddy-audit";

//! The servers that have, or are going to have, a chunk.

mod fan_out;
mod locations;
mod pack;
mod servers;
mod taking;

pub(crate) use self::fan_out::{FanOut, Written};
pub(crate) use self::locations::{Location, Locations};
pub(crate) use self::pack::{Pack, Placed};
pub use self::servers::Servers;
pub use self::taking::Taking;
pub(crate) use crate::placement::needed;

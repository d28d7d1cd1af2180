//! The servers that have, or are going to have, a chunk.

mod fan_out;
mod late;
mod locations;
mod pack;
mod servers;

pub(crate) use self::fan_out::{FanOut, Written};
pub(crate) use self::late::Late;
pub(crate) use self::locations::{Location, Locations};
pub(crate) use self::pack::{Pack, Placed};
pub use self::servers::Servers;

/// Copies that must be durable before an upload may become an object.
pub(crate) fn needed(copies: u8) -> usize {
    usize::from(copies.clamp(1, 2))
}

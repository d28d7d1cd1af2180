//! Objects on real chunkservers, with metadata in a real store.
#![allow(clippy::unwrap_used)]

mod bytes;
mod faults;
mod listing;
mod parts;
mod rows;
mod versions;

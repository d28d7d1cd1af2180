//! Objects on real chunkservers, with metadata in a real store.
#![allow(clippy::unwrap_used)]

mod bytes;
mod faults;
mod listing;
mod rows;

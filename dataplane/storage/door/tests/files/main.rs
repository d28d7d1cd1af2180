//! Files over real connections: a door, real chunkservers, metadata in a real store.
#![allow(clippy::unwrap_used)]

mod access;
mod bad_input;
mod contents;
mod support;
mod tokens;
mod transfers;

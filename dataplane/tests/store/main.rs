//! The store, and storage over it, as processes that are killed.
#![allow(clippy::unwrap_used)]

mod belonging;
mod kv;
mod processes;
mod secured;
mod storage;

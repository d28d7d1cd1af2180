//! Chunks that are erasure coded: where their bytes are among shards, how shards are made of each other, and how they are read.
//!
//! A chunk's file is its image: the needles that are needed, each where it was, and zeroes between them. It is cut into
//! [`DATA_SHARDS`] parts that follow each other, so that a short needle is in one of them, and read from one server; and there are
//! [`PARITY_SHARDS`] more, of which as many can stand for others that are lost. Each shard is a needle, in a chunk of its own on
//! a server of its own, with checksums like every needle; and those of the needles in the image are within.

mod code;
mod layout;
mod read;

pub use self::code::{parity_of, restore};
pub use self::layout::{DATA_SHARDS, PARITY_SHARDS, Segment};
pub(crate) use self::read::Coded;

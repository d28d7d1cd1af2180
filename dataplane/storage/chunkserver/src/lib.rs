//! Chunks between processes: the server of one disk's chunks, and its client.
//!
//! Bulk bytes go over plain connections, one request at a time on each, as they are stored: whoever writes makes the checksums,
//! the server checks them before it stores and before it sends, and whoever reads checks them again.

mod address;
mod client;
mod committer;
mod protocol;
mod pull;
mod server;

pub use self::address::{ServerAddress, Source};
pub use self::client::{ChunkClient, ClientError, ReadCall, WriteCall};
pub use self::protocol::{Load, Refusal, ServerStatus};
pub use self::pull::PULL_NEEDLES_MAX;
pub use self::server::{Server, serve};

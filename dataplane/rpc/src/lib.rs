//! Calls between processes of the data plane: many at once over one connection, answered in any order.
//!
//! A request and its answer are bytes; what they mean is the caller's affair. An answer may come in parts. [`Transport`] is the network: real
//! ([`TcpTransport`], [`TlsTransport`]) or, in a simulation, not. A call that failed says whether the other side may have heard it.

mod accept;
mod client;
mod frame;
mod memory;
mod names;
mod server;
mod tls;
mod transport;

pub use self::accept::accept_all;
pub use self::client::{Answers, CallError, Client};
pub use self::frame::{FRAME_BYTES_MAX, Frame, FrameCodec, FrameError, Kind};
pub use self::memory::MemoryTransport;
pub use self::server::{Gone, Handler, Parts, ServerLimits, serve};
pub use self::tls::{TLS_NAME, TlsTransport};
pub use self::transport::{Connection, Listener, TcpTransport, Transport};
pub use eddy_tls::TlsError;

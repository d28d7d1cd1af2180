//! Ports of loopback that nobody else gets while they are held.

use tokio::net::TcpSocket;

/// A port that nobody else takes: bound, not listened on. A server with `SO_REUSEADDR` can listen on it beside.
pub(crate) fn reserved() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(false).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket
}

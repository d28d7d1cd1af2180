//! Ports for the processes that a test starts.

use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::net::TcpSocket;

/// What this process has reserved, held until it ends: a port is its own even while nobody listens on it.
static RESERVED: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());

/// An address of loopback that a process started by this test can listen on, again and again, and nobody else gets.
///
/// To bind to port 0, look and let go is not enough: until the process listens, the kernel may give the port to
/// another test, or to a connection, even to one that is to find out whether the process listens. So the port stays
/// bound, without being listened on; a server that sets `SO_REUSEADDR`, as almost all do, can listen on it beside.
pub fn reserved_address() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(false).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = socket.local_addr().unwrap();
    RESERVED.lock().unwrap().push(socket);
    address
}

//! The gateway as a process of its own, fed from a file.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};

use eddy_e2e::{reserved_address, wait};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// The process, ended with the test.
pub(crate) struct GatewayProcess {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// Where it tells of itself.
    pub(crate) admin: SocketAddr,
    child: Child,
    _inputs: tempfile::NamedTempFile,
}

impl GatewayProcess {
    /// Starts a gateway that serves `inputs` and waits until it listens.
    pub(crate) fn start(inputs: &Value, arguments: &[&str]) -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(inputs.to_string().as_bytes()).unwrap();
        let (address, admin) = (reserved_address(), reserved_address());
        let mut child = Command::new(env!("CARGO_BIN_EXE_eddy-dataplane"))
            .args(["gateway", "--threads=1", "--access-log=false", "--drain-delay-seconds=0"])
            .arg(format!("--listen={address}"))
            .arg(format!("--admin-address={admin}"))
            .arg(format!("--static-file={}", file.path().display()))
            .args(arguments)
            .spawn()
            .unwrap();
        wait("the gateway listens", || {
            assert!(child.try_wait().unwrap().is_none(), "the gateway ended before it listened");
            TcpStream::connect(address).is_ok()
        });
        Self { address, admin, child, _inputs: file }
    }

    /// Asks it to end; whether it ended in order.
    pub(crate) fn end(&mut self) -> bool {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        asked.success() && self.child.wait().unwrap().success()
    }

    /// One of its figures.
    pub(crate) async fn figure(&self, name: &str) -> f64 {
        let mut client = tokio::net::TcpStream::connect(self.admin).await.unwrap();
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        let line =
            said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_else(|| panic!("{name}: {said}"));
        line.trim().parse().unwrap()
    }

    /// What it answers to these bytes, to the end of the connection.
    pub(crate) async fn ask(&self, request: &str) -> String {
        let mut client = tokio::net::TcpStream::connect(self.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A backend that answers every request with 200, and tells what it was asked.
pub(crate) async fn backend() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && connection.read_buf(&mut request).await.is_ok_and(|count| count > 0) {}
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            let _ = tell.send(String::from_utf8_lossy(&request).into_owned());
        }
    });
    (address, told)
}

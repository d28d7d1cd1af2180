//! What stands before a server, and lets through as much as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eddy_object::schema::{Class, ServerRow};
use eddy_object::{Memory, Objects};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::Cluster;

/// A proxy of a server. It ends with the test.
pub struct Proxy {
    pub address: String,
    way: watch::Sender<Way>,
    connections: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
}

/// What becomes of all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// So much of each goes on, and no more.
    Limited,
    /// No answer comes.
    Silent,
    /// They end.
    Shut,
}

/// So many bytes of each connection go on, each way; then no more.
#[derive(Clone, Copy, Debug)]
struct Limits {
    asks: u64,
    answers: u64,
}

impl Proxy {
    /// Lets everything through, until it is told otherwise.
    pub async fn open(server: &str) -> Self {
        Self::start(server, Limits { asks: u64::MAX, answers: u64::MAX }).await
    }

    /// Passes on so many bytes of what the server says, on each connection, and then nothing more.
    pub async fn stalling(server: &str, after: u64) -> Self {
        let proxy = Self::start(server, Limits { asks: u64::MAX, answers: after }).await;
        proxy.set(Way::Limited);
        proxy
    }

    /// Once it is [`Way::Limited`], takes so many more bytes of what the server is told, on each connection, and then nothing more.
    pub async fn deaf(server: &str, after: u64) -> Self {
        Self::start(server, Limits { asks: after, answers: u64::MAX }).await
    }

    async fn start(server: &str, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address").to_string();
        let proxy = Self { address, way: watch::channel(Way::Open).0, connections: Arc::default(), held: Arc::default() };
        let (server, way) = (server.to_owned(), proxy.way.clone());
        let (connections, held) = (proxy.connections.clone(), proxy.held.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("connections come");
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(converse(client, server.clone(), limits, way.subscribe(), held.clone()));
            }
        });
        proxy
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Connections that came.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// How often something was to go on and did not.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Says that a server is here, and gives objects that believe it.
    pub async fn stand_before(&self, cluster: &Cluster, server: usize) -> Objects {
        let row = ServerRow { address: self.address.clone(), failure_domain: server.to_string(), class: Class::Fast };
        cluster.metadata().put_server(cluster.number(server), &row).await.expect("the store takes a server's row");
        let metadata = cluster.metadata().clone();
        Objects::open(metadata, cluster.client(), Memory::default()).await.expect("the store says which servers there are")
    }
}

async fn converse(mut client: TcpStream, server: String, limits: Limits, way: watch::Receiver<Way>, held: Arc<AtomicUsize>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let ((asks, hears), (answers, takes)) = (client.split(), server.split());
    let mut shut = way.clone();
    tokio::select! {
        () = pass(answers, hears, limits.answers, way.clone(), Some(Way::Silent), &held) => {}
        () = pass(asks, takes, limits.asks, way.clone(), None, &held) => {}
        _ = shut.wait_for(|way| *way == Way::Shut) => {}
    }
}

/// Until one side hangs up, or for ever.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut left: u64,
    mut way: watch::Receiver<Way>,
    waits_while: Option<Way>,
    held: &AtomicUsize,
) {
    let mut some = vec![0; 65536];
    loop {
        let Ok(length @ 1..) = from.read(&mut some).await else { return };
        // What was held back is not said at the end after all.
        let goes_on = way.wait_for(|way| Some(*way) != waits_while).await.is_ok_and(|way| *way != Way::Shut);
        if !goes_on {
            return;
        }
        let mut going = length;
        if *way.borrow() == Way::Limited {
            going = usize::try_from(left).unwrap_or(length).min(length);
            left -= going as u64;
        }
        if to.write_all(&some[..going]).await.is_err() {
            return;
        }
        if going < length {
            held.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
    }
}

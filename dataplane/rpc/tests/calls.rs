//! Calls over real connections.
#![allow(clippy::unwrap_used)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eddy_rpc::{
    CallError, Client, Connection, Handler, Listener, MemoryTransport, Parts, ServerLimits, TcpTransport, Transport, serve,
};
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Says what it hears; `parts` in as many parts as the next byte says, `never` not at all, and `slow` after the next.
#[derive(Default)]
struct Echo {
    next: tokio::sync::Notify,
}

#[async_trait]
impl Handler for Echo {
    async fn answer(&self, request: Bytes, parts: &Parts) -> Bytes {
        match &request[..] {
            [b'p', count] => {
                for number in 0..*count {
                    parts.send(vec![number; 100_000].into()).await.unwrap();
                }
            }
            b"never" => std::future::pending().await,
            b"slow" => self.next.notified().await,
            _ => self.next.notify_one(),
        }
        request
    }
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

async fn start() -> (SocketAddr, JoinHandle<()>) {
    start_at(LOOPBACK).await
}

async fn start_at(address: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpTransport::default().bind(address).await.unwrap();
    let address = listener.address().unwrap();
    (address, tokio::spawn(serve(listener, Arc::new(Echo::default()), ServerLimits { connections: 8, requests: 128 })))
}

fn client(address: SocketAddr) -> Client {
    Client::new(Arc::new(TcpTransport::default()), address.to_string())
}

#[tokio::test]
async fn many_calls_share_a_connection_and_a_slow_one_holds_up_none() {
    let (address, _server) = start().await;
    let client = client(address);
    let (slow, fast) = tokio::join!(client.call("slow".into()), client.call("fast".into()));
    assert_eq!((slow.unwrap(), fast.unwrap()), ("slow".into(), "fast".into()));
    let answers = join_all((0..10_000).map(|number: u32| {
        let request = Bytes::from(number.to_string());
        let call = client.call(request.clone());
        async move { assert_eq!(call.await.unwrap(), request) }
    }));
    answers.await;
}

#[tokio::test]
async fn an_answer_comes_in_parts_in_their_order() {
    let (address, _server) = start().await;
    let client = client(address);
    let mut answers = client.stream(Bytes::from_static(b"p\x14")).await.unwrap();
    for number in 0..20 {
        assert_eq!(answers.next().await.unwrap().unwrap(), vec![number; 100_000]);
    }
    assert_eq!(answers.next().await.unwrap().unwrap(), "p\x14");
    assert_eq!(answers.next().await.unwrap(), None);
    // One that is given up holds up none.
    drop(client.stream(Bytes::from_static(b"p\xff")).await.unwrap());
    assert_eq!(client.call("after".into()).await.unwrap(), "after");
}

#[tokio::test]
async fn a_failed_call_says_whether_it_may_have_been_heard() {
    let (address, server) = start().await;
    let client = client(address);
    assert_eq!(client.call("a".into()).await.unwrap(), "a");
    let (lost, ()) = tokio::join!(client.call("never".into()), async {
        // By then the other call has been sent.
        client.call("a".into()).await.unwrap();
        server.abort();
    });
    assert!(matches!(lost, Err(CallError::Lost { .. })), "{lost:?}");
    let not_sent = client.call("a".into()).await;
    assert!(matches!(not_sent, Err(CallError::NotSent { .. })), "{not_sent:?}");
    let (_, _server) = start_at(address).await;
    while client.call("a".into()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn whoever_speaks_nonsense_is_cut_off() {
    let (address, _server) = start().await;
    for nonsense in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"eddyrpc1\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0", b"eddyrpc1\0\0\0\0\0\0\0\0\0\0\0\0\x07"]
    {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(nonsense).await.unwrap();
        let end = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut [0; 1])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{nonsense:?}");
    }
    assert_eq!(client(address).call("a".into()).await.unwrap(), "a");
}

#[tokio::test]
async fn a_server_that_answers_nonsense_is_not_believed() {
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let client = client(listener.local_addr().unwrap());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&[0xff; 64]).await.unwrap();
        stream
    };
    let (answer, _stream) = tokio::join!(client.call("a".into()), serve);
    assert!(matches!(answer, Err(CallError::Lost { .. })), "{answer:?}");
}

/// A network over which connecting takes a while.
struct Slow(Duration);

#[async_trait]
impl Transport for Slow {
    async fn connect(&self, address: &str) -> std::io::Result<Box<dyn Connection>> {
        tokio::time::sleep(self.0).await;
        TcpTransport::default().connect(address).await
    }

    async fn bind(&self, address: SocketAddr) -> std::io::Result<Box<dyn Listener>> {
        TcpTransport::default().bind(address).await
    }
}

#[tokio::test]
async fn callers_that_each_wait_less_than_connecting_takes_get_there_together() {
    let (address, _server) = start().await;
    let client = Client::new(Arc::new(Slow(Duration::from_millis(200))), address.to_string());
    let in_time = || tokio::time::timeout(Duration::from_millis(50), client.call("a".into()));
    let answers = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            if let Ok(answer) = in_time().await {
                return answer;
            }
        }
    });
    assert_eq!(answers.await.unwrap().unwrap(), "a");
}

/// The first connection leads to whoever never answers, those after it to whoever listens.
struct FirstIsSilent {
    silent: std::sync::Mutex<Option<DuplexStream>>,
    then: MemoryTransport,
}

#[async_trait]
impl Transport for FirstIsSilent {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>> {
        if self.silent.lock().unwrap().is_some() {
            return self.then.connect(address).await;
        }
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        *self.silent.lock().unwrap() = Some(theirs);
        Ok(Box::new(ours))
    }

    async fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        self.then.bind(address).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_is_heard_is_given_up_and_another_one_made() {
    let (then, listener) = MemoryTransport::new();
    let limits = ServerLimits { connections: 8, requests: 128 };
    let _server = tokio::spawn(serve(listener, Arc::new(Echo::default()), limits));
    let client = Client::new(Arc::new(FirstIsSilent { silent: std::sync::Mutex::new(None), then }), "somewhere:1");
    // None of them is patient for as long as that takes, and all together are.
    let mut given_up = 0;
    while tokio::time::timeout(Duration::from_millis(100), client.call("hello".into())).await.is_err() {
        given_up += 1;
        assert!(given_up < 100, "the connection is kept for ever");
    }
    assert!(given_up >= 50, "it was given 5 s: {given_up}");
    // Where anything is heard, a call that takes long is no reason.
    for _ in 0..100 {
        let impatient = tokio::time::timeout(Duration::from_millis(100), client.call("never".into()));
        let (impatient, other) = tokio::join!(impatient, client.call("hello".into()));
        assert!(impatient.is_err() && other.unwrap() == "hello");
    }
}

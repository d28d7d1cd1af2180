//! Requests that are made so that gateway and backend read them otherwise, and clients that would have the gateway work for nobody.
//!
//! The Route is for `/ok` alone, so the backend must never be asked for `/smuggled`: that request is only there for whoever takes the end of a
//! body, or a header, for another than the gateway does (CVE-2026-2833 and 2835 of Pingora, and what the field has seen before).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::GatewayProcess;

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
/// Much longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Whoever says nothing for so long has said all. Where the machine is slower than that, less is tried, and nothing fails.
const SILENCE: Duration = Duration::from_millis(100);

/// A backend that reads HTTP/1.1 as RFC 9112 says, keeps connections, and remembers what it was asked.
#[derive(Clone, Default)]
struct Strict(Arc<Mutex<Vec<String>>>);

impl Strict {
    async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let this = self.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let this = this.clone();
                tokio::spawn(async move { this.serve(connection).await });
            }
        });
        address
    }

    /// To the end of the connection, or to what is no request.
    async fn serve(&self, connection: TcpStream) -> Option<()> {
        let mut connection = BufReader::new(connection);
        loop {
            let line = line(&mut connection).await?;
            self.0.lock().unwrap().push(line);
            let (mut length, mut is_chunked) = (0, false);
            loop {
                let header = self::line(&mut connection).await?.to_ascii_lowercase();
                let Some((name, value)) = header.split_once(':') else { break };
                match name {
                    "content-length" => length = value.trim().parse().ok()?,
                    "transfer-encoding" => is_chunked = value.trim() == "chunked",
                    _ => {}
                }
            }
            while is_chunked {
                length = usize::from_str_radix(self::line(&mut connection).await?.split(';').next()?.trim(), 16).ok()?;
                is_chunked = length > 0;
                skip(&mut connection, length + 2).await?;
                length = 0;
            }
            skip(&mut connection, length).await?;
            connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.ok()?;
        }
    }

    fn seen(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

async fn line(connection: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let count = connection.read_line(&mut line).await.ok()?;
    (count > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}

async fn skip(connection: &mut BufReader<TcpStream>, count: usize) -> Option<()> {
    connection.read_exact(&mut vec![0; count]).await.ok().map(drop)
}

async fn gateway(backend: SocketAddr) -> GatewayProcess {
    let spec = json!({"hosts": ["h"], "paths": [{"path": "/ok"}], "backends": [{"container": "web", "port": 80}]});
    let inputs = json!({
        "routes": [{"place": {"namespace": "u-ada", "name": "r"}, "created": 0, "spec": spec}],
        "slices": [{"slice": {"namespace": "u-ada", "name": "web-1"}, "service": "web", "ready": {"80": [backend]}, "leaving": {}}],
    });
    tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &[]))
}

/// What is answered to these bytes until nothing more comes, and then, the end of the connection after them, to the end.
async fn send(gateway: &GatewayProcess, bytes: &[u8]) -> String {
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    // The gateway may close as soon as it has seen enough.
    let _ = client.write_all(bytes).await;
    let mut answer = Vec::new();
    // An end at once would be the end of the backend's connection as well, which is to serve others.
    while tokio::time::timeout(SILENCE, client.read_buf(&mut answer)).await.is_ok_and(|read| read.is_ok_and(|count| count > 0)) {}
    let _ = client.shutdown().await;
    let read = tokio::time::timeout(PATIENCE, client.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open after {}", String::from_utf8_lossy(bytes));
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_another_request_than_the_gateway() {
    let backend = Strict::default();
    let gateway = gateway(backend.listen().await).await;
    let length = SMUGGLED.len();
    let chunk = format!("{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n");
    let post = |headers: &str, body: &str| format!("POST /ok HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n{body}");
    let mut cases = vec![
        // Both say where the body ends.
        post("Content-Length: 6\r\nTransfer-Encoding: chunked", &format!("0\r\n\r\n{SMUGGLED}")),
        post("Transfer-Encoding: chunked\r\nContent-Length: 4", &chunk),
        // It is said twice, or by no number.
        post(&format!("Content-Length: 0\r\nContent-Length: {length}"), SMUGGLED),
        post(&format!("Content-Length: {length}\r\nContent-Length: 0"), SMUGGLED),
        // Of a version, or a name, that knows no chunks.
        format!("POST /ok HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"),
        format!("POST /ok HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n{SMUGGLED}"),
        // What follows is taken for another protocol before the backend has agreed to it.
        format!("GET /ok HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n{SMUGGLED}"),
        format!(
            "GET /ok HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n{SMUGGLED}"
        ),
        format!(
            "GET /ok HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n{SMUGGLED}"
        ),
        // The target names another host or path than the rest.
        "GET http://h/smuggled HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET http://other/ok HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /ok/../smuggled HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /ok/%2e%2e/smuggled HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /ok HTTP/1.1\r\nHost: h\r\nHost: other\r\n\r\n".to_owned(),
        format!("GET /ok HTTP/1.1\nHost: h\n\n{SMUGGLED}"),
        format!("GET /ok HTTP/1.1\r\nHost: h\r\nX: a\n\r\n{SMUGGLED}"),
    ];
    for number in ["+0", "-1", "0x0", "0, 0", "1 1", "", "18446744073709551616", "1e1", "\u{b}0"] {
        cases.push(post(&format!("Content-Length: {number}"), SMUGGLED));
    }
    for coding in [
        "xchunked",
        "chunked, identity",
        "identity, chunked",
        "chunked\r\nTransfer-Encoding: identity",
        "\u{b}chunked",
        "\"chunked\"",
        "chunked;q=1",
        "gzip, chunked",
        "",
    ] {
        cases.push(post(&format!("Transfer-Encoding: {coding}"), &chunk));
        cases.push(post(&format!("Content-Length: {}\r\nTransfer-Encoding: {coding}", chunk.len()), &chunk));
    }
    for header in [
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding\r\n: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: \0\r\nTransfer-Encoding: chunked",
    ] {
        cases.push(post(&format!("Content-Length: {}\r\n{header}", chunk.len()), &chunk));
    }
    for chunks in [
        format!("0x{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
        format!("2\r\nab0\r\n\r\n{SMUGGLED}"),
        format!("2;a\n{SMUGGLED}\r\n0\r\n\r\n"),
        format!("2;\r{SMUGGLED}\r\n0\r\n\r\n"),
        format!("10000000000000002\r\nab\r\n0\r\n\r\n{SMUGGLED}"),
        format!("-1\r\n{SMUGGLED}"),
        format!("0\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n{SMUGGLED}"),
        format!("0\r\n{SMUGGLED}\r\n"),
    ] {
        cases.push(post("Transfer-Encoding: chunked", &chunks));
    }
    // A body is a body, whatever is in it.
    let harmless = send(&gateway, post(&format!("Content-Length: {length}"), SMUGGLED).as_bytes()).await;
    assert!(harmless.starts_with("HTTP/1.1 200"), "{harmless}");
    for case in &cases {
        let before = backend.seen().len();
        let answer = send(&gateway, case.as_bytes()).await;
        // The same connections to the backend serve those who come after, who get their own answers.
        for _ in 0..2 {
            let own = gateway.ask("GET /ok/own HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
            assert!(own.starts_with("HTTP/1.1 200") && own.ends_with("\r\n\r\nok"), "{own}\nafter\n{case}\nwhich got\n{answer}");
        }
        let seen = &backend.seen()[before..];
        let is_asked = |line: &String| line.starts_with("POST /ok HTTP/1.") || line.starts_with("GET /ok");
        assert!(seen.iter().all(|line| is_asked(line) && !line.contains("smuggled")), "{seen:?} of\n{case}\nwhich got\n{answer}");
        assert_eq!(seen.iter().filter(|line| line.starts_with("GET /ok/own ")).count(), 2, "{seen:?} of\n{case}");
    }
    assert!(backend.seen().iter().all(|line| !line.contains("smuggled")), "{:?}", backend.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_much_is_refused() {
    let backend = Strict::default();
    let gateway = gateway(backend.listen().await).await;
    let many: String = (0..2000).map(|number| format!("x-{number}: a\r\n")).collect();
    let long = format!("x: {}\r\n", "a".repeat(4 << 20));
    let path = "a".repeat(4 << 20);
    for head in [
        format!("GET /ok HTTP/1.1\r\nHost: h\r\n{many}"),
        format!("GET /ok HTTP/1.1\r\nHost: h\r\n{long}"),
        format!("GET /ok/{path}"),
    ] {
        let answer = send(&gateway, format!("{head}\r\n").as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{}", &answer[..answer.len().min(200)]);
    }
    assert!(backend.seen().is_empty());
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Headers as HPACK has them that are in no table (RFC 7541, section 6.2.2).
fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    headers.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

fn asks(path: &str) -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", path)])
}

/// A connection that speaks HTTP/2, in frames as they are.
struct Frames(TcpStream);

impl Frames {
    async fn open(gateway: &GatewayProcess) -> Self {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        Self(stream)
    }

    /// Whether these could be sent.
    async fn send(&mut self, frames: &[u8]) -> bool {
        self.0.write_all(frames).await.is_ok()
    }

    /// The kinds of frames that come, to the end of the connection or to one of this kind.
    async fn until(&mut self, last: u8) -> Vec<u8> {
        let mut kinds = Vec::new();
        let read = async {
            while !kinds.contains(&last) {
                let mut head = [0; 9];
                if self.0.read_exact(&mut head).await.is_err() {
                    break;
                }
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                if self.0.read_exact(&mut vec![0; length as usize]).await.is_err() {
                    break;
                }
                kinds.push(head[3]);
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("neither a frame nor the end comes");
        kinds
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_as_soon_as_they_begin_end_the_connection() {
    let backend = Strict::default();
    let gateway = gateway(backend.listen().await).await;
    let mut client = Frames::open(&gateway).await;
    let mut streams = 0;
    // CVE-2023-44487: a stream that is reset counts against no limit of those that are open at once.
    for stream in (1..20_000).step_by(2) {
        let both =
            [frame(HEADERS, END_STREAM | END_HEADERS, stream, &asks("/ok")), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())];
        if !client.send(&both.concat()).await {
            break;
        }
        streams += 1;
    }
    let kinds = client.until(GOAWAY).await;
    assert!(streams < 10_000 || kinds.last() == Some(&GOAWAY), "{streams} streams were taken, and {kinds:?} said of it");
    assert!(backend.seen().len() < 2000, "{} of {streams} reached the backend", backend.seen().len());
    let own = gateway.ask("GET /ok HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(own.starts_with("HTTP/1.1 200"), "{own}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_end_the_connection() {
    let backend = Strict::default();
    let gateway = gateway(backend.listen().await).await;
    let mut client = Frames::open(&gateway).await;
    client.send(&frame(HEADERS, END_STREAM, 1, &asks("/ok"))).await;
    let more = frame(CONTINUATION, 0, 1, &block(&[("x-a", &"a".repeat(100))]).repeat(100));
    let mut sent = 0;
    // CVE-2024-27316 and others: frames that go on with headers count against no limit of a frame.
    while sent < 256 << 20 && client.send(&more).await {
        sent += more.len();
    }
    assert!(sent < 64 << 20, "{sent} bytes of one request's headers were taken");
    assert!(backend.seen().is_empty());
    let own = gateway.ask("GET /ok HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(own.starts_with("HTTP/1.1 200"), "{own}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_http2_cannot_say_in_http1_is_refused() {
    let backend = Strict::default();
    let gateway = gateway(backend.listen().await).await;
    let with = |name: &'static str, value: &'static str| [asks("/ok"), block(&[(name, value)])].concat();
    let named = |path: &str, authority: &str| {
        block(&[(":method", "GET"), (":scheme", "http"), (":authority", authority), (":path", path)])
    };
    let cases = [
        with("transfer-encoding", "chunked"),
        with("connection", "close"),
        with("content-length", "5"),
        with("x", "a\r\nTransfer-Encoding: chunked"),
        with("x\r\ny", "a"),
        with("x y", "a"),
        with("x:", "a"),
        with("Upper", "a"),
        with("host", "other"),
        named("/ok HTTP/1.1\r\nHost: h\r\n\r\nGET /smuggled", "h"),
        named("/ok\r\nX: a", "h"),
        named("http://h/smuggled", "h"),
        named("*", "h"),
        named("", "h"),
        named("/ok", "h/smuggled?"),
        named("/ok", "h\r\nX: a"),
        block(&[(":method", "GET /smuggled HTTP/1.1\r\nX:"), (":scheme", "http"), (":authority", "h"), (":path", "/ok")]),
        block(&[(":method", "GET"), (":method", "POST"), (":scheme", "http"), (":authority", "h"), (":path", "/ok")]),
        block(&[(":method", "CONNECT"), (":authority", "h:80")]),
    ];
    for case in &cases {
        let before = backend.seen().len();
        let mut client = Frames::open(&gateway).await;
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, case)).await;
        // Whatever becomes of it has become when this is answered.
        client.send(&frame(PING, 0, 0, &[0; 8])).await;
        client.until(PING).await;
        let own = gateway.ask("GET /ok/own HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        assert!(own.starts_with("HTTP/1.1 200") && own.ends_with("\r\n\r\nok"), "{own}");
        let seen = &backend.seen()[before..];
        let is_asked = |line: &String| line == "GET /ok HTTP/1.1" || line == "GET /ok/own HTTP/1.1";
        assert!(seen.iter().all(is_asked), "{seen:?} of {}", String::from_utf8_lossy(case));
    }
}

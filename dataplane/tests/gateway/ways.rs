//! What goes the short way and what goes the long way through the gateway is served alike.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::script::Act::{self, Answer, AnswerAndClose, AnswerAndHang};
use crate::script::{Script, Seen};
use crate::support::GatewayProcess;

/// Headers that send a GET one way and the other.
const WAYS: [&str; 2] = ["", "Content-Length: 0\r\n"];
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A gateway in front of a backend that plays a part, and a client of it.
struct Play {
    backend: Script,
    client: TcpStream,
    _gateway: GatewayProcess,
}

impl Play {
    async fn start(acts: &[Act]) -> Self {
        Self::with_idle_seconds(acts, 3600).await
    }

    async fn with_idle_seconds(acts: &[Act], idle_seconds: u32) -> Self {
        let backend = Script::play(acts).await;
        let inputs = json!({
            "routes": [{"place": {"namespace": "u-ada", "name": "web"}, "created": 0,
                "spec": {"hosts": ["h"], "backends": [{"container": "web", "port": 80}],
                    "timeouts": {"idleSeconds": idle_seconds}}}],
            "slices": [{"slice": {"namespace": "u-ada", "name": "web-1"}, "service": "web",
                "ready": {"80": [backend.address]}, "leaving": {}}],
        });
        let gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &[]));
        let client = TcpStream::connect(gateway.address).await.unwrap();
        Self { backend, client, _gateway: gateway }
    }

    async fn send(&mut self, method: &str, headers: &str) {
        let request = format!("{method} /path HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        self.client.write_all(request.as_bytes()).await.unwrap();
    }

    /// Reads until `end`, or the end of the connection.
    async fn answer(&mut self, end: &str) -> String {
        let mut answer = Vec::new();
        while end.is_empty() || !answer.ends_with(end.as_bytes()) {
            if self.client.read_buf(&mut answer).await.unwrap() == 0 {
                break;
            }
        }
        String::from_utf8(answer).unwrap()
    }

    async fn request(&mut self) -> String {
        loop {
            if let Seen::Request(request) = self.backend.next().await {
                return request.to_ascii_lowercase();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_connections_outlive_a_request() {
    for way in WAYS {
        let mut play = Play::start(&[Answer(OK); 3]).await;
        for connection in ["", "Connection: keep-alive\r\n", "Connection: close\r\n"] {
            play.send("GET", &format!("{way}{connection}")).await;
            let answer = play.answer("ok").await.to_ascii_lowercase();
            let kept = !connection.contains("close");
            assert!(answer.contains(if kept { "connection: keep-alive" } else { "connection: close" }), "{way}{answer}");
        }
        assert_eq!(play.answer("").await, "", "closed as the client asked");
        assert_eq!(play.backend.so_far(), ["connection", "request", "request", "request"], "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_the_client_s_connection_stays_there() {
    for (way, connection) in [("", "keep-alive"), ("", "close"), ("Content-Length: 0\r\n", "close, x-mine")] {
        let mut play = Play::start(&[Answer(OK)]).await;
        play.send("GET", &format!("{way}Connection: {connection}\r\nX-Mine: 1\r\nX-Other: 2\r\n")).await;
        play.answer("ok").await;
        let request = play.request().await;
        assert!(request.starts_with("get /path http/1.1\r\nhost: h\r\n") && request.contains("x-other: 2"), "{request}");
        assert!(!request.contains("\nconnection:"), "{request}");
        assert_eq!(request.contains("x-mine"), connection != "close, x-mine", "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_arrives_whole_however_it_is_framed() {
    for way in WAYS {
        for (act, chunks) in [
            (Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"), true),
            (AnswerAndClose("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde"), true),
            (AnswerAndClose("HTTP/1.0 200 OK\r\n\r\nabcde"), true),
            (Answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"), false),
        ] {
            let mut play = Play::start(&[act, Answer(OK)]).await;
            play.send("GET", way).await;
            let answer = play.answer(if chunks { "0\r\n\r\n" } else { "abcde" }).await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
            assert_eq!(head.to_ascii_lowercase().contains("transfer-encoding: chunked"), chunks, "{way}{act:?}: {head}");
            let text: String =
                body.split("\r\n").filter(|part| !part.starts_with(|first: char| first.is_ascii_digit())).collect();
            assert_eq!(text, "abcde", "{way}{act:?}");
            play.send("GET", way).await;
            assert!(play.answer("ok").await.ends_with("ok"), "the client's connection goes on: {way}{act:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_body_ends_with_its_head() {
    for way in WAYS {
        for (method, answer) in [
            ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            ("HEAD", "HTTP/1.1 200 OK\r\n\r\n"),
            ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
            ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        ] {
            let mut play = Play::start(&[Answer(answer), Answer(OK)]).await;
            play.send(method, way).await;
            let seen = play.answer("\r\n\r\n").await;
            assert_eq!(seen.lines().next(), answer.lines().next(), "{way}");
            assert!(!seen.to_ascii_lowercase().contains("transfer-encoding"), "{way}{seen}");
            play.send("GET", way).await;
            let next = play.answer("ok").await;
            assert!(next.starts_with("HTTP/1.1 200 OK") && next.ends_with("ok"), "{way}{method} {answer}: {next}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interim_answer_comes_before_the_final_one() {
    for way in WAYS {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let mut play = Play::start(&[Answer(early)]).await;
        play.send("GET", way).await;
        let answer = play.answer("ok").await;
        assert!(answer.starts_with("HTTP/1.1 103") && answer.contains("\r\n\r\nHTTP/1.1 200 OK\r\n"), "{way}{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_backend_just_closed_costs_no_request_that_may_be_repeated() {
    for way in WAYS {
        for (method, status) in [("GET", "200"), ("POST", "502")] {
            let mut play = Play::start(&[Answer(OK), AnswerAndClose(""), Answer(OK)]).await;
            play.send("GET", way).await;
            play.answer("ok").await;
            play.send(method, way).await;
            let answer = play.answer(if status == "200" { "ok" } else { "" }).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{way}{method}: {answer}");
            let requests = play.backend.so_far().iter().filter(|seen| **seen == "request").count();
            assert_eq!(requests, if status == "200" { 3 } else { 2 }, "{way}{method}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backend_gets_wrong_is_a_bad_gateway_and_what_it_never_says_a_timeout() {
    for way in WAYS {
        for (act, status) in [
            (AnswerAndClose(""), "502"),
            (AnswerAndClose("nonsense\r\n\r\n"), "502"),
            (AnswerAndHang("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), "502"),
            (AnswerAndClose("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "502"),
            (AnswerAndHang(""), "504"),
        ] {
            let mut play = Play::with_idle_seconds(&[act], 1).await;
            play.send("GET", way).await;
            let answer = play.answer("").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{way}{act:?}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_does_not_look_complete() {
    for way in WAYS {
        for act in [
            AnswerAndClose("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
            AnswerAndClose("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        ] {
            let mut play = Play::start(&[act]).await;
            play.send("GET", way).await;
            // To the end of the connection, which is closed.
            let answer = play.answer("").await;
            assert!(!answer.contains("502") && !answer.ends_with("0\r\n\r\n"), "{way}{act:?}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_hears_that_the_client_left() {
    for way in WAYS {
        for act in [AnswerAndHang(""), AnswerAndHang("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")] {
            let mut play = Play::start(&[act]).await;
            play.send("GET", way).await;
            play.request().await;
            play.client.shutdown().await.unwrap();
            assert_eq!(play.backend.next().await, Seen::End, "{way}{act:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_arrives_as_it_is_sent() {
    for way in WAYS {
        let first = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ndata: 1\r\n";
        let mut play = Play::start(&[AnswerAndHang(first)]).await;
        play.send("GET", way).await;
        assert!(play.answer("data: 1\r\n").await.ends_with("data: 1\r\n"), "{way}");
    }
}

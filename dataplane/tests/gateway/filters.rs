//! What Routes do to requests and answers besides passing them on.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::script::Act::{Answer, AnswerAndHang};
use crate::script::{Script, Seen};
use crate::support::GatewayProcess;

/// Headers that send a request one way through the gateway and the other.
const WAYS: [&str; 2] = ["", "Content-Length: 0\r\n"];
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Backend: 1\r\n\r\nok";

/// Routes of the host `h` with these fields, in this order, to a backend of the same name each.
fn inputs(routes: &[(&str, Value)], backends: &[(&str, SocketAddr)]) -> Value {
    let route = |(number, (name, fields)): (usize, &(&str, Value))| {
        let mut spec = json!({"hosts": ["h"], "backends": [{"container": name, "port": 80}]});
        for (field, value) in fields.as_object().unwrap() {
            spec[field] = value.clone();
        }
        json!({"place": {"namespace": "u-ada", "name": name}, "created": number, "spec": spec})
    };
    let slice = |(name, backend): &(&str, SocketAddr)| json!({"slice": {"namespace": "u-ada", "name": name}, "service": name, "ready": {"80": [backend]}, "leaving": {}});
    json!({
        "routes": routes.iter().enumerate().map(route).collect::<Vec<_>>(),
        "slices": backends.iter().map(slice).collect::<Vec<_>>(),
    })
}

/// A gateway before one backend that says ok, with one Route.
async fn one(fields: Value, arguments: &[&str]) -> (GatewayProcess, Script) {
    let backend = Script::play(&[Answer(OK); 64]).await;
    let inputs = inputs(&[("web", fields)], &[("web", backend.address)]);
    (tokio::task::block_in_place(|| GatewayProcess::start(&inputs, arguments)), backend)
}

async fn get(gateway: &GatewayProcess, path: &str, headers: &str) -> String {
    gateway.ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n")).await
}

async fn seen(backend: &mut Script) -> String {
    loop {
        if let Seen::Request(request) = backend.next().await {
            return request.to_ascii_lowercase();
        }
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_headers_parameters_and_expressions_choose_the_backend() {
    let [all, posts, versions, beta, numbers] = [0; 5].map(|_| Script::play(&[Answer(OK); 8]));
    let mut all = [all.await, posts.await, versions.await, beta.await, numbers.await];
    let routes = [
        ("all", json!({})),
        ("posts", json!({"methods": ["POST"]})),
        ("versions", json!({"headers": [{"name": "X-Version", "value": "2|3", "type": "Regex"}]})),
        ("beta", json!({"queries": [{"name": "beta", "value": "a b"}]})),
        ("numbers", json!({"paths": [{"path": "/items/[0-9]+", "type": "Regex"}]})),
    ];
    let names = routes.each_ref().map(|(name, _)| *name);
    let backends: Vec<_> = names.into_iter().zip(all.iter().map(|backend| backend.address)).collect();
    let inputs = inputs(&routes, &backends);
    let gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &[]));
    for (place, request) in [
        (0, "GET / HTTP/1.1\r\n"),
        (1, "POST / HTTP/1.1\r\nContent-Length: 0\r\n"),
        (1, "POST /?beta=a+b HTTP/1.1\r\nX-Version: 2\r\n"),
        (2, "GET / HTTP/1.1\r\nX-Version: 3\r\n"),
        (0, "GET / HTTP/1.1\r\nX-Version: 33\r\n"),
        (3, "GET /?x=1&beta=a%20b HTTP/1.1\r\n"),
        (4, "GET /items/42 HTTP/1.1\r\n"),
        (0, "GET /items/42/x HTTP/1.1\r\n"),
    ] {
        let answer = gateway.ask(&format!("{request}Host: h\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(status(&answer), "200", "{request}");
        let first = request.lines().next().unwrap().to_ascii_lowercase();
        assert!(seen(&mut all[place]).await.starts_with(&first), "{request} goes to {}", names[place]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_host_and_path_are_edited_both_ways() {
    let edits = json!({
        "paths": [{"path": "/api"}], "rewrite": {"host": "inner.example", "path": {"prefix": "/v1"}},
        "requestHeaders": {"set": [{"name": "X-Set", "value": "new"}], "add": [{"name": "X-Add", "value": "2"}], "remove": ["X-Gone"]},
        "responseHeaders": {"set": [{"name": "X-Set", "value": "said"}], "remove": ["X-Backend"]},
    });
    let (gateway, mut backend) = one(edits, &[]).await;
    for way in WAYS {
        let answer = get(&gateway, "/api/x?q=/api", &format!("X-Set: old\r\nX-Add: 1\r\nX-Gone: 1\r\n{way}")).await;
        let head = answer.to_ascii_lowercase();
        assert!(head.contains("x-set: said\r\n") && !head.contains("x-backend"), "{way}{answer}");
        let request = seen(&mut backend).await;
        assert!(request.starts_with("get /v1/x?q=/api http/1.1\r\n"), "{request}");
        for line in ["host: inner.example", "x-forwarded-host: h", "x-set: new", "x-add: 1", "x-add: 2"] {
            assert!(request.contains(&format!("{line}\r\n")), "{way}{line}: {request}");
        }
        assert!(!request.contains("x-gone") && !request.contains("x-set: old"), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_sent_elsewhere_and_their_connection_goes_on() {
    let redirect = json!({"redirect": {"scheme": "https", "path": {"prefix": "/new"}, "status": 308}, "paths": [{"path": "/old"}], "backends": []});
    let (gateway, _) = one(redirect, &[]).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    for (request, ends) in [
        ("GET /old/x?q HTTP/1.1\r\nHost: h\r\n\r\n", false),
        ("GET /old/x?q HTTP/1.1\r\nHost: h:8080\r\n\r\n", false),
        // The gateway takes no body that nobody wants.
        ("POST /old/x?q HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", true),
    ] {
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert!(client.read_buf(&mut answer).await.unwrap() > 0, "{request}: {}", String::from_utf8_lossy(&answer));
        }
        let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 308") && answer.contains("location: https://h/new/x?q\r\n"), "{answer}");
        assert_eq!(answer.contains("connection: close"), ends, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_by_address_is_told_so_and_only_who_is_believed_says_another() {
    let filter = json!({"ipFilter": {"allow": ["192.0.2.0/24", "127.0.0.1"], "deny": ["192.0.2.7"]}});
    let (gateway, mut backend) = one(filter.clone(), &[]).await;
    assert_eq!(status(&get(&gateway, "/", "X-Forwarded-For: 203.0.113.1\r\n").await), "200", "a stranger says what they like");
    assert!(seen(&mut backend).await.contains("x-forwarded-for: 127.0.0.1\r\n"));
    let (gateway, mut backend) = one(filter, &["--trusted-proxies=127.0.0.0/8,10.0.0.0/8"]).await;
    for (said, expected) in [
        ("192.0.2.1", "200"),
        ("192.0.2.7", "403"),
        ("203.0.113.1", "403"),
        ("192.0.2.7, 192.0.2.1, 10.0.0.9", "200"),
        ("192.0.2.1, 203.0.113.1", "403"),
    ] {
        let headers = format!("X-Forwarded-For: {said}\r\nX-Forwarded-Proto: https\r\n");
        assert_eq!(status(&get(&gateway, "/", &headers).await), expected, "{said}");
    }
    let request = seen(&mut backend).await;
    assert!(request.contains("x-forwarded-for: 192.0.2.1\r\n") && request.contains("x-forwarded-proto: https\r\n"), "{request}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_says_whom_a_connection_is_from_and_whoever_does_not_is_cut_off() {
    let (gateway, mut backend) = one(json!({"ipFilter": {"allow": ["192.0.2.1"]}}), &["--proxy-protocol-from=127.0.0.1"]).await;
    let said = |address: [u8; 4], command: u8| {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        bytes.extend([0x20 | command, 0x11, 0, 12]);
        bytes.extend([&address[..], &[10, 0, 0, 1], &[0x12, 0x67, 0, 80]].concat());
        bytes
    };
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    for (first, expected) in [
        (said([192, 0, 2, 1], 1), "200"),
        (said([192, 0, 2, 2], 1), "403"),
        (said([192, 0, 2, 1], 0), "403"),
        (Vec::new(), ""),
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 1 80\r\n".to_vec(), ""),
    ] {
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        client.write_all(&[&first[..], request].concat()).await.unwrap();
        let mut answer = Vec::new();
        // Cut off, what was sent may still be unread.
        let _ = client.read_to_end(&mut answer).await;
        assert_eq!(status(&String::from_utf8(answer).unwrap()), expected, "{first:?}");
    }
    assert!(seen(&mut backend).await.contains("x-forwarded-for: 192.0.2.1\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let (gateway, _backend) = one(json!({"rateLimit": {"requestsPerSecond": 1, "burst": 3}}), &[]).await;
    for way in WAYS {
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(get(&gateway, "/", way).await.to_ascii_lowercase());
        }
        let last = answers.last().unwrap();
        assert!(last.starts_with("http/1.1 429") && last.contains("retry-after: 1\r\n"), "{way}{last}");
        assert!(way != WAYS[0] || answers[..3].iter().all(|answer| status(answer) == "200"), "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_however_it_comes() {
    // It takes all that comes, and waits for the end.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let inputs = inputs(&[("web", json!({"requestBodyMebibytesMax": 1}))], &[("web", listener.local_addr().unwrap())]);
    let backend = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut came = Vec::new();
        // Cut off, it may not end in order.
        let _ = connection.read_to_end(&mut came).await;
        came
    });
    let gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &[]));
    let head = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n";
    let answer = gateway.ask(&format!("{head}Content-Length: 1048577\r\n\r\n")).await;
    assert_eq!(status(&answer), "413", "before any of it came");
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..17 {
        // The gateway may have hung up by then.
        if client.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = vec![0; 64];
    let count = client.read(&mut answer).await.unwrap();
    assert_eq!(status(&String::from_utf8_lossy(&answer[..count])), "413");
    let came = backend.await.unwrap();
    assert!(came.starts_with(b"POST / HTTP/1.1") && !came.ends_with(b"\r\n0\r\n\r\n"), "it is not taken for whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_hosts_ask_as_far_as_the_route_lets_them() {
    let cors = json!({"cors": {"allowOrigins": ["https://*.example.com"], "allowMethods": ["PUT"], "allowHeaders": ["X-A"], "maxAgeSeconds": 60},
        "rateLimit": {"requestsPerSecond": 1, "burst": 6}});
    let (gateway, mut backend) = one(cors, &[]).await;
    let preflight = |origin: &str| {
        format!(
            "OPTIONS / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n\r\n"
        )
    };
    let answer = gateway.ask(&preflight("https://a.example.com")).await.to_ascii_lowercase();
    assert_eq!(status(&answer), "204");
    for line in ["allow-origin: https://a.example.com", "allow-methods: put", "allow-headers: x-a", "max-age: 60"] {
        assert!(answer.contains(&format!("access-control-{line}\r\n")), "{line}: {answer}");
    }
    let answer = gateway.ask(&preflight("https://evil.example")).await.to_ascii_lowercase();
    assert!(status(&answer) == "204" && !answer.contains("access-control"), "{answer}");
    assert_eq!(backend.so_far(), Vec::<&str>::new(), "the backend is not asked beforehand");
    for way in WAYS {
        let answer = get(&gateway, "/", &format!("Origin: https://a.example.com\r\n{way}")).await.to_ascii_lowercase();
        assert!(
            answer.contains("access-control-allow-origin: https://a.example.com\r\n") && answer.contains("vary: origin\r\n"),
            "{answer}"
        );
        let answer = get(&gateway, "/", &format!("Origin: https://evil.example\r\n{way}")).await.to_ascii_lowercase();
        assert!(!answer.contains("access-control") && answer.contains("vary: origin\r\n"), "{answer}");
    }
    let refused = get(&gateway, "/", "Origin: https://a.example.com\r\n").await.to_ascii_lowercase();
    assert!(status(&refused) == "429" && refused.contains("access-control-allow-origin: https://a.example.com\r\n"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_seen_elsewhere_and_nobody_waits_for_them() {
    let (backend, mut copy) = (Script::play(&[Answer(OK); 8]).await, Script::play(&[Answer(OK), AnswerAndHang("")]).await);
    let fields = json!({"mirrors": [{"container": "copy", "port": 80}, {"container": "nobody", "port": 80}, {"container": "copy", "port": 80, "percent": 0}],
        "paths": [{"path": "/a"}], "stripPrefix": true});
    let inputs = inputs(&[("web", fields)], &[("web", backend.address), ("copy", copy.address)]);
    let gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &[]));
    for _ in 0..2 {
        assert_eq!(status(&get(&gateway, "/a/b?q", "X-Mine: 1\r\n").await), "200");
        let request = seen(&mut copy).await;
        assert!(request.starts_with("get /b?q http/1.1\r\n") && request.contains("x-mine: 1\r\n"), "{request}");
        assert!(request.contains("x-forwarded-for: 127.0.0.1\r\n") && !request.contains("connection:"), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_the_whole_body_or_is_not_taken_for_whole() {
    // It takes all that comes, and answers once that is enough.
    async fn taker(until: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut came = Vec::new();
            while !came.ends_with(until) && connection.read_buf(&mut came).await.is_ok_and(|count| count > 0) {}
            let _ = connection.write_all(OK.as_bytes()).await;
            came
        });
        (address, taken)
    }
    for (framing, body) in [("Content-Length: 100003", String::new()), ("Transfer-Encoding: chunked", "186a3\r\n".to_owned())] {
        let is_chunked = !body.is_empty();
        let end: &'static [u8] = if is_chunked { b"\r\n0\r\n\r\n" } else { b"end" };
        let ((web, at_web), (copy, at_copy)) = (taker(end).await, taker(end).await);
        let fields = json!({"mirrors": [{"container": "copy", "port": 80}]});
        let inputs = inputs(&[("web", fields)], &[("web", web), ("copy", copy)]);
        let gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &[]));
        let body = format!("{body}{}end{}", "x".repeat(100_000), if is_chunked { "\r\n0\r\n\r\n" } else { "" });
        let answer = gateway.ask(&format!("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{framing}\r\n\r\n{body}")).await;
        assert_eq!(status(&answer), "200", "{framing}");
        for came in [at_web.await.unwrap(), at_copy.await.unwrap()] {
            let letters = came.iter().filter(|byte| **byte == b'x').count();
            assert!(letters >= 100_000 && came.ends_with(end), "{framing}: {letters}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_longer_than_its_route_gives_it_is_ended() {
    let drips = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    for way in WAYS {
        for (act, expected) in [(AnswerAndHang(""), "504"), (AnswerAndHang(drips), "200")] {
            let backend = Script::play(&[act]).await;
            let fields = json!({"timeouts": {"requestSeconds": 1}, "retries": {"attempts": 0}});
            let inputs = inputs(&[("web", fields)], &[("web", backend.address)]);
            let gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &[]));
            let began = std::time::Instant::now();
            let answer = get(&gateway, "/", way).await;
            assert_eq!(status(&answer), expected, "{way}{act:?}");
            assert!(began.elapsed() < std::time::Duration::from_secs(30) && !answer.ends_with("0\r\n\r\n"), "{way}{act:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused() {
    let backends: Vec<Script> = vec![Script::play(&[Answer(OK); 8]).await];
    let routes = [("admin", json!({"paths": [{"path": "/admin"}], "backends": [{"vm": "v", "port": 80}]})), ("web", json!({}))];
    let inputs = inputs(&routes, &[("web", backends[0].address), ("admin", backends[0].address)]);
    let gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &[]));
    assert_eq!(status(&get(&gateway, "/admin/x", "").await), "503");
    assert_eq!(status(&get(&gateway, "/x", "").await), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_slowly_is_cut_and_a_body_is_not() {
    let (gateway, _backend) = one(json!({}), &["--request-head-seconds=1"]).await;
    let drip = async |before: &str| {
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        client.write_all(before.as_bytes()).await.unwrap();
        if !before.is_empty() {
            let mut answer = [0; 1024];
            while client.read(&mut answer).await.unwrap() > 0 && !answer.windows(6).any(|end| end == b"\r\n\r\nok") {}
        }
        let head = "GET / HTTP/1.1\r\nHost: h\r\nX-A: ".bytes().chain(std::iter::repeat_n(b'a', 100));
        for (number, byte) in head.enumerate() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            if client.write_all(&[byte]).await.is_err() || matches!(client.try_read(&mut [0; 1]), Ok(0)) {
                return number;
            }
        }
        usize::MAX
    };
    let first = drip("").await;
    let second = drip("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(first < 40 && second < 40, "cut after {first} and {second} bytes");
    // Whoever uploads may take longer.
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 25\r\n\r\n").await.unwrap();
    for _ in 0..25 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        client.write_all(b"x").await.unwrap();
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_shrink_are_compressed_as_their_clients_take_it() {
    let text = "All work and no play makes Jack a dull boy. ".repeat(200);
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    let answer: &'static str = Box::leak(answer.into_boxed_str());
    let backend = Script::play(&[Answer(answer); 32]).await;
    let inputs = inputs(&[("web", json!({"compress": true}))], &[("web", backend.address)]);
    let gateway = tokio::task::block_in_place(|| GatewayProcess::start(&inputs, &[]));
    for (ways, http2) in [
        (&["-X", "GET"][..], false),
        (&["-X", "GET", "-H", "Content-Length: 0"][..], false),
        (&["--http2-prior-knowledge"][..], true),
    ] {
        for coding in ["gzip", "identity", "br"] {
            let mut curl = std::process::Command::new("curl");
            curl.args(["-si", "--max-time", "20", "-H", "Host: h", "-H", &format!("Accept-Encoding: {coding}")]).args(ways);
            let said = tokio::task::block_in_place(|| curl.arg(format!("http://{}/", gateway.address)).output().unwrap()).stdout;
            let end = said.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
            let head = String::from_utf8_lossy(&said[..end]).to_ascii_lowercase();
            assert!(head.contains("\r\nvary: accept-encoding"), "{coding} {ways:?}: {head}");
            if coding != "gzip" {
                assert!(!head.contains("content-encoding") && said[end + 4..] == *text.as_bytes(), "{head}");
                continue;
            }
            assert!(
                head.contains(&format!("\r\ncontent-encoding: {coding}")) && head.contains("etag: w/\"1\""),
                "{ways:?}: {head}"
            );
            assert!(
                !head.contains("content-length") && said.len() - end < text.len() / 4 && (http2 || head.contains("chunked")),
                "{head}"
            );
        }
    }
    // It is the same text, and a connection outlives it.
    for ways in [&[][..], &["-H", "Content-Length: 0"]] {
        let mut curl = std::process::Command::new("curl");
        curl.args(["-s", "--compressed", "--max-time", "20", "-H", "Host: h"]).args(ways);
        let url = format!("http://{}/", gateway.address);
        let said = tokio::task::block_in_place(|| curl.args([&url, &url]).output().unwrap());
        assert_eq!(String::from_utf8_lossy(&said.stdout), text.repeat(2), "{ways:?}");
    }
}

//! What strangers send.

use std::time::Duration;

use eddy_object::schema::Quota;
use eddy_storage_door::ServeOptions;
use eddy_storage_testing::Cluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{ALICE, House, is, problem};

/// What is answered to bytes, until the connection ends.
async fn raw(house: &House, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    read.unwrap().unwrap_or_default();
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(head: &str, body: &str) -> Vec<u8> {
    format!("{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {ALICE}\r\n{body}").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_are_tricks_are_refused() {
    let house = House::open().await;
    for path in [
        "/v1/files/private/..",
        "/v1/files/private/../public/x",
        "/v1/files/private/a/%2e%2e/b",
        "/v1/files/private/%2E",
        "/v1/files/private/a%00b",
        "/v1/files/private/a%0ab",
        "/v1/files/private/%ff",
        "/v1/files/%ff/a",
    ] {
        let answer = raw(&house, &request(&format!("PUT {path}"), "Content-Length: 1\r\n\r\nx")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
        assert!(answer.contains("application/problem+json"), "{path}: {answer}");
    }
    let long = format!("PUT /v1/files/private/{}", "k".repeat(1025));
    assert!(raw(&house, &request(&long, "Content-Length: 1\r\n\r\nx")).await.starts_with("HTTP/1.1 400"));
    assert!(raw(&house, &request("GET /v1/nowhere", "\r\n")).await.starts_with("HTTP/1.1 404"));
    assert!(raw(&house, &request("PATCH /v1/files/private/a", "\r\n")).await.starts_with("HTTP/1.1 405"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_what_was_announced_leave_nothing() {
    let house = House::open().await;
    let mut cut = TcpStream::connect(house.address).await.unwrap();
    cut.write_all(&request("PUT /v1/files/private/cut", "Content-Length: 100\r\n\r\nhalf")).await.unwrap();
    cut.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = cut.read_to_end(&mut answer).await;
    for (body, status) in [
        ("Content-Length: x\r\n\r\n", "400"),
        ("Content-Length: 4\r\nContent-Digest: sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:\r\n\r\nabcd", "400"),
        ("Content-Length: 4\r\nContent-Digest: sha-256=abc\r\n\r\nabcd", "400"),
        ("Transfer-Encoding: chunked\r\n\r\nzz\r\n", "400"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n4\r\nabcd\r\n0\r\n\r\n", ""),
        ("Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", "400"),
    ] {
        let answer = raw(&house, &request("PUT /v1/files/private/bad", body)).await;
        assert!(status.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{body:?}: {answer}");
    }
    assert_eq!(house.get(ALICE, "/v1/files/private/cut").await.status(), 404);
    let chunked =
        raw(&house, &request("PUT /v1/files/private/chunked", "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n")).await;
    assert!(chunked.starts_with("HTTP/1.1 201"), "{chunked}");
    assert_eq!(house.get(ALICE, "/v1/files/private/chunked").await.text().await.unwrap(), "abcd");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_stays_when_writing_over_it_fails() {
    let mut house = House::open().await;
    let before = vec![1; 2_000_000];
    assert_eq!(house.put("/v1/files/private/key", before.clone()).await.status(), 201);
    let is_as_before = async |house: &House| {
        let read = house.get(ALICE, "/v1/files/private/key").await;
        assert!(read.status() == 200 && read.bytes().await.unwrap() == before);
    };
    for body in [
        // Cut off, not what it says it is, malformed in the middle.
        "Content-Length: 3000000\r\n\r\nhalf".to_owned(),
        "Content-Length: 4\r\nContent-Digest: sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:\r\n\r\nabcd".to_owned(),
        format!("Transfer-Encoding: chunked\r\n\r\n186a0\r\n{}\r\nzz\r\n", "x".repeat(100_000)),
    ] {
        let mut cut = TcpStream::connect(house.address).await.unwrap();
        cut.write_all(&request("PUT /v1/files/private/key", &body)).await.unwrap();
        cut.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = cut.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
        is_as_before(&house).await;
    }
    // Two of three servers are away: nothing can be made sure of, in either API.
    house.cluster.stop(0).await;
    house.cluster.stop(1).await;
    let refused = house.put("/v1/files/private/key", vec![2; 1000]).await;
    assert!(refused.status().is_server_error(), "{}", refused.status());
    is_as_before(&house).await;
    let (status, error) = house.s3_put("private/key", &[2; 1000]);
    assert!(status >= 500 && error.contains("<Error><Code>"), "{status} {error}");
    is_as_before(&house).await;
    house.cluster.start_again(0).await;
    house.cluster.start_again(1).await;
    is_as_before(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_is_sent_away_and_holds_up_nobody() {
    let options = ServeOptions { connections_max: 8, head_within: Duration::from_millis(300), ..ServeOptions::default() };
    let house = House::with(Cluster::start(3).await, options, Duration::from_millis(300)).await;
    assert_eq!(house.put("/v1/files/public/large", vec![7; 30_000_000]).await.status(), 201);
    let mut silent = Vec::new();
    for number in 0..16 {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        let bytes: &[u8] =
            if number % 2 == 0 { b"GET /v1/fi" } else { b"GET /v1/files/public/large HTTP/1.1\r\nHost: x\r\n\r\n" };
        stream.write_all(bytes).await.unwrap();
        silent.push(stream);
    }
    // All room is taken, by those who send no head and by those who take no bytes. A connection of its own has to wait for it.
    let read = async { reqwest::get(format!("http://{}/v1/files/public/large", house.address)).await.unwrap().bytes().await };
    let read = tokio::time::timeout(Duration::from_secs(20), read).await.unwrap();
    assert_eq!(read.unwrap().len(), 30_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_not_waited_for_whatever_it_is() {
    let house = House::with(Cluster::start(3).await, ServeOptions::default(), Duration::from_millis(300)).await;
    for (who, head, code) in [
        (ALICE, "POST /v1/copy HTTP/1.1\r\nContent-Type: application/json", "\"Silence\""),
        (ALICE, "PUT /v1/files/private/a HTTP/1.1", "\"Silence\""),
        (ALICE, "POST /v1/files/private HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x", "\"Silence\""),
        ("", "POST /private HTTP/1.1\r\nContent-Type: Multipart/Form-Data; boundary=x", "RequestTimeout"),
    ] {
        let key = if who.is_empty() { String::new() } else { format!("Authorization: {who}\r\n") };
        let request = format!("{head}\r\nHost: x\r\nConnection: close\r\n{key}Content-Length: 9\r\n\r\n--x\r\n");
        let answer = raw(&house, request.as_bytes()).await;
        assert!(answer.contains(code), "{head}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_a_length_is_taken_no_further_than_the_quota() {
    let house = House::open().await;
    let quota = Quota { bytes: Some(1_000_000), objects: None };
    house.cluster.metadata().change_namespace("private", |settings| settings.quota = quota).await.unwrap();
    let head =
        format!("PUT /v1/files/private/a HTTP/1.1\r\nHost: x\r\nAuthorization: {ALICE}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let (mut read, mut write) = TcpStream::connect(house.address).await.unwrap().into_split();
    write.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"186a0\r\n", &[7; 100_000][..], b"\r\n"].concat();
    let endless = async move { while write.write_all(&chunk).await.is_ok() {} };
    let answered = async {
        let mut answer = Vec::new();
        while !String::from_utf8_lossy(&answer).contains("QuotaExceeded") {
            assert!(read.read_buf(&mut answer).await.unwrap() > 0, "{answer:?}");
        }
    };
    let sending = tokio::spawn(endless);
    tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap();
    sending.abort();
    assert_eq!(house.get(ALICE, "/v1/files/private/a").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_on_after_a_refusal_is_told_of_it_and_that_the_connection_ends() {
    let house = House::open().await;
    let quota = Quota { bytes: Some(1_000), objects: None };
    house.cluster.metadata().change_namespace("private", |settings| settings.quota = quota).await.unwrap();
    // More than the buffers of both sides hold, sent to its end before the answer is looked at.
    let body = vec![0; 50_000_000];
    for path in ["/v1/files/private/large", "/private/large"] {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        let head = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {ALICE}\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await;
        read.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 507") || answer.starts_with("HTTP/1.1 40"), "{path}: {answer}");
        assert!(answer.to_lowercase().contains("\r\nconnection: close\r\n"), "{path}: {answer}");
    }
    // What was read wholly is followed by more.
    let read = house.put("/v1/files/private/small", vec![0; 500]).await;
    assert!(read.status() == 201 && !read.headers().contains_key("connection"));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_disks_are_full_that_is_said_and_nothing_is_lost_or_there_in_half() {
    const BYTES: usize = 6_000_000;
    let cluster = Cluster::start_with_capacity(3, Some(60_000_000)).await;
    let house = House::with(cluster, ServeOptions::default(), Duration::from_secs(60)).await;
    let mut written = Vec::new();
    let refused = loop {
        let path = format!("/v1/files/private/{}", written.len());
        let answer = house.put(&path, vec![written.len() as u8; BYTES]).await;
        if answer.status() != 201 {
            assert_eq!(problem(answer).await, is(507, "StorageFull"));
            break path;
        }
        written.push(path);
    };
    assert!((2..=10).contains(&written.len()), "{written:?}");
    // Also to whoever asks by the other API.
    let (status, error) = house.s3_put("private/other", &vec![1; BYTES]);
    assert!(status == 507 && error.contains("<Code>StorageFull</Code>"), "{status} {error}");
    assert_eq!(house.get(ALICE, "/v1/files/private/other").await.status(), 404);
    let (status, error) = house.s3_put(written[0].trim_start_matches("/v1/files/"), &vec![1; BYTES]);
    assert!(status == 507, "{status} {error}");
    for (number, path) in written.iter().enumerate() {
        let read = house.get(ALICE, path).await.bytes().await.unwrap();
        assert!(read.len() == BYTES && read.iter().all(|byte| *byte == number as u8), "{path}");
    }
    assert_eq!(house.get(ALICE, &refused).await.status(), 404);
    // What needs no room is done.
    assert_eq!(house.request(ALICE, reqwest::Method::DELETE, &written[0]).send().await.unwrap().status(), 204);
    let listed = house.json(ALICE, "/v1/files/private").await;
    assert_eq!(listed["entries"].as_array().unwrap().len(), written.len() - 1, "{listed}");
}

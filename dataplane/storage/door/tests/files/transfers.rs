//! Copies, moves, forms, and uploads that are resumed.

use eddy_object::schema::{Quota, Versioning};
use eddy_storage_testing::random_bytes;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{ALICE, BOB, House, is, problem};

fn transfer(from: (&str, &str), to: (&str, &str)) -> Value {
    json!({ "from": { "namespace": from.0, "key": from.1 }, "to": { "namespace": to.0, "key": to.1 } })
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_copied_and_moved_within_and_between_namespaces() {
    let house = House::open().await;
    let data = random_bytes(1, 3_000_000);
    let put = house.request(ALICE, Method::PUT, "/v1/files/private/a").header("x-eddy-meta-x", "y").body(data.clone());
    assert_eq!(put.send().await.unwrap().status(), 201);
    let copied = house.post(ALICE, "/v1/copy", &transfer(("private", "a"), ("public", "b"))).await;
    assert_eq!(copied.status(), 201);
    let moved = house.post(ALICE, "/v1/move", &transfer(("private", "a"), ("private", "c/d"))).await;
    assert_eq!(moved.status(), 201);
    assert_eq!(house.get(ALICE, "/v1/files/private/a").await.status(), 404);
    let across = house.post(ALICE, "/v1/move", &transfer(("private", "c/d"), ("visible", "e"))).await;
    assert_eq!(across.status(), 201);
    assert_eq!(house.get(ALICE, "/v1/files/private/c/d").await.status(), 404);
    for path in ["/v1/files/public/b", "/v1/files/visible/e"] {
        let read = house.get(ALICE, path).await;
        assert_eq!(read.headers()["x-eddy-meta-x"], "y");
        assert!(read.bytes().await.unwrap() == data);
    }
    house.cluster.metadata().change_namespace("visible", |settings| settings.versioning = Versioning::On).await.unwrap();
    let versioned = house.post(ALICE, "/v1/move", &transfer(("visible", "e"), ("visible", "f"))).await;
    assert_eq!(versioned.status(), 201);
    assert_eq!(house.get(ALICE, "/v1/files/visible/e").await.status(), 404);
    assert_eq!(house.get(ALICE, "/v1/files/visible/f").await.status(), 200);
    assert_eq!(house.post(ALICE, "/v1/move", &transfer(("visible", "f"), ("visible", "f"))).await.status(), 400);
    assert_eq!(
        problem(house.post(ALICE, "/v1/copy", &transfer(("private", "a"), ("public", "x"))).await).await,
        is(404, "NoObject")
    );
    assert_eq!(house.post(ALICE, "/v1/copy", &transfer(("public", "b"), ("public", "../x"))).await.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_resumed_part_by_part() {
    let house = House::open().await;
    let path = "/v1/uploads/private/large";
    let begun = house.request(ALICE, Method::POST, path).header("content-type", "video/mp4").send().await.unwrap();
    assert_eq!(begun.status(), 201);
    let upload = crate::support::json(begun).await["upload"].as_str().unwrap().to_owned();
    let parts = [random_bytes(1, 6_000_000), random_bytes(2, 10), random_bytes(3, 2_000_000)];
    for (at, part) in parts.iter().enumerate().rev() {
        let sent = house.put(&format!("{path}?upload={upload}&part={}", at + 1), part.clone()).await;
        assert_eq!(sent.status(), 200);
    }
    let listed = house.json(ALICE, &format!("{path}?upload={upload}")).await;
    assert_eq!(
        listed.as_array().unwrap().iter().map(|part| part["bytes"].as_u64().unwrap()).collect::<Vec<_>>(),
        [6_000_000, 10, 2_000_000]
    );
    assert_eq!(house.get(ALICE, "/v1/files/private/large").await.status(), 404);
    for _ in 0..2 {
        // Whoever did not hear the answer asks again.
        let complete = house.request(ALICE, Method::POST, &format!("{path}?upload={upload}")).send().await.unwrap();
        assert!(complete.status().is_success(), "{}", complete.text().await.unwrap());
    }
    let read = house.get(ALICE, "/v1/files/private/large").await;
    assert_eq!(read.headers()["content-type"], "video/mp4");
    assert!(read.bytes().await.unwrap() == parts.concat());
    assert_eq!(problem(house.put(&format!("{path}?upload={upload}&part=4"), "x").await).await, is(404, "NoUpload"));
    let again = crate::support::json(house.request(ALICE, Method::POST, path).send().await.unwrap()).await;
    let begun = house.json(ALICE, "/v1/uploads/private").await["uploads"].clone();
    assert_eq!((begun[0]["key"].clone(), begun[0]["upload"].clone()), ("large".into(), again["upload"].clone()));
    assert!(begun[0]["begun"].is_string() && begun.as_array().unwrap().len() == 1, "{begun}");
    let upload = again["upload"].as_str().unwrap();
    let none = house.json(ALICE, &format!("/v1/uploads/private?after={upload}/large")).await;
    assert_eq!(none["uploads"], serde_json::json!([]));
    assert_eq!(house.get(ALICE, "/v1/uploads/private?after=x").await.status(), 400);
    assert_eq!(house.get(BOB, "/v1/uploads/private").await.status(), 404);
    let again = format!("{path}?upload={upload}");
    assert_eq!(house.put(&format!("{again}&part=0"), "x").await.status(), 400);
    assert_eq!(house.request(ALICE, Method::DELETE, &again).send().await.unwrap().status(), 204);
    assert_eq!(house.request(ALICE, Method::DELETE, &again).send().await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_was_cut_off_is_not_there_and_is_sent_again() {
    let house = House::open().await;
    let path = "/v1/uploads/private/large";
    let begun = house.request(ALICE, Method::POST, path).send().await.unwrap();
    let of_upload = format!("{path}?upload={}", crate::support::json(begun).await["upload"].as_str().unwrap());
    let parts = [random_bytes(1, 6_000_000), random_bytes(2, 6_000_000)];
    assert_eq!(house.put(&format!("{of_upload}&part=1"), parts[0].clone()).await.status(), 200);
    // Also of one that is there, which stays.
    for (part, sent) in [(2, 3_000_000), (1, 100_000)] {
        let head = format!(
            "PUT {of_upload}&part={part} HTTP/1.1\r\nHost: x\r\nAuthorization: {ALICE}\r\nContent-Length: 6000000\r\n\r\n"
        );
        let mut cut = TcpStream::connect(house.address).await.unwrap();
        cut.write_all(head.as_bytes()).await.unwrap();
        cut.write_all(&parts[1][..sent]).await.unwrap();
        cut.shutdown().await.unwrap();
        let _ = cut.read_to_end(&mut Vec::new()).await;
        let listed = house.json(ALICE, &of_upload).await;
        let there: Vec<_> =
            listed.as_array().unwrap().iter().map(|part| (part["part"].as_u64(), part["bytes"].as_u64())).collect();
        assert_eq!(there, [(Some(1), Some(6_000_000))]);
    }
    assert_eq!(house.put(&format!("{of_upload}&part=2"), parts[1].clone()).await.status(), 200);
    assert!(house.request(ALICE, Method::POST, &of_upload).send().await.unwrap().status().is_success());
    assert!(house.get(ALICE, "/v1/files/private/large").await.bytes().await.unwrap() == parts.concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_s_form_brings_files() {
    let house = House::open().await;
    let form = |name: &str, text: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--b--\r\n"
        )
    };
    let send = |query: &str, body: String| {
        let request = house.request(ALICE, Method::POST, &format!("/v1/files/private{query}"));
        request.header("content-type", "multipart/form-data; boundary=b").body(body).send()
    };
    let sent = send("?prefix=docs/", form("C:\\\\notes.txt", "hello")).await.unwrap();
    assert_eq!(sent.status(), 201);
    let read = house.get(ALICE, "/v1/files/private/docs/notes.txt").await;
    assert_eq!(
        (read.headers()["content-type"].to_str().unwrap().to_owned(), read.text().await.unwrap()),
        ("text/plain".into(), "hello".into())
    );
    assert_eq!(problem(send("?prefix=docs/", form("notes.txt", "again")).await.unwrap()).await, is(409, "Exists"));
    assert_eq!(send("?prefix=docs/&overwrite=true", form("notes.txt", "again")).await.unwrap().status(), 201);
    assert_eq!(send("", form("..", "x")).await.unwrap().status(), 400);
    assert_eq!(send("", "--b--\r\n".into()).await.unwrap().status(), 400);
    let cut = form("cut.txt", "hello").replace("\r\n--b--\r\n", "");
    assert_eq!(send("", cut).await.unwrap().status(), 400);
    assert_eq!(house.get(ALICE, "/v1/files/private/cut.txt").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_namespace_says_so() {
    let house = House::open().await;
    let quota = Quota { bytes: Some(10_000), objects: Some(2) };
    house.cluster.metadata().change_namespace("private", |settings| settings.quota = quota).await.unwrap();
    assert_eq!(house.put("/v1/files/private/a", vec![0; 9_000]).await.status(), 201);
    let refused = house.put("/v1/files/private/b", vec![0; 2_000]).await;
    assert_eq!(refused.status(), 507);
    let text = refused.text().await.unwrap();
    assert!(text.contains("the namespace may hold 10000 bytes: 9000 are there"), "{text}");
    assert_eq!(house.put("/v1/files/private/b", vec![0; 200_000]).await.status(), 507);
    assert_eq!(house.put("/v1/files/private/a", vec![0; 10_000]).await.status(), 200);
    assert_eq!(house.get(ALICE, "/v1/files/private/b").await.status(), 404);
    let listed = house.json(ALICE, "/v1/files").await;
    assert_eq!((&listed[0]["bytes"], &listed[0]["bytesMax"]), (&json!(10_000), &json!(10_000)));
}

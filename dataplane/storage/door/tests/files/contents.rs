//! What was written is read, in whole, in part, and only if.

use eddy_storage_testing::random_bytes;
use reqwest::Method;

use crate::support::{ALICE, House, is, json, problem};

#[tokio::test(flavor = "multi_thread")]
async fn files_of_all_sizes_come_back_in_whole_and_in_part() {
    let house = House::open().await;
    for size in [0, 1, 4096, 300_000, 5_000_000, 80_000_000] {
        let data = random_bytes(size, size as usize);
        let path = format!("/v1/files/private/sizes/{size}%20%C3%A4");
        let written = house.put(&path, data.clone()).await;
        assert_eq!(written.status(), 201);
        let tag = written.headers()["etag"].to_str().unwrap().to_owned();
        let entry = json(written).await;
        assert_eq!((entry["key"].as_str().unwrap(), entry["bytes"].as_u64().unwrap()), (&*format!("sizes/{size} ä"), size));
        let read = house.get(ALICE, &path).await;
        assert_eq!((read.status().as_u16(), read.headers()["etag"].to_str().unwrap()), (200, &*tag));
        assert_eq!(read.headers()["x-content-type-options"], "nosniff");
        assert!(read.headers()["content-security-policy"].to_str().unwrap().starts_with("sandbox"));
        assert!(read.bytes().await.unwrap() == data);
        let head = house.request(ALICE, Method::HEAD, &path).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], size.to_string());
        if size > 4000 {
            let ranged = house.request(ALICE, Method::GET, &path).header("range", "bytes=100-3999").send().await.unwrap();
            assert_eq!(
                (ranged.status().as_u16(), ranged.headers()["content-range"].to_str().unwrap()),
                (206, &*format!("bytes 100-3999/{size}"))
            );
            assert!(ranged.bytes().await.unwrap() == data.slice(100..4000));
        }
        let beyond = house.request(ALICE, Method::GET, &path).header("range", format!("bytes={size}-")).send().await.unwrap();
        assert_eq!(beyond.headers()["content-range"].to_str().unwrap(), format!("bytes */{size}"));
        assert_eq!(problem(beyond).await, is(416, "NoSuchRange"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_decide() {
    let house = House::open().await;
    let path = "/v1/files/private/key";
    let conditional =
        |method: Method, name: &str, value: &str| house.request(ALICE, method, path).header(name, value).body("data").send();
    assert_eq!(problem(conditional(Method::PUT, "if-match", "*").await.unwrap()).await, is(412, "PreconditionFailed"));
    let first = conditional(Method::PUT, "if-none-match", "*").await.unwrap();
    assert_eq!(first.status(), 201);
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(conditional(Method::PUT, "if-none-match", "*").await.unwrap().status(), 412);
    assert_eq!(conditional(Method::GET, "if-none-match", &tag).await.unwrap().status(), 304);
    assert_eq!(conditional(Method::GET, "if-match", "\"other\"").await.unwrap().status(), 412);
    let second = conditional(Method::PUT, "if-match", &tag).await.unwrap();
    assert_eq!(second.status(), 200);
    assert_eq!(conditional(Method::DELETE, "if-match", &tag).await.unwrap().status(), 412);
    assert_eq!(conditional(Method::GET, "if-none-match", &tag).await.unwrap().status(), 200);
    let tag = second.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(conditional(Method::DELETE, "if-match", &tag).await.unwrap().status(), 204);
    assert_eq!(problem(house.get(ALICE, path).await).await, is(404, "NoObject"));
    // Of many who want to be the first, one is.
    let tries = (0..10).map(|_| conditional(Method::PUT, "if-none-match", "*"));
    let outcomes = futures::future::join_all(tries).await;
    assert_eq!(outcomes.into_iter().filter(|outcome| outcome.as_ref().unwrap().status() == 201).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_is_known_by_comes_with_it_and_changes() {
    let house = House::open().await;
    let path = "/v1/files/private/page";
    let put = house.request(ALICE, Method::PUT, path).header("content-type", "text/html").header("cache-control", "no-store");
    let put = put.header("content-encoding", "gzip").header("x-eddy-meta-colour", "red").header("x-other", "no");
    assert_eq!(put.body("<p>").send().await.unwrap().status(), 201);
    let headers = house.get(ALICE, path).await.headers().clone();
    for (name, value) in [
        ("content-type", "text/html"),
        ("cache-control", "no-store"),
        ("content-encoding", "gzip"),
        ("x-eddy-meta-colour", "red"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert!(!headers.contains_key("x-other"));
    let known = house.json(ALICE, "/v1/metadata/private/page").await;
    assert_eq!(known["metadata"]["colour"], "red");
    let change = |body: &'static str| {
        let request = house.request(ALICE, Method::PUT, "/v1/metadata/private/page").header("content-type", "application/json");
        request.body(body).send()
    };
    let changed = change(r#"{"contentType":"text/plain","metadata":{"size":"large"},"tags":{"a":"b"}}"#).await.unwrap();
    assert_eq!((changed.status().as_u16(), &changed.headers()["etag"]), (200, &headers["etag"]));
    let after = house.get(ALICE, path).await;
    assert_eq!(
        (after.headers()["content-type"].to_str().unwrap(), after.headers()["x-eddy-meta-size"].to_str().unwrap()),
        ("text/plain", "large")
    );
    assert!(!after.headers().contains_key("x-eddy-meta-colour") && !after.headers().contains_key("cache-control"));
    assert_eq!(after.text().await.unwrap(), "<p>");
    for bad in
        [r#"{"headers":{"set-cookie":"a"}}"#, r#"{"metadata":{"a b":"c"}}"#, r#"{"metadata":{"a":"b\n"}}"#, r#"{"other":1}"#]
    {
        let (status, code) = problem(change(bad).await.unwrap()).await;
        assert!((400..500).contains(&status) && code == "BadRequest", "{bad}");
    }
    let stale = house.request(ALICE, Method::PUT, "/v1/metadata/private/page").header("if-match", "\"other\"");
    let stale = stale.header("content-type", "application/json").body("{}").send().await.unwrap();
    assert_eq!(problem(stale).await, is(412, "PreconditionFailed"));
    let download = house.get(ALICE, &format!("{path}?download=1")).await;
    assert_eq!(download.headers()["content-disposition"], "attachment");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_has_folders_and_pages() {
    let house = House::open().await;
    for key in ["a/1", "a/2", "b/1", "c", "d"] {
        assert_eq!(house.put(&format!("/v1/files/private/{key}"), key).await.status(), 201);
    }
    let names = |page: &serde_json::Value| -> Vec<String> {
        let name = |entry: &serde_json::Value| entry["key"].as_str().or(entry["prefix"].as_str()).unwrap().to_owned();
        page["entries"].as_array().unwrap().iter().map(name).collect()
    };
    let page = house.json(ALICE, "/v1/files/private?delimiter=/&limit=3").await;
    assert_eq!((names(&page), page["next"].as_str()), (vec!["a/".into(), "b/".into(), "c".into()], Some("c")));
    let rest = house.json(ALICE, "/v1/files/private?delimiter=/&limit=3&after=c").await;
    assert_eq!((names(&rest), rest["next"].as_str()), (vec!["d".to_owned()], None));
    let inside = house.json(ALICE, "/v1/files/private?prefix=a/&delimiter=/").await;
    assert_eq!((names(&inside), inside["entries"][0]["bytes"].as_u64()), (vec!["a/1".into(), "a/2".into()], Some(3)));
    for bad in ["limit=0", "limit=1001", "limit=x"] {
        assert_eq!(problem(house.get(ALICE, &format!("/v1/files/private?{bad}")).await).await, is(400, "BadRequest"), "{bad}");
    }
}

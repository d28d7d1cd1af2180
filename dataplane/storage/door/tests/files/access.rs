//! Who may what.

use eddy_storage_testing::until;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ALICE, BOB, House, is, problem};

/// Every way in, with a body, and whether it only reads.
pub(crate) fn everything(space: &str) -> Vec<(Method, String, Value, bool)> {
    let place = |space: &str, key: &str| json!({ "namespace": space, "key": key });
    let at = |kind: &str| format!("/v1/{kind}/{space}/key");
    vec![
        (Method::GET, at("files"), json!(null), true),
        (Method::HEAD, at("files"), json!(null), true),
        (Method::GET, format!("/v1/files/{space}"), json!(null), true),
        (Method::GET, at("metadata"), json!(null), true),
        (Method::PUT, at("files"), json!("x"), false),
        (Method::DELETE, at("files"), json!(null), false),
        (Method::PUT, at("metadata"), json!({}), false),
        (Method::POST, at("uploads"), json!(null), false),
        (Method::GET, at("uploads") + "?upload=1", json!(null), false),
        (Method::PUT, at("uploads") + "?upload=1&part=1", json!("x"), false),
        (Method::DELETE, at("uploads") + "?upload=1", json!(null), false),
        (Method::POST, at("shares"), json!({ "expiresInSeconds": 60 }), false),
        (Method::POST, "/v1/copy".into(), json!({ "from": place("public", "key"), "to": place(space, "new") }), false),
        (Method::POST, "/v1/move".into(), json!({ "from": place(space, "key"), "to": place(space, "new") }), false),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_is_refused_to_whom_it_is_not_for() {
    let house = House::open().await;
    for space in ["private", "visible", "public"] {
        assert_eq!(house.put(&format!("/v1/files/{space}/key"), "data").await.status(), 201);
    }
    for (space, nobody, other) in [("private", 401, 404), ("visible", 401, 403), ("public", 401, 403), ("nowhere", 401, 404)] {
        for (method, path, body, reads) in everything(space) {
            for (who, expected) in [("", nobody), (BOB, other)] {
                let request = house.request(who, method.clone(), &path).header("content-type", "application/json");
                let status = request.body(body.to_string()).send().await.unwrap().status().as_u16();
                let expected = if reads && space == "public" { 200 } else { expected };
                assert_eq!(status, expected, "{method} {path} by {who:?}");
            }
            for wrong in ["Bearer eddy_alice-key_wrong", "Bearer x", "Basic eDp5", "Nonsense"] {
                let request = house.request(wrong, method.clone(), &path).header("content-type", "application/json");
                let status = request.body(body.to_string()).send().await.unwrap().status().as_u16();
                assert_eq!(status, 401, "{method} {path} with {wrong}");
            }
        }
    }
    // Nothing of it happened.
    assert_eq!(house.get(ALICE, "/v1/files/public/key").await.text().await.unwrap(), "data");
    let basic = house.request("Basic YWxpY2Uta2V5OjAxMjM0NTY3ODlhYmNkZWY=", Method::GET, "/v1/files/private/key");
    assert_eq!(basic.send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_seen_by_those_they_are_for() {
    let house = House::open().await;
    let names = async |who: &str| -> Vec<String> {
        let listed = house.json(who, "/v1/files").await;
        listed.as_array().unwrap().iter().map(|space| space["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(ALICE).await, ["private", "public", "visible"]);
    assert_eq!(names(BOB).await, ["public", "visible"]);
    assert_eq!(names("").await, ["public"]);
    let seen = house.json(BOB, "/v1/files").await;
    // What is in it is not theirs to know.
    assert!(seen[1]["bytes"].is_null() && seen[0]["bytes"] == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_link_opens_one_file_for_anyone() {
    let house = House::open().await;
    for key in ["a b/ä", "other"] {
        assert_eq!(house.put(&format!("/v1/files/private/{key}"), key).await.status(), 201);
    }
    let share = house.post(ALICE, "/v1/shares/private/a%20b/%C3%A4", &json!({ "expiresInSeconds": 60 })).await;
    assert_eq!(share.status(), 201);
    let link = crate::support::json(share).await["path"].as_str().unwrap().to_owned();
    let opened = house.get("", &link).await;
    assert_eq!((opened.status().as_u16(), opened.text().await.unwrap().as_str()), (200, "a b/ä"));
    assert_eq!(house.get(BOB, &link).await.status(), 200);
    let other = link.replace("a%20b/%C3%A4", "other");
    // Nobody hears from it what is there and what is not.
    for other in [other, link.replace("/private/", "/nowhere/")] {
        for who in ["", BOB] {
            assert_eq!(problem(house.get(who, &other).await).await, is(403, "Forbidden"), "{other}");
        }
    }
    // It reads, and no more.
    assert_eq!(house.request("", Method::PUT, &link).body("x").send().await.unwrap().status(), 401);
    for seconds in [0, 40_000_000] {
        let refused = house.post(ALICE, "/v1/shares/private/other", &json!({ "expiresInSeconds": seconds })).await;
        assert_eq!(refused.status(), 400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_write_some_keys_writes_no_others_also_by_a_form() {
    let house = House::open().await;
    let statement = |effect: &str, keys: &str| json!({ "Effect": effect, "Principal": "*", "Action": "s3:PutObject", "Resource": format!("arn:aws:s3:::private/{keys}") });
    let policy = json!({ "Version": "2012-10-17", "Statement": [statement("Allow", "*"), statement("Deny", "locked/*")] });
    let metadata = house.cluster.metadata();
    metadata.set_configuration("private", "policy", Some(policy.to_string().into())).await.unwrap();
    metadata.change_namespace("private", |settings| settings.sharing.policy = true).await.unwrap();
    for (prefix, may) in [("open/", true), ("locked/", false)] {
        let form = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\ndata\r\n--x--\r\n";
        let request = house.request(BOB, Method::POST, &format!("/v1/files/private?prefix={prefix}&overwrite=true"));
        let answer = request.header("content-type", "multipart/form-data; boundary=x").body(form).send().await.unwrap();
        assert_eq!(answer.status().is_success(), may, "{prefix}");
        assert_eq!(house.get(ALICE, &format!("/v1/files/private/{prefix}a")).await.status().is_success(), may, "{prefix}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_link_ends_when_it_was_said_to() {
    let house = House::open().await;
    assert_eq!(house.put("/v1/files/private/key", "data").await.status(), 201);
    let share = house.post(ALICE, "/v1/shares/private/key", &json!({ "expiresInSeconds": 2 })).await;
    let link = crate::support::json(share).await["path"].as_str().unwrap().to_owned();
    assert_eq!(house.get("", &link).await.status(), 200);
    let mut last = None;
    until("it has ended", async || {
        let answer = house.get("", &link).await;
        let open = answer.status() == 200;
        last = Some(answer);
        !open
    })
    .await;
    assert_eq!(problem(last.unwrap()).await, is(403, "Forbidden"));
    // Nobody makes it last longer.
    let (before, signed) = link.split_once('~').unwrap();
    let (expires, signature) = signed.split_once('~').unwrap();
    let later = format!("{before}~{}~{signature}", expires.parse::<u64>().unwrap() + 1000);
    assert_eq!(problem(house.get("", &later).await).await, is(403, "Forbidden"));
}

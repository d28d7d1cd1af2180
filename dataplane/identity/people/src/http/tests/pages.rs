//! The pages, in a browser that is driven (`dev/npm-peer pages` gets what drives it; Debian's chromium).

use std::net::SocketAddr;
use std::path::Path;

use tokio::net::TcpListener;
use tokio::process::Command;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_by_pages() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Browsers take this for as safe as HTTPS.
    let origin = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let stage = Stage::with_options(Permissions::default(), Feed::fixed, |options| SignInOptions {
        platform_url: origin.clone(),
        ..options
    });
    let service = stage.router.clone().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async { axum::serve(listener, service).await });
    let mut invitations = Vec::new();
    for name in ["ada", "bob"] {
        invitations.push(stage.people.invite(UserRef { name, since_s: 5 }, ("root", None), now_s() + 1000).await.unwrap());
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let code = stage.ask(Method::POST, "/auth/v1/device", &form, "client_id=eddy+on+laptop").await.body["user_code"].clone();
    let cache = std::env::var("EDDY_CACHE").expect("EDDY_CACHE, as dev/environment sets it");
    let walked = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../e2e/pages/walk.mjs"))
        .args([&format!("{cache}/npm/pages"), "/usr/bin/chromium", &origin])
        .args(&invitations)
        .arg(code.as_str().unwrap())
        .args(std::env::var("EDDY_PICTURES"))
        .kill_on_drop(true)
        .output()
        .await
        .expect("node");
    assert!(walked.status.success(), "{}", String::from_utf8_lossy(&walked.stderr));
}

#[tokio::test]
async fn pages_are_shown_by_nobody_else_and_run_nothing_else() {
    let stage = Stage::new();
    for path in [
        "/auth",
        "/auth/account",
        "/auth/sign-in",
        "/auth/invitation",
        "/auth/device",
        "/auth/pages/page.js",
        "/auth/pages/page.css",
    ] {
        let said = stage.ask(Method::GET, path, &[], "").await;
        let policy = said.headers["content-security-policy"].to_str().unwrap();
        assert!(
            said.status == 200 && policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert_eq!(said.headers["x-content-type-options"], "nosniff");
    }
    for path in ["/auth/pages/", "/auth/pages/..%2fpage.html", "/auth/pages/page.html", "/auth/other"] {
        assert_eq!(stage.ask(Method::GET, path, &[], "").await.code(), (404, "NotFound"), "{path}");
    }
}

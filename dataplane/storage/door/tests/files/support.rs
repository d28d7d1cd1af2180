//! A door in this process, and who knocks.

use std::time::Duration;

use eddy_audit::Recorder;
use eddy_authz::{Authenticator, Keys};
use eddy_object::schema::{NamespaceSettings, Visibility};
use eddy_storage_door::{Door, DoorMetrics, ServeOptions, serve};
use eddy_storage_testing::Cluster;
use eddy_telemetry::Shutdown;
use eddy_telemetry::prometheus::registry::Registry;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;

pub(crate) const ALICE: &str = "Bearer eddy_alice-key_0123456789abcdef";
pub(crate) const BOB: &str = "Bearer eddy_bob-key_fedcba9876543210";

pub(crate) struct House {
    pub(crate) cluster: Cluster,
    pub(crate) address: std::net::SocketAddr,
    client: Client,
    _keys: tempfile::TempDir,
}

impl House {
    /// Namespaces `private`, `visible` and `public` of alice.
    pub(crate) async fn open() -> Self {
        Self::with(Cluster::start(3).await, ServeOptions::default(), Duration::from_secs(60)).await
    }

    /// Of this cluster, with whoever says nothing for so long sent away.
    pub(crate) async fn with(cluster: Cluster, options: ServeOptions, silence_max: Duration) -> Self {
        Self::known(cluster, options, silence_max, |known| known).await
    }

    /// A house whose door knows who asks by more than access keys.
    pub(crate) async fn known(
        cluster: Cluster,
        options: ServeOptions,
        silence_max: Duration,
        more: impl FnOnce(Authenticator) -> Authenticator,
    ) -> Self {
        for (name, visibility) in
            [("private", Visibility::Private), ("visible", Visibility::Visible), ("public", Visibility::Public)]
        {
            let settings = NamespaceSettings { owner: "alice".into(), visibility, ..NamespaceSettings::default() };
            cluster.metadata().create_namespace(name, settings).await.unwrap();
        }
        let keys = tempfile::tempdir().unwrap();
        std::fs::write(keys.path().join("alice"), "alice-key:0123456789abcdef").unwrap();
        std::fs::write(keys.path().join("bob"), "bob-key:fedcba9876543210").unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let authenticator = more(Authenticator::of_keys(Keys::open(keys.path()).unwrap()));
        let door = Door::new(cluster.objects.clone(), authenticator, Recorder::nowhere(), silence_max);
        let metrics = DoorMetrics::register(&mut Registry::default());
        tokio::spawn(serve(listener, door, options, metrics, Shutdown::on_signal().unwrap()));
        // The client of the graph asks for one, even without TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { cluster, address, client: Client::new(), _keys: keys }
    }

    pub(crate) fn request(&self, who: &str, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        if who.is_empty() { request } else { request.header("authorization", who) }
    }

    pub(crate) async fn get(&self, who: &str, path: &str) -> Response {
        self.request(who, Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn json(&self, who: &str, path: &str) -> Value {
        json(self.get(who, path).await).await
    }

    pub(crate) async fn put(&self, path: &str, data: impl Into<reqwest::Body>) -> Response {
        self.request(ALICE, Method::PUT, path).body(data).send().await.unwrap()
    }

    /// curl puts an object by S3, as alice: the status, and what was answered.
    pub(crate) fn s3_put(&self, path: &str, data: &[u8]) -> (u16, String) {
        self.s3_put_as("alice-key:0123456789abcdef", path, data)
    }

    /// The same with an access key, `id:secret`.
    pub(crate) fn s3_put_as(&self, key: &str, path: &str, data: &[u8]) -> (u16, String) {
        self.s3_put_with(key, path, data, "")
    }

    /// The same with a canned list of who may what, unless that is empty.
    pub(crate) fn s3_put_with(&self, key: &str, path: &str, data: &[u8], acl: &str) -> (u16, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), data).unwrap();
        let mut curl = std::process::Command::new("curl");
        curl.args(["--silent", "--show-error", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", key])
            .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--write-out", "\n%{http_code}"])
            .arg("--upload-file")
            .arg(file.path())
            .arg(format!("http://{}/{path}", self.address));
        if !acl.is_empty() {
            curl.args(["--header", &format!("x-amz-acl: {acl}")]);
        }
        let output = tokio::task::block_in_place(|| curl.output()).unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    pub(crate) async fn post(&self, who: &str, path: &str, body: &Value) -> Response {
        let request = self.request(who, Method::POST, path).header("content-type", "application/json");
        request.body(body.to_string()).send().await.unwrap()
    }
}

pub(crate) async fn json(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// The status, and the word for programs.
pub(crate) async fn problem(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    (status, json(response).await["code"].as_str().unwrap().to_owned())
}

pub(crate) fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

//! Requests to storage's doors.

use std::process::Command;
use std::time::Duration;

use crate::{Cluster, wait};

/// An access key, `id:secret`.
pub type Key = &'static str;

/// The key of a user of storage who is no tenant.
pub const LOADER: Key = "loader:0123456789abcdef";
/// The key of the tenant `keeper`.
pub const KEEPER: Key = "keeper:0123456789abcdef";
/// The key of the tenant `leaver`.
pub const LEAVER: Key = "leaver:0123456789abcdef";

/// The doors, as a client outside the cluster sees them.
#[derive(Clone)]
pub struct Door {
    url: String,
    client: reqwest::Client,
}

impl Door {
    /// The doors of the cluster under test, by a node's address. All tests share one Secret of keys.
    pub fn on(cluster: &Cluster, node: &str) -> Self {
        cluster.apply_shared(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: eddy-storage-keys, namespace: eddy-system}}\nstringData: {{loader: \"{LOADER}\", keeper: \"{KEEPER}\", leaver: \"{LEAVER}\"}}\n"
        ));
        let address =
            cluster.kubectl(&["get", "node", node, "-o", "jsonpath={.status.addresses[?(@.type=='InternalIP')].address}"]);
        let port =
            cluster.kubectl(&["-n", "eddy-system", "get", "service", "eddy-storage", "-o", "jsonpath={.spec.ports[0].nodePort}"]);
        // A connection of before may lead to a machine that is gone: each request opens one.
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .connect_timeout(Duration::from_secs(1))
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self { url: format!("http://{address}:{port}"), client }
    }

    /// Waits until a client of S3 may make its bucket at every door: keys reach each when its kubelet looks, and the
    /// address of a node leads to any of them.
    pub fn wait_bucket(&self, key: Key, bucket: &str) {
        let is_made = || ["200", "409"].contains(&self.s3(key, "PUT", bucket).0.as_str());
        wait(&format!("the bucket {bucket} at every door"), || (0..20).all(|_| is_made()));
    }

    /// What a client of S3 is answered: the status, and the head and the body.
    pub fn s3(&self, key: &str, method: &str, path: &str) -> (String, String) {
        self.s3_with(key, method, path, "")
    }

    /// The same, of a request with a body.
    pub fn s3_with(&self, key: &str, method: &str, path: &str, body: &str) -> (String, String) {
        let curl = Command::new("curl")
            .args(["-s", "-i", "-X", method, "--aws-sigv4", "aws:amz:us-east-1:s3", "--max-time", "10"])
            .args(["--user", key, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", &format!("{}/{path}", self.url)])
            .args(if body.is_empty() { Vec::new() } else { vec!["--data", body] })
            .output()
            .expect("curl is installed");
        let answer = String::from_utf8_lossy(&curl.stdout).into_owned();
        (answer.split_whitespace().nth(1).unwrap_or_default().to_owned(), answer)
    }

    /// What whoever shows a token is answered: the status.
    pub async fn by_token(&self, token: &str, method: reqwest::Method, path: &str) -> Result<u16, reqwest::Error> {
        let url = format!("{}/v1/files/{path}", self.url);
        let request = self.client.request(method, url.trim_end_matches('/')).bearer_auth(token).body("data");
        Ok(request.send().await?.status().as_u16())
    }

    /// Writes an object; returns the status.
    pub async fn put(&self, key: Key, path: &str, body: Vec<u8>) -> Result<u16, reqwest::Error> {
        let (id, secret) = key.split_once(':').unwrap();
        let request = self.client.put(format!("{}/v1/files/{path}", self.url)).basic_auth(id, Some(secret)).body(body);
        Ok(request.send().await?.status().as_u16())
    }

    /// Deletes an object; returns the status.
    pub async fn delete(&self, key: Key, path: &str) -> Result<u16, reqwest::Error> {
        let (id, secret) = key.split_once(':').unwrap();
        let request = self.client.delete(format!("{}/v1/files/{path}", self.url)).basic_auth(id, Some(secret));
        Ok(request.send().await?.status().as_u16())
    }

    /// Reads an object, or what namespaces there are where the path is empty, or without a key as anyone; returns the status and the body.
    pub async fn get(&self, key: Option<Key>, path: &str) -> Result<(u16, Vec<u8>), reqwest::Error> {
        let mut request = self.client.get(format!("{}/v1/files/{path}", self.url).trim_end_matches('/'));
        if let Some((id, secret)) = key.and_then(|key| key.split_once(':')) {
            request = request.basic_auth(id, Some(secret));
        }
        let answer = request.send().await?;
        Ok((answer.status().as_u16(), answer.bytes().await?.to_vec()))
    }
}

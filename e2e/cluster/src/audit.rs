//! What is asked of the cluster's API servers, told to Eddy's API: who did what.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::certificates::Certificates;
use crate::cluster::Cluster;
use crate::token_review::address;

const TOKEN_BYTES: usize = 32;
/// The Secret with the token that API servers show.
const SECRET: &str = "cluster-kubernetes-audit";

/// Arguments of an API server that tells.
pub(crate) fn arguments(cluster: &Cluster, certificates: &Certificates) -> Result<[String; 6]> {
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system", "system:serviceaccounts:eddy-system"]},
            {
                "level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"], "omitStages": ["ResponseStarted"],
                "resources": [{"group": "eddy.cloud"}, {"group": "", "resources": ["secrets"]}],
            },
            {
                "level": "Metadata", "verbs": ["get", "create"], "omitStages": ["ResponseComplete"],
                "resources": [{"group": "", "resources": ["pods/exec", "pods/attach", "pods/portforward"]}],
            },
            {"level": "None"},
        ],
    });
    let webhook = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "eddy",
        "clusters": [{"name": "eddy", "cluster": {
            "server": format!("https://{}/audit", address(cluster)), "certificate-authority": certificates.certificate("ca"),
        }}],
        "contexts": [{"name": "eddy", "context": {"cluster": "eddy", "user": "api-server"}}],
        "users": [{"name": "api-server", "user": {"token": token(cluster)?}}],
    });
    let write = |name: &str, content: Value| {
        let file = cluster.folder().join(name);
        write_private(&file, &content.to_string()).map(|()| file.display().to_string())
    };
    Ok([
        format!("--audit-policy-file={}", write("audit-policy.json", policy)?),
        format!("--audit-webhook-config-file={}", write("audit.kubeconfig", webhook)?),
        // Whoever looks what they have just done sees it.
        "--audit-webhook-batch-max-wait=1s".into(),
        // Larger than any event without bodies, and no batch is larger than what is taken.
        "--audit-webhook-truncate-enabled=true".into(),
        "--audit-webhook-truncate-max-event-size=2097152".into(),
        "--audit-webhook-truncate-max-batch-size=8388608".into(),
    ])
}

/// The Secret with the token, as Eddy's API expects it.
pub(crate) fn secret(cluster: &Cluster, core: &str) -> Result<Value> {
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": core}, "stringData": {"token": token(cluster)?},
    }))
}

/// The chart's settings that go with it.
pub(crate) fn values() -> String {
    format!("api.tokenReview.audit.enabled=true,api.tokenReview.audit.tokenSecret={SECRET}")
}

/// The cluster's token, drawn when it is asked for first.
fn token(cluster: &Cluster) -> Result<String> {
    let file = cluster.folder().join("audit-token");
    if let Ok(token) = fs::read_to_string(&file) {
        return Ok(token);
    }
    let mut drawn = [0; TOKEN_BYTES];
    fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut drawn)).context("failed to draw a token")?;
    let token = URL_SAFE_NO_PAD.encode(drawn);
    write_private(&file, &token)?;
    Ok(token)
}

fn write_private(file: &Path, content: &str) -> Result<()> {
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    open.and_then(|mut open| open.write_all(content.as_bytes())).with_context(|| format!("failed to write {}", file.display()))
}

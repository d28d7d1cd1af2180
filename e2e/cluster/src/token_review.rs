//! Tokens of Eddy at the cluster's API server: it asks Eddy's API whom they stand for.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::audit;
use crate::certificates::{Certificates, TOKEN_REVIEW};
use crate::cluster::Cluster;

/// Every node's port that leads to Eddy's API; of those that Kubernetes gives to nobody by itself as long as it has others.
const PORT: u16 = 30043;
const SECRET: &str = "cluster-token-review-tls";

/// Where API servers find Eddy's API.
pub(crate) fn address(cluster: &Cluster) -> String {
    format!("{}:{PORT}", cluster.node_address(1))
}

/// Writes what the API server is told: whom to ask, and whom to trust there.
pub(crate) fn configuration(cluster: &Cluster, certificates: &Certificates) -> Result<PathBuf> {
    let server = format!("https://{}/token-review", address(cluster));
    let configuration = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "eddy",
        "clusters": [{"name": "eddy", "cluster": {"server": server, "certificate-authority": certificates.certificate("ca")}}],
        "contexts": [{"name": "eddy", "context": {"cluster": "eddy", "user": "api-server"}}],
        "users": [{"name": "api-server", "user": {}}],
    });
    let file = cluster.folder().join("token-review.kubeconfig");
    fs::write(&file, configuration.to_string()).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(file)
}

/// The Secrets with the certificate that the API server expects there, and with the token that it shows.
pub(crate) fn manifest(cluster: &Cluster, core: &str) -> Result<String> {
    let certificates = Certificates::of(&cluster.folder().join("certificates"));
    let data = |file: PathBuf| {
        fs::read(&file).map(|bytes| STANDARD.encode(bytes)).with_context(|| format!("failed to read {}", file.display()))
    };
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET, "namespace": core},
        "data": {"tls.crt": data(certificates.certificate(TOKEN_REVIEW))?, "tls.key": data(certificates.key(TOKEN_REVIEW))?},
    });
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": core}});
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": [namespace, secret, audit::secret(cluster, core)?]}).to_string())
}

/// The chart's settings that go with it.
pub(crate) fn values() -> String {
    format!(
        "api.tokenReview.enabled=true,api.tokenReview.tlsSecret={SECRET},api.tokenReview.service.nodePort={PORT},{}",
        audit::values()
    )
}

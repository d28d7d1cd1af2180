//! Kubeconfig files, as JSON, which every client reads as the YAML that it also is.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::certificates::Certificates;

/// Writes the file that lets the holder of one certificate in.
pub(crate) fn write(path: &Path, certificates: &Certificates, user: &str, cluster: &str, server: &str) -> Result<()> {
    let read = |path: std::path::PathBuf| -> Result<String> {
        Ok(STANDARD.encode(fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?))
    };
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": cluster,
        "clusters": [{"name": cluster, "cluster": {
            "server": server, "certificate-authority-data": read(certificates.certificate("ca"))?,
        }}],
        "users": [{"name": user, "user": {
            "client-certificate-data": read(certificates.certificate(user))?,
            "client-key-data": read(certificates.key(user))?,
        }}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
    });
    let mut file = fs::File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("failed to write {}", path.display()))?;
    serde_json::to_writer_pretty(&mut file, &config)?;
    Ok(())
}

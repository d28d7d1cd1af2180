//! Tokens of tenants, as they are made and found.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::cluster::Cluster;

/// The resource, as kubectl calls it.
pub const TOKENS: &str = "tokens.eddy.cloud";

/// A token of a tenant: that of the Token of this name, which is made or changed to be as its spec says.
pub fn token(cluster: &Cluster, tenant: &str, name: &str, spec: &str) -> String {
    let core = format!("u-{tenant}");
    cluster.apply(&format!(
        "apiVersion: eddy.cloud/v1alpha1\nkind: Token\nmetadata: {{name: {name}, namespace: {core}}}\nspec: {spec}\n"
    ));
    cluster.wait_ready(TOKENS, &core, name);
    secret(cluster, &core, name, "token")
}

/// What a Secret holds under a key.
pub fn secret(cluster: &Cluster, core: &str, name: &str, key: &str) -> String {
    let secret = cluster.get("secret", core, name).unwrap();
    String::from_utf8(STANDARD.decode(secret["data"][key].as_str().unwrap()).unwrap()).unwrap()
}

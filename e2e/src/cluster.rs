//! The cluster under test, by its real clients.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

/// The longest that anything may take on a small machine under load.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(100);

/// The cluster that `./test` started.
pub struct Cluster {
    kubeconfig: PathBuf,
    /// A client with an administrator's rights.
    pub client: Client,
}

/// The checkout.
pub fn repository() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("CARGO_MANIFEST_DIR is not set: run ./test"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The tool behind `./up` and `./down`, which must succeed.
pub fn cluster_tool(arguments: &[&str]) {
    let target = std::env::var("CARGO_TARGET_DIR").expect("CARGO_TARGET_DIR is not set: run ./test");
    let tool = PathBuf::from(target).join("release/cluster");
    let mut command = Command::new(tool);
    // What `cargo test` sets for tests would make the tool's own `cargo build` compile ring and all above it anew.
    for (name, _) in std::env::vars() {
        if name == "LD_LIBRARY_PATH" || name == "CARGO" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    let output = command.args(arguments).current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "cluster {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Cluster {
    /// Connects to the cluster under test.
    pub async fn connect() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = PathBuf::from(std::env::var("EDDY_E2E_KUBECONFIG").expect("EDDY_E2E_KUBECONFIG is not set: run ./test"));
        let read = Kubeconfig::read_from(&kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
        Self { client: Client::try_from(config).unwrap(), kubeconfig }
    }

    /// Runs kubectl; returns what it printed on both outputs, and whether it succeeded.
    pub fn try_kubectl(&self, arguments: &[&str], input: Option<&str>) -> (bool, String) {
        let Output { status, stdout, stderr } = self.run_kubectl(arguments, input);
        (status.success(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
    }

    /// Runs kubectl, which must succeed; returns what it wrote.
    pub fn kubectl_bytes(&self, arguments: &[&str]) -> Vec<u8> {
        let Output { status, stdout, stderr } = self.run_kubectl(arguments, None);
        assert!(status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&stderr));
        stdout
    }

    /// Runs kubectl as whoever shows this token, and nothing else; returns what it printed, and whether it succeeded.
    pub fn kubectl_by_token(&self, token: &str, arguments: &[&str]) -> (bool, String) {
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&self.kubeconfig).unwrap()).unwrap();
        config["users"][0]["user"] = serde_json::json!({"token": token});
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let Output { status, stdout, stderr } = run_kubectl(&kubeconfig, arguments, None);
        (status.success(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
    }

    fn run_kubectl(&self, arguments: &[&str], input: Option<&str>) -> Output {
        run_kubectl(&self.kubeconfig, arguments, input)
    }

    /// Runs kubectl, which must succeed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let (succeeded, text) = self.try_kubectl(arguments, None);
        assert!(succeeded, "kubectl {arguments:?}: {text}");
        text
    }

    /// Applies YAML, which must be accepted.
    pub fn apply(&self, yaml: &str) -> String {
        let (succeeded, text) = self.try_kubectl(&["apply", "-f", "-"], Some(yaml));
        assert!(succeeded, "{text}\n{yaml}");
        text
    }

    /// Applies YAML that other tests may apply at the same moment: the server merges, where a client that found nothing would
    /// create, and fail if another was quicker.
    pub fn apply_shared(&self, yaml: &str) {
        let (succeeded, text) =
            self.try_kubectl(&["apply", "--server-side", "--field-manager=eddy-e2e", "--force-conflicts", "-f", "-"], Some(yaml));
        assert!(succeeded, "{text}\n{yaml}");
    }

    /// Applies YAML, which must be refused; returns the refusal.
    pub fn refused(&self, yaml: &str) -> String {
        let (succeeded, text) = self.try_kubectl(&["apply", "-f", "-"], Some(yaml));
        assert!(!succeeded, "accepted: {yaml}");
        text
    }

    /// Makes a tenant with a small quota and waits until it is there.
    pub fn tenant(&self, name: &str) {
        self.apply(&format!("apiVersion: eddy.cloud/v1alpha1\nkind: User\nmetadata: {{name: {name}}}\nspec: {{}}\n"));
        self.wait_ready("users.eddy.cloud", "default", name);
    }

    /// Waits, with kubectl as a user would, until an object is ready.
    pub fn wait_ready(&self, resource: &str, namespace: &str, name: &str) {
        self.kubectl(&["-n", namespace, "wait", "--for=condition=Ready", "--timeout=120s", &format!("{resource}/{name}")]);
    }

    /// An object, if there is one.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let (succeeded, text) =
            self.try_kubectl(&["-n", namespace, "get", resource, name, "-o", "json", "--ignore-not-found"], None);
        (succeeded && !text.trim().is_empty()).then(|| serde_json::from_str(&text).unwrap())
    }

    /// The reason and message of an object's Ready condition.
    pub fn ready(&self, resource: &str, namespace: &str, name: &str) -> (String, String, String) {
        let object = self.get(resource, namespace, name).unwrap_or_default();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default();
        let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    /// Waits until an object is not ready for a reason; returns the sentence.
    pub fn wait_reason(&self, resource: &str, namespace: &str, name: &str, reason: &str) -> String {
        let mut last = Default::default();
        wait(&format!("{resource} {namespace}/{name}: {reason}"), || {
            last = self.ready(resource, namespace, name);
            last.1 == reason
        });
        last.2
    }

    /// Waits until an object is gone.
    pub fn wait_gone(&self, resource: &str, namespace: &str, name: &str) {
        wait(&format!("{resource} {namespace}/{name} gone"), || self.get(resource, namespace, name).is_none());
    }
}

/// Waits until something holds, by looking again and again.
pub fn wait(what: &str, holds: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, holds);
}

/// The same, for what takes longer than most.
pub fn wait_within(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < patience, "{what}: not within {} s", patience.as_secs());
        pause();
    }
}

/// The one place where tests wait by the clock: between two looks at a condition.
#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(POLL);
}

fn run_kubectl(kubeconfig: &Path, arguments: &[&str], input: Option<&str>) -> Output {
    let mut child = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl is on PATH");
    child.stdin.take().unwrap().write_all(input.unwrap_or_default().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

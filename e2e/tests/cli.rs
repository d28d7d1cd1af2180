//! The command `eddy`, as people and scripts use it.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use eddy_e2e::{Cluster, Gateway, STORAGE_NAMESPACES, storage_namespace, system, wait};
use reqwest::Method;
use serde_json::{Value, json};

const HOST: &str = "cloud.eddy.example";

/// Somebody's shell.
struct Shell {
    folder: tempfile::TempDir,
    connect: String,
}

impl Shell {
    fn of(cluster: &Cluster) -> Self {
        let address = |arguments: &[&str]| cluster.kubectl(arguments);
        let node = address(&["get", "node", "node1", "-o", "jsonpath={.status.addresses[?(@.type=='InternalIP')].address}"]);
        let port = address(&["-n", "eddy-system", "get", "service", "eddy-gateway", "-o", "jsonpath={.spec.ports[0].nodePort}"]);
        Self { folder: tempfile::tempdir().unwrap(), connect: format!("{node}:{port}") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let target = std::env::var("CARGO_TARGET_DIR").expect("CARGO_TARGET_DIR is not set: run ./test");
        let mut command = Command::new(Path::new(&target).join("release/eddy"));
        command.args(arguments).current_dir(self.folder.path()).env("EDDY_CONFIG", self.path("config.json"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in ["DISPLAY", "WAYLAND_DISPLAY", "EDDY_URL", "EDDY_TOKEN"] {
            command.env_remove(name);
        }
        command
    }

    /// The exit code, and what was written to standard output and to standard error.
    fn run_with(&self, arguments: &[&str], input: &[u8]) -> (i32, String, String) {
        let mut child = self.command(arguments).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input);
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (status.code().unwrap(), text(&stdout), text(&stderr))
    }

    fn run(&self, arguments: &[&str]) -> String {
        let (code, said, error) = self.run_with(arguments, b"");
        assert_eq!(code, 0, "eddy {arguments:?}: {said}{error}");
        said
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[arguments, &["-o", "json"]].concat())).unwrap()
    }

    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let (code, said, error) = self.run_with(arguments, b"");
        (code, said + &error)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: run ./test"]
async fn somebody_signs_in_and_has_objects_tokens_and_files() {
    let cluster = Cluster::connect().await;
    cluster.tenant("shell");
    cluster.kubectl(&["-n", "u-shell", "delete", "serviceaccounts.eddy.cloud,tokens.eddy.cloud", "--all"]);
    cluster.apply(&storage_namespace("e2e-shell", "u-shell", "{deletionPolicy: Delete}"));
    cluster.wait_ready(STORAGE_NAMESPACES, "u-shell", "e2e-shell");
    let (shell, gateway) = (Shell::of(&cluster), Gateway::of(&cluster));

    // Nobody is signed in.
    let (code, said) = shell.fails(&["whoami"]);
    assert!(code == 3 && said.contains("eddy login"), "{code} {said}");
    let (code, said) = shell.fails(&["login", "http://127.0.0.1:1"]);
    assert!(code == 6 && said.contains("failed to reach"), "{code} {said}");

    // They let the program in, with a browser.
    let exec = ["exec", "deploy/eddy-identity", "-c", "identity", "--", "/eddy-dataplane", "invite", "--user", "shell"];
    let invitation = system(&cluster, &exec).trim().split_once('#').unwrap().1.to_owned();
    let headers = [("content-type", "application/json"), ("sec-fetch-site", "same-origin")];
    let body = json!({"invitation": invitation, "password": "correct horse battery"}).to_string();
    let (status, head, said) = gateway.send(Method::POST, HOST, "/auth/v1/invitation", &headers, body).await;
    assert_eq!(status, 200, "{said}");
    let cookie = head["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let login = ["login", "http://cloud.eddy.example", "--connect", &shell.connect];
    let mut waiting = shell.command(&login).spawn().unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap());
    let (mut page, mut line) = (String::new(), String::new());
    while !page.starts_with("Open ") {
        page.clear();
        assert_ne!(lines.read_line(&mut page).unwrap(), 0, "it says which page to open");
    }
    lines.read_line(&mut line).unwrap();
    let code = page.trim().rsplit('#').next().unwrap();
    assert!(page.contains("/auth/device#") && line.contains(code), "{page}{line}");
    let allow = [&headers[..], &[("cookie", &*cookie)]].concat();
    let (status, _, said) =
        gateway.send(Method::POST, HOST, &format!("/auth/v1/device/{code}"), &allow, json!({"allow": true}).to_string()).await;
    assert_eq!(status, 204, "{said}");
    let mut said = String::new();
    waiting.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(waiting.wait().unwrap().success() && said.contains("signed in as shell"), "{said}");
    assert!(shell.run(&["whoami"]).starts_with("shell, signed in at http://cloud.eddy.example"));
    assert_eq!(shell.json(&["context", "list"])[0]["name"], HOST);

    // Objects.
    let manifest = "kind: ServiceAccount\napiVersion: eddy.cloud/v1alpha1\nmetadata: {name: ci}\nspec: {scopes: []}\n";
    std::fs::write(shell.path("ci.yaml"), manifest).unwrap();
    assert_eq!(shell.run(&["apply", "-f", "ci.yaml", "--dry-run"]).trim(), "ServiceAccount ci would be applied");
    assert_eq!(shell.fails(&["get", "esa", "ci"]).0, 4);
    assert_eq!(shell.run(&["apply", "-f", "ci.yaml"]).trim(), "ServiceAccount ci applied");
    wait("it is shown", || shell.run(&["get", "serviceaccounts"]).contains("ci "));
    assert_eq!(shell.json(&["get", "esa", "ci"])["metadata"]["name"], "ci");
    assert!(shell.run(&["describe", "esa", "ci"]).contains("name: ci"));
    std::fs::write(shell.path("bad.yaml"), manifest.replace("scopes: []", "scopes: [{scope: nonsense, actions: [read]}]"))
        .unwrap();
    let (code, said) = shell.fails(&["apply", "-f", "bad.yaml"]);
    assert!(code == 7 && said.contains("spec.scopes[0].scope"), "{code} {said}");
    assert_eq!(shell.fails(&["get", "containers", "-A"]).0, 4);
    assert_eq!(shell.fails(&["get", "pods"]).0, 2);
    assert_eq!(shell.run(&["delete", "-f", "ci.yaml"]).trim(), "ServiceAccount ci is gone");
    assert_eq!(shell.fails(&["delete", "esa", "ci"]).0, 4);

    // Tokens: made, shown again, and good for what they say.
    let made = shell.run(&["token", "create", "reads", "--scope", "storage.shell.files:read,list", "--expires-in", "1d"]);
    assert!(made.starts_with("eddy_") && shell.run(&["token", "show", "reads"]) == made, "{made}");
    let (code, said) = shell.fails(&["token", "create", "wrong", "--scope", "storage.shell.disks:read"]);
    assert!(said.contains("no resource"), "{code} {said}");
    let other = Shell { folder: tempfile::tempdir().unwrap(), connect: shell.connect.clone() };
    let stdin = [&login[..], &["--token-stdin"]].concat();
    wait("the token is known", || other.run_with(&stdin, made.as_bytes()).0 == 0);
    assert!(other.run(&["whoami"]).contains("by Token reads, with limits"));
    // Whoever may less than all does not learn what may be good for more.
    assert_eq!(other.fails(&["token", "show", "reads"]).0, 4);

    // Files.
    std::fs::create_dir_all(shell.path("photos/2026")).unwrap();
    for (name, text) in [("photos/a.txt", "aaa"), ("photos/2026/b.txt", "bb"), ("photos/2026/ä ö?.txt", "c")] {
        std::fs::write(shell.path(name), text).unwrap();
    }
    shell.run(&["files", "cp", "photos/a.txt", "e2e-shell:one.txt"]);
    assert_eq!(shell.run(&["files", "cp", "e2e-shell:one.txt", "-"]), "aaa");
    let (code, _, error) = shell.run_with(&["files", "cp", "-", "e2e-shell:piped"], &vec![7; 3_000_000]);
    assert_eq!(code, 0, "{error}");
    shell.run(&["files", "cp", "e2e-shell:piped", "piped"]);
    assert_eq!(std::fs::read(shell.path("piped")).unwrap(), vec![7; 3_000_000]);
    let synced = shell.run(&["files", "sync", "photos", "e2e-shell:photos"]);
    assert_eq!(synced.lines().count(), 3, "{synced}");
    assert_eq!(shell.run(&["files", "sync", "photos", "e2e-shell:photos"]), "");
    std::fs::remove_file(shell.path("photos/a.txt")).unwrap();
    let sync = ["files", "sync", "photos", "e2e-shell:photos", "--delete"];
    assert_eq!(shell.run(&[&sync[..], &["--dry-run"]].concat()), "- a.txt\n");
    assert_eq!(shell.run(&sync), "- a.txt\n");
    assert_eq!(shell.run(&["files", "sync", "e2e-shell:photos", "copy"]).lines().count(), 2);
    assert_eq!(shell.run(&["files", "sync", "e2e-shell:photos", "copy"]), "");
    assert_eq!(std::fs::read_to_string(shell.path("copy/2026/ä ö?.txt")).unwrap(), "c");
    let listed = shell.run(&["files", "ls", "e2e-shell"]);
    assert!(listed.contains("photos/") && listed.contains("2.8 MiB") && !listed.contains("b.txt"), "{listed}");
    assert!(other.run(&["files", "ls", "-r", "e2e-shell:photos"]).contains("2026/b.txt"));
    assert_eq!(other.fails(&["files", "cp", "photos", "e2e-shell:x"]).0, 1, "there is no such file");
    let (code, _, said) = other.run_with(&["files", "cp", "-", "e2e-shell:x"], b"x");
    assert!(code == 3 || code == 4, "it only reads: {code} {said}");
    let link = shell.run(&["files", "share", "e2e-shell:one.txt", "--for", "1h"]);
    let (_, path) = link.trim().split_once("cloud.eddy.example").unwrap();
    wait("the link is good", || {
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| handle.block_on(gateway.get(HOST, path))) == (200, "aaa".to_owned())
    });
    shell.run(&["files", "rm", "-r", "e2e-shell:photos"]);
    assert_eq!(shell.run(&["files", "ls", "-r", "e2e-shell:photos"]).lines().count(), 1);

    // A Container's changes are followed, and scripts complete.
    assert!(shell.run(&["completion", "bash"]).contains("_eddy()"));
    assert_eq!(shell.run(&["open"]).trim(), "http://cloud.eddy.example");

    // Signed out, the program is nobody, and so is what it had.
    let config = std::fs::read_to_string(shell.path("config.json")).unwrap();
    let secret = serde_json::from_str::<Value>(&config).unwrap()["contexts"][HOST]["token"].as_str().unwrap().to_owned();
    assert!(shell.run(&["logout"]).contains("signed out"));
    assert_eq!(shell.fails(&["whoami"]).0, 3);
    wait("nobody takes it any more", || {
        let handle = tokio::runtime::Handle::current();
        let who = || tokio::task::block_in_place(|| handle.block_on(gateway.by_token(&secret, HOST, "/api/v1/whoami"))).0;
        (0..20).all(|_| who() == 401)
    });
}

//! A certificate authority, Pebble, the DNS that it asks, and whoever puts records there for DNS01: on the machine's own address beside the
//! cluster's nodes, where pods and gateways are reached from.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Cluster, wait};

/// What is asked of who puts records there.
pub const CREDENTIALS: &str = "eddy:secret";

/// They end with it.
pub struct Authority {
    host: String,
    folder: TempDir,
    dns: Child,
    pebble: Child,
    ports: (u16, u16),
}

impl Authority {
    /// One whose certificates are valid for so long, and which looks at gateways at the ports for HTTP and TLS of a node.
    pub fn start(cluster: &Cluster, valid_s: u64) -> Self {
        let node =
            cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"]);
        let port = |number: usize| {
            let path = format!("jsonpath={{.spec.ports[{number}].nodePort}}");
            cluster.kubectl(&["-n", "eddy-system", "get", "service", "eddy-gateway", "-o", &path]).parse().unwrap()
        };
        let ports = (port(0), port(1));
        // The machine's own address among the nodes', which are counted from the next.
        let host = format!("{}.1", node.rsplit_once('.').unwrap().0);
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.clone()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.crt"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        let dns = Command::new(program("pebble-challtestsrv"))
            .args(["-defaultIPv4", &node, "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""])
            .args(["-dnsserver", &format!("{host}:8053"), "-management", &format!("{host}:8055")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pebble-challtestsrv, as `cluster build-pebble` builds it");
        let pebble = pebble(&host, &folder, ports, valid_s);
        let authority = Self { host, folder, dns, pebble, ports };
        authority.wait();
        authority.put_records();
        authority
    }

    /// Another instead, which knows nobody, and whose certificates are valid for so long.
    pub fn replace(&mut self, valid_s: u64) {
        let _ = self.pebble.kill();
        let _ = self.pebble.wait();
        self.pebble = pebble(&self.host, &self.folder, self.ports, valid_s);
        self.wait();
    }

    fn wait(&self) {
        wait("a certificate authority", || self.try_curl(&[&self.directory()]).is_some());
        wait("its DNS", || self.try_curl(&["-d", "{\"host\": \"x.\"}", &self.manage("clear-txt")]).is_some());
    }

    /// Where its addresses are.
    pub fn directory(&self) -> String {
        format!("https://{}:14000/dir", self.host)
    }

    /// The file with the certificate that it is known by.
    pub fn known_by(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// A file with the root of the certificates that it issues.
    pub fn root(&self) -> PathBuf {
        let root = self.try_curl(&[&format!("https://{}:15000/roots/0", self.host)]).expect("a root");
        let file = self.folder.path().join("root.pem");
        std::fs::write(&file, root).unwrap();
        file
    }

    /// Its DNS server.
    pub fn dns_server(&self) -> String {
        format!("{}:8053", self.host)
    }

    /// Where whoever wants records there asks for them.
    pub fn dns01_endpoint(&self) -> String {
        format!("http://{}:8056", self.host)
    }

    /// Puts a TXT record into its DNS.
    pub fn put_txt(&self, name: &str, value: &str) {
        self.tell("set-txt", json!({"host": format!("{name}."), "value": value}));
    }

    /// Takes all TXT records of a name away.
    pub fn clear_txt(&self, name: &str) {
        self.tell("clear-txt", json!({"host": format!("{name}.")}));
    }

    /// Has a host lead elsewhere.
    pub fn put_address(&self, name: &str, address: &str) {
        self.tell("add-a", json!({"host": format!("{name}."), "addresses": [address]}));
    }

    /// An address where nobody listens at the gateway's ports: the machine's own.
    pub fn nobodys_address(&self) -> &str {
        &self.host
    }

    fn tell(&self, what: &str, body: Value) {
        self.try_curl(&["-d", &body.to_string(), &self.manage(what)]).expect("the DNS server takes it");
    }

    fn manage(&self, what: &str) -> String {
        format!("http://{}:8055/{what}", self.host)
    }

    fn try_curl(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("curl");
        command.args(["-sf", "--max-time", "5", "--cacert"]).arg(self.known_by()).args(arguments);
        let output = command.output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Serves those who want records there, as lego's provider httpreq asks for them, until the test ends.
    fn put_records(&self) {
        let listener = TcpListener::bind((self.host.as_str(), 8056)).unwrap();
        let manage = Arc::new(format!("http://{}:8055", self.host));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut first, mut length, mut is_let_in) = (String::new(), 0, false);
                let _ = stream.read_line(&mut first);
                loop {
                    let mut line = String::new();
                    let _ = stream.read_line(&mut line);
                    let line = line.trim().to_ascii_lowercase();
                    if line.is_empty() {
                        break;
                    }
                    if let Some(said) = line.strip_prefix("content-length:") {
                        length = said.trim().parse().unwrap();
                    }
                    // "eddy:secret", in lower case as all of the line.
                    is_let_in |= line == "authorization: basic zwrketpzzwnyzxq=";
                }
                let mut body = vec![0; length];
                let _ = stream.read_exact(&mut body);
                // Who says nothing is somebody else.
                let Ok(asked) = serde_json::from_slice::<Value>(&body) else { continue };
                let what = if first.contains("/present") { "set-txt" } else { "clear-txt" };
                let record = json!({"host": asked["fqdn"], "value": asked["value"]});
                let done = is_let_in
                    && Command::new("curl")
                        .args(["-sf", "-d", &record.to_string(), &format!("{manage}/{what}")])
                        .status()
                        .is_ok_and(|status| status.success());
                let status = if done { "200 OK" } else { "403 Forbidden" };
                let _ = write!(stream.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
    }
}

fn pebble(host: &str, folder: &TempDir, ports: (u16, u16), valid_s: u64) -> Child {
    let at = |name: &str| folder.path().join(name).display().to_string();
    let config = json!({"pebble": {
        "listenAddress": format!("{host}:14000"), "managementListenAddress": format!("{host}:15000"),
        "certificate": at("ca.crt"), "privateKey": at("key.pem"), "httpPort": ports.0, "tlsPort": ports.1,
        "profiles": {"default": {"description": "the only one", "validityPeriod": valid_s}},
    }});
    std::fs::write(at("pebble.json"), config.to_string()).unwrap();
    Command::new(program("pebble"))
        .args(["-strict", "-dnsserver", &format!("{host}:8053"), "-config", &at("pebble.json")])
        // It refuses some nonces, as authorities may; and looks at once.
        .env("PEBBLE_WFE_NONCEREJECT", "10")
        .env("PEBBLE_VA_NOSLEEP", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("pebble, as `cluster build-pebble` builds it")
}

fn program(name: &str) -> PathBuf {
    PathBuf::from(std::env::var("EDDY_CACHE").expect("EDDY_CACHE is not set: run ./test")).join("bin").join(name)
}

impl Drop for Authority {
    fn drop(&mut self) {
        for child in [&mut self.pebble, &mut self.dns] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

//! Processes that come, are killed and come again.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use eddy_e2e::{reserved_address, wait};
use eddy_kv::Remote;
use eddy_rpc::{TcpTransport, TlsTransport, Transport};

use crate::secured::write_identity;

/// Ports that differ and that nobody else gets.
pub(crate) fn ports(count: usize) -> Vec<u16> {
    (0..count).map(|_| reserved_address().port()).collect()
}

/// A process of `eddy-dataplane`, killed with the test.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(arguments: &[String]) -> Self {
        Self(Command::new(env!("CARGO_BIN_EXE_eddy-dataplane")).args(arguments).spawn().unwrap())
    }
}

impl Drop for Process {
    /// kill -9.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct Replicas {
    pub(crate) folder: tempfile::TempDir,
    ports: Vec<(u16, u16)>,
    children: Vec<Option<Process>>,
    /// Where the identity of all processes is, if they talk TLS.
    tls_folder: Option<PathBuf>,
}

impl Replicas {
    pub(crate) fn start(count: usize) -> Self {
        Self::run_all(count, tempfile::tempdir().unwrap(), None)
    }

    /// Whoever talks to them shows a certificate.
    pub(crate) fn start_with_tls(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls_folder = folder.path().join("tls");
        write_identity(&tls_folder);
        Self::run_all(count, folder, Some(tls_folder))
    }

    fn run_all(count: usize, folder: tempfile::TempDir, tls_folder: Option<PathBuf>) -> Self {
        let mut ports = ports(2 * count);
        ports.sort_unstable();
        let ports = ports.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let mut replicas = Self { folder, ports, children: (0..count).map(|_| None).collect(), tls_folder };
        for number in 0..count {
            replicas.run(number);
        }
        wait("all are members", || {
            let output = replicas.tool(&["status"]);
            let lines = String::from_utf8(output.stdout).unwrap();
            lines.matches("\tleads\t").count() == 1 && lines.matches("\tfollows\t").count() == count - 1
        });
        replicas
    }

    pub(crate) fn servers(&self) -> Vec<String> {
        self.ports.iter().map(|(port, _)| format!("localhost:{port}")).collect()
    }

    pub(crate) fn run(&mut self, number: usize) {
        let (port, admin_port) = self.ports[number];
        let arguments = self.arguments(&self.folder.path().join(number.to_string()), port, admin_port);
        self.children[number] = Some(Process::start(&arguments));
    }

    fn arguments(&self, folder: &Path, port: u16, admin_port: u16) -> Vec<String> {
        let mut arguments = vec![
            "kv".to_owned(),
            "serve".to_owned(),
            "--advertise-host=localhost".to_owned(),
            format!("--folder={}", folder.display()),
            format!("--bind=127.0.0.1:{port}"),
            format!("--admin-address=127.0.0.1:{admin_port}"),
            format!("--peers={}", self.servers().join(",")),
        ];
        arguments.extend(self.tls());
        arguments
    }

    /// Runs one more, which keeps all rows and does not vote, and waits until it is taken in; its folder and its address.
    pub(crate) fn run_standby(&self) -> (Process, PathBuf, String) {
        let (port, folder) = (ports(1)[0], self.folder.path().join("standby"));
        let mut arguments = self.arguments(&folder, port, 0);
        arguments.push("--standby".to_owned());
        let (process, address) = (Process::start(&arguments), format!("localhost:{port}"));
        wait("the standby is taken in", || {
            let said = tool(&["status", &format!("--servers={address}")]);
            String::from_utf8(said.stdout).unwrap().contains("\tstandby\t")
        });
        (process, folder, address)
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, number: usize) {
        drop(self.children[number].take());
    }

    pub(crate) fn client(&self) -> Remote {
        Remote::new(self.transport(), &self.servers())
    }

    /// The way to all processes.
    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        match &self.tls_folder {
            Some(folder) => Arc::new(TlsTransport::open(folder).unwrap()),
            None => Arc::new(TcpTransport::default()),
        }
    }

    /// What every process is told of that way.
    pub(crate) fn tls(&self) -> Option<String> {
        self.tls_folder.as_ref().map(|folder| format!("--tls-folder={}", folder.display()))
    }

    /// What processes other than replicas are told of them.
    pub(crate) fn store(&self) -> Vec<String> {
        [format!("--kv-servers={}", self.servers().join(","))].into_iter().chain(self.tls()).collect()
    }

    pub(crate) fn tool(&self, arguments: &[&str]) -> Output {
        let more: Vec<String> = [format!("--servers={}", self.servers().join(","))].into_iter().chain(self.tls()).collect();
        tool(&arguments.iter().copied().chain(more.iter().map(String::as_str)).collect::<Vec<_>>())
    }

    pub(crate) fn leader(&self) -> Option<usize> {
        let output = self.tool(&["status"]);
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().position(|line| line.contains("\tleads\t"))
    }
}

pub(crate) fn tool(arguments: &[&str]) -> Output {
    dataplane(&[&["kv"], arguments].concat())
}

/// What a tool says that is given something on its standard input.
pub(crate) fn tool_with(input: &[u8], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eddy-dataplane"));
    command.arg("kv").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// What the program says, having ended.
pub(crate) fn dataplane(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_eddy-dataplane")).args(arguments).output().unwrap()
}

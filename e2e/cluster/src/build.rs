//! Building Kubernetes (Go) and Eddy (Rust) side by side, and knowing where the results are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};

use crate::hash::hash_files;
use crate::progress::Progress;

/// The Kubernetes that is built; `e2e/cluster/kubernetes/go.mod` says the same.
const KUBERNETES_VERSION: &str = "v1.34.4";
/// The Helm that is built.
const HELM_VERSION: &str = "v3.19.4";

/// Where the built programs are.
pub struct Binaries {
    cache: PathBuf,
    target: PathBuf,
}

impl Binaries {
    /// Reads the two folders from `EDDY_CACHE` and `CARGO_TARGET_DIR`, which the scripts at the root set.
    ///
    /// # Errors
    /// Where one is not set.
    pub fn from_environment() -> Result<Self> {
        let folder = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .with_context(|| format!("{name} is not set: start this by ./up, ./down or ./test"))
        };
        Ok(Self { cache: folder("EDDY_CACHE")?, target: folder("CARGO_TARGET_DIR")? })
    }

    /// The folder that outlives clones.
    pub fn cache(&self) -> &Path {
        &self.cache
    }
    /// The multi-call binary of every Kubernetes component.
    pub(crate) fn kubernetes(&self) -> PathBuf {
        self.cache.join("bin/kubernetes")
    }
    /// The real kubectl.
    pub fn kubectl(&self) -> PathBuf {
        self.cache.join("bin/kubectl")
    }
    /// The real Helm.
    pub fn helm(&self) -> PathBuf {
        self.cache.join("bin/helm")
    }
    pub(crate) fn coredns(&self) -> PathBuf {
        self.cache.join("bin/coredns")
    }
    pub(crate) fn nats(&self) -> PathBuf {
        self.cache.join("bin/nats-server")
    }
    pub(crate) fn operator(&self) -> PathBuf {
        self.target.join("release/eddy-operator")
    }
    pub(crate) fn dataplane(&self) -> PathBuf {
        self.target.join("release/eddy-dataplane")
    }
}

/// Builds what changed. `kubernetes` is false where another cluster is used.
///
/// # Errors
/// Where a build fails; its own output says why.
pub fn build(repository: &Path, kubernetes: bool, progress: &Progress) -> Result<Binaries> {
    let binaries = Binaries::from_environment()?;
    thread::scope(|scope| {
        let go = scope.spawn(|| {
            if kubernetes {
                build_nats(repository, &binaries, progress)?;
            }
            build_kubernetes(repository, &binaries, kubernetes, progress)
        });
        let rust = build_rust(repository, progress);
        let go = go.join().map_err(|_| anyhow!("the Go build panicked"))?;
        rust.and(go)
    })?;
    Ok(binaries)
}

/// Set where tests are built as well.
const WITH_TESTS: &str = "EDDY_BUILD_WITH_TESTS";

/// The whole workspace at once: a part alone would be built with other features of the shared crates, that is, twice. For the same
/// reason it is built with its tests where these have been built already.
fn build_rust(repository: &Path, progress: &Progress) -> Result<()> {
    let tests: &[&str] = if std::env::var_os(WITH_TESTS).is_some() { &["--lib", "--tests", "--examples"] } else { &[] };
    let status = Command::new("cargo")
        .args(["build", "--release", "--locked", "--quiet", "--workspace", "--bins"])
        .args(tests)
        .current_dir(repository)
        .status()
        .context("failed to start cargo")?;
    ensure!(status.success(), "cargo build failed");
    progress.done("Eddy built");
    Ok(())
}

/// Builds Kubernetes with kubectl, Helm and CoreDNS, or only the two tools.
///
/// # Errors
/// Where the build fails; its own output says why.
pub fn build_kubernetes(repository: &Path, binaries: &Binaries, kubernetes: bool, progress: &Progress) -> Result<()> {
    let packages: &[&str] = if kubernetes {
        &[".", "k8s.io/kubernetes/cmd/kubectl", "helm.sh/helm/v3/cmd/helm", "./coredns"]
    } else {
        &["k8s.io/kubernetes/cmd/kubectl", "helm.sh/helm/v3/cmd/helm"]
    };
    let folder = repository.join("e2e/cluster");
    let sources = ["go.mod", "go.sum", "main.go", "coredns/main.go"];
    let name = format!("Kubernetes {KUBERNETES_VERSION}");
    let module = Module { folder: folder.join("kubernetes"), sources: &sources, packages, flags: &linker_flags() };
    module.build(binaries, kubernetes.then_some("kubernetes"), &name, progress)
}

/// Builds NATS.
///
/// # Errors
/// Where the build fails; its own output says why.
pub fn build_nats(repository: &Path, binaries: &Binaries, progress: &Progress) -> Result<()> {
    let packages = &["github.com/nats-io/nats-server/v2"];
    let folder = repository.join("e2e/cluster/nats");
    let module = Module { folder, sources: &["go.mod", "go.sum"], packages, flags: "-s -w" };
    module.build(binaries, Some("nats"), "NATS", progress)
}

/// Builds Pebble, a certificate authority for tests, and the DNS server that it asks.
///
/// # Errors
/// Where the build fails; its own output says why.
pub fn build_pebble(repository: &Path, binaries: &Binaries, progress: &Progress) -> Result<()> {
    let packages = &["github.com/letsencrypt/pebble/v2/cmd/pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv"];
    let folder = repository.join("e2e/cluster/pebble");
    let module = Module { folder, sources: &["go.mod", "go.sum"], packages, flags: "-s -w" };
    module.build(binaries, Some("pebble"), "Pebble", progress)
}

/// Programs of one Go module.
struct Module<'a> {
    folder: PathBuf,
    sources: &'a [&'a str],
    packages: &'a [&'a str],
    flags: &'a str,
}

impl Module<'_> {
    /// Builds all of them. Go's own check that nothing changed takes seconds on a large module, so a hash of the sources stands before it;
    /// `stamp` names it, where all is built that it stands for.
    fn build(&self, binaries: &Binaries, stamp: Option<&str>, name: &str, progress: &Progress) -> Result<()> {
        let sources: Vec<PathBuf> = self.sources.iter().map(|name| self.folder.join(name)).collect();
        let wanted = hash_files(&sources)?;
        let folder = binaries.cache.join("bin");
        let known =
            |stamp: &str| fs::read_to_string(folder.join(stamp).with_extension("hash")).is_ok_and(|built| built == wanted);
        if known(stamp.unwrap_or("kubernetes")) {
            return Ok(());
        }
        fs::create_dir_all(&folder)?;
        let status = Command::new("go")
            .args(["build", "-trimpath", "-ldflags", self.flags, "-o"])
            .arg(format!("{}/", folder.display()))
            .args(self.packages)
            .env("CGO_ENABLED", "0")
            .current_dir(&self.folder)
            .status()
            .context("failed to start go: install Go 1.26 or newer")?;
        ensure!(status.success(), "go build failed");
        if let Some(stamp) = stamp {
            fs::write(folder.join(stamp).with_extension("hash"), wanted)?;
        }
        progress.done(format!("{name} built"));
        Ok(())
    }
}

/// What the programs say of their own version, which their own builds set the same way.
fn linker_flags() -> String {
    let mut numbers = KUBERNETES_VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let mut flags = "-s -w".to_owned();
    for (variable, value) in [
        ("k8s.io/component-base/version.gitVersion", KUBERNETES_VERSION),
        ("k8s.io/component-base/version.gitMajor", major),
        ("k8s.io/component-base/version.gitMinor", minor),
        ("helm.sh/helm/v3/internal/version.version", HELM_VERSION),
        ("helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor", major),
        ("helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor", minor),
    ] {
        flags.push_str(&format!(" -X {variable}={value}"));
    }
    flags
}

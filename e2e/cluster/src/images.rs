//! Container images made from files of this machine: no registry is needed, and none is asked.
//!
//! An image's tag is the hash of its contents, so a pod is replaced exactly when its program changed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::build::Binaries;
use crate::command::{output, run};
use crate::hash::hex;

/// The image that holds a pod's namespaces open.
pub(crate) const PAUSE: &str = "localhost/eddy/pause:1";

/// Every image that a cluster of Eddy's own needs, as archives that container runtimes import.
pub struct Images {
    /// The operator's name and tag.
    pub operator: (String, String),
    /// The data plane's name and tag.
    pub dataplane: (String, String),
    /// The whole name of the DNS server's image, for a cluster of Eddy's own.
    pub coredns: Option<String>,
    /// The name and tag of NATS, for such a cluster; others have it from its makers.
    pub nats: Option<(String, String)>,
    archives: Vec<(String, PathBuf)>,
}

impl Images {
    /// Each image's whole name and archive.
    pub fn all(&self) -> Vec<(String, PathBuf)> {
        self.archives.clone()
    }
}

/// Makes every image that is not there yet: those of Eddy and, for a cluster of its own, all that runs there.
///
/// # Errors
/// Where a file is missing or an archive cannot be written.
pub fn prepare(binaries: &Binaries, own: bool) -> Result<Images> {
    let folder = binaries.cache().join("images");
    fs::create_dir_all(&folder)?;
    let mut archives = Vec::new();
    let mut make = |image: Image, tag: Option<&str>| -> Result<(String, String)> {
        let (tag, archive) = image.write(&folder, tag)?;
        archives.push((format!("{}:{tag}", image.name), archive));
        Ok((image.name, tag))
    };

    let operator = make(Image::of_program("localhost/eddy/operator", &binaries.operator(), "/eddy-operator")?, None)?;
    let dataplane = make(Image::of_program("localhost/eddy/dataplane", &binaries.dataplane(), "/eddy-dataplane")?, None)?;
    let (mut coredns, mut nats) = (None, None);
    if own {
        let pause = folder.join("pause");
        if !pause.exists() {
            compile_pause(&pause)?;
        }
        make(Image::of_program("localhost/eddy/pause", &pause, "/pause")?, Some("1"))?;
        let (name, tag) = make(Image::of_program("localhost/eddy/coredns", &binaries.coredns(), "/coredns")?, None)?;
        coredns = Some(format!("{name}:{tag}"));
        nats = Some(make(Image::of_program("localhost/eddy/nats", &binaries.nats(), "/nats-server")?, None)?);
        // The examples' image. On a cluster with a way to a registry it is the one of that name.
        make(Image::busybox(Path::new("/bin/busybox"))?, Some("1.35"))?;
    }
    Ok(Images { operator, dataplane, coredns, nats, archives })
}

/// Makes an image of this whole name and tag of one program, which needs no shared library of others. Returns the name and the archive.
///
/// # Errors
/// Where the name has no tag, the file is missing or the archive cannot be written.
pub fn prepare_program(binaries: &Binaries, image: &str, program: &Path) -> Result<(String, PathBuf)> {
    let folder = binaries.cache().join("images");
    fs::create_dir_all(&folder)?;
    let (name, tag) = image.rsplit_once(':').with_context(|| format!("{image} is no name of an image with its tag"))?;
    let at = format!("/{}", program.file_name().unwrap_or_default().display());
    let (_, archive) = Image::of_program(name, program, &at)?.write(&folder, Some(tag))?;
    Ok((image.to_owned(), archive))
}

/// What an image is made of.
struct Image {
    name: String,
    entry_point: Vec<String>,
    entries: Vec<Entry>,
}

enum Entry {
    File { at: String, source: PathBuf },
    Link { at: String, target: String },
    Text { at: String, text: String },
    Folder { at: String, mode: u32 },
}

impl Image {
    /// An image of one program, with the shared libraries that it names.
    fn of_program(name: &str, program: &Path, at: &str) -> Result<Self> {
        let mut entries = vec![Entry::File { at: at.into(), source: program.to_owned() }];
        for library in libraries(program) {
            entries.push(Entry::File { at: library.display().to_string(), source: library });
        }
        entries.push(Entry::Text { at: "/etc/passwd".into(), text: "root:x:0:0::/:\neddy:x:65532:65532::/:\n".into() });
        Ok(Self { name: name.into(), entry_point: vec![at.into()], entries })
    }

    /// An image with a shell and the usual tools, each a link to one static program.
    fn busybox(program: &Path) -> Result<Self> {
        let mut entries = vec![Entry::File { at: "/bin/busybox".into(), source: program.to_owned() }];
        for tool in output(program, ["--list"])?.lines().filter(|tool| *tool != "busybox") {
            entries.push(Entry::Link { at: format!("/bin/{tool}"), target: "busybox".into() });
        }
        entries.push(Entry::Text { at: "/etc/passwd".into(), text: "root:x:0:0::/:/bin/sh\n".into() });
        for (at, mode) in [("/tmp", 0o1777), ("/root", 0o700), ("/var", 0o755)] {
            entries.push(Entry::Folder { at: at.into(), mode });
        }
        Ok(Self { name: "docker.io/library/busybox".into(), entry_point: vec!["/bin/sh".into()], entries })
    }

    /// Writes the archive unless one of the same contents is there; returns the tag and the file.
    fn write(&self, folder: &Path, tag: Option<&str>) -> Result<(String, PathBuf)> {
        let layer = self.layer()?;
        let digest = hex(&Sha256::digest(&layer));
        // One of the same contents may have two tags.
        let known = tag.map(|tag| format!("{tag}-")).unwrap_or_default();
        let tag = tag.map_or_else(|| digest[..12].to_owned(), str::to_owned);
        let path = folder.join(format!("{}-{known}{}.tar", self.name.replace('/', "_"), &digest[..12]));
        if !path.exists() {
            let partial = path.with_extension("partial");
            self.write_archive(&partial, &layer, &digest, &tag)
                .with_context(|| format!("failed to write {}", partial.display()))?;
            fs::rename(&partial, &path)?;
        }
        Ok((tag, path))
    }

    /// The one layer, the same bytes for the same files.
    fn layer(&self) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for entry in &self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_mtime(0);
            match entry {
                Entry::File { at, source } => {
                    let bytes = fs::read(source).with_context(|| format!("failed to read {}", source.display()))?;
                    header.set_size(bytes.len() as u64);
                    archive.append_data(&mut header, at.trim_start_matches('/'), bytes.as_slice())?;
                }
                Entry::Text { at, text } => {
                    header.set_mode(0o644);
                    header.set_size(text.len() as u64);
                    archive.append_data(&mut header, at.trim_start_matches('/'), text.as_bytes())?;
                }
                Entry::Folder { at, mode } => {
                    header.set_mode(*mode);
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_size(0);
                    archive.append_data(&mut header, at.trim_start_matches('/'), std::io::empty())?;
                }
                Entry::Link { at, target } => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    archive.append_link(&mut header, at.trim_start_matches('/'), target)?;
                }
            }
        }
        Ok(archive.into_inner()?)
    }

    /// The form that `docker save` writes and every runtime reads.
    fn write_archive(&self, path: &Path, layer: &[u8], digest: &str, tag: &str) -> Result<()> {
        let configuration = json!({
            "architecture": architecture()?, "os": "linux",
            "config": {"Entrypoint": self.entry_point, "Env": ["PATH=/bin:/usr/bin:/sbin:/usr/sbin"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]}, "history": [{}],
        })
        .to_string();
        let configuration_name = format!("{}.json", hex(&Sha256::digest(&configuration)));
        let layer_name = format!("{digest}.tar");
        let manifest = json!([{
            "Config": configuration_name, "RepoTags": [format!("{}:{tag}", self.name)], "Layers": [layer_name],
        }])
        .to_string();
        let mut archive = tar::Builder::new(File::create(path)?);
        for (name, bytes) in [
            (configuration_name.as_str(), configuration.as_bytes()),
            (&layer_name, layer),
            ("manifest.json", manifest.as_bytes()),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, name, bytes)?;
        }
        archive.into_inner()?.flush()?;
        Ok(())
    }
}

/// The shared libraries of a program, by the path that its loader looks them up at; none if it is static.
fn libraries(program: &Path) -> BTreeSet<PathBuf> {
    let Ok(listing) = output("ldd", [program]) else { return BTreeSet::new() };
    listing.split_whitespace().filter(|word| word.starts_with('/') && Path::new(word).exists()).map(PathBuf::from).collect()
}

/// A program that waits to be told to end and reaps what is left to it, in 30 KB.
fn compile_pause(to: &Path) -> Result<()> {
    const SOURCE: &str = r"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void leave(int signal) { _exit(0); }
static void reap(int signal) { while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) {
    signal(SIGINT, leave); signal(SIGTERM, leave); signal(SIGCHLD, reap);
    for (;;) pause();
}
";
    let mut compiler = std::process::Command::new("cc");
    compiler.args(["-x", "c", "-static", "-Os", "-s", "-o"]).arg(to).arg("-");
    run(&mut compiler, Some(SOURCE)).map(drop)
}

/// The machine's architecture by the name that image formats give it.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no images can be made on {other}"),
    }
}

//! `cluster up` and `cluster down`: what the scripts `./up` and `./down` run.

#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use eddy_cluster::{Cluster, Installation, Progress, Shape, install, lifecycle, undo_install};

#[derive(Parser)]
#[command(about = "A Kubernetes of its own on this machine, with Eddy on it")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cluster, or what is missing of it, and install Eddy.
    Up(Up),
    /// Build Kubernetes and its tools, and nothing else.
    BuildKubernetes,
    /// Build NATS, and nothing else.
    BuildNats,
    /// Build Pebble, a certificate authority, for tests of Domains.
    BuildPebble,
    /// Remove a cluster and all that belongs to it.
    Down {
        /// The cluster's name.
        #[arg(long, default_value = "eddy")]
        name: String,
    },
    /// Pull the cable of a node: nothing reaches it, and it reaches nothing.
    Cut {
        /// The cluster's name.
        #[arg(long, default_value = "eddy")]
        name: String,
        /// The node, counted from 1.
        #[arg(long)]
        node: u8,
    },
    /// Plug the cable of a node in again.
    Mend {
        /// The cluster's name.
        #[arg(long, default_value = "eddy")]
        name: String,
        /// The node, counted from 1.
        #[arg(long)]
        node: u8,
    },
    /// Give the nodes of a cluster an image of one program.
    Load {
        /// The cluster's name.
        #[arg(long, default_value = "eddy")]
        name: String,
        /// The image's name, with its tag.
        #[arg(long)]
        image: String,
        /// The program.
        #[arg(long)]
        program: PathBuf,
    },
    /// End one process of a cluster without warning, as a power cut would; `up` starts it again.
    Kill {
        /// The cluster's name.
        #[arg(long, default_value = "eddy")]
        name: String,
        /// The process, as the files in the cluster's folder `pids` are called: etcd-1, apiserver-2, kubelet-1.
        process: String,
    },
}

#[derive(clap::Args)]
struct Up {
    /// The cluster's name. Clusters of different names share nothing.
    #[arg(long, default_value = "eddy")]
    name: String,
    /// Machines that run pods.
    #[arg(long, default_value_t = 1)]
    nodes: u8,
    /// Replicas of etcd and the API server: 1, 3 or 5.
    #[arg(long, default_value_t = 1)]
    control_planes: u8,
    /// Stop once Kubernetes is ready: neither charts nor example.
    #[arg(long)]
    kubernetes_only: bool,
    /// Install the charts and leave the example out.
    #[arg(long)]
    no_example: bool,
    /// With KUBECONFIG set: the registry to push images to, as in registry.example.com/eddy.
    #[arg(long, requires = "kubeconfig")]
    registry: Option<String>,
    /// Settings of the chart, as Helm's --set takes them
    #[arg(long)]
    set: Vec<String>,
    /// Use this cluster instead of starting one.
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Up(arguments) => up(&arguments),
        Command::BuildKubernetes => {
            let binaries = lifecycle::Binaries::from_environment()?;
            lifecycle::build_kubernetes(&std::env::current_dir()?, &binaries, true, &Progress::start())
        }
        Command::BuildNats => {
            let binaries = lifecycle::Binaries::from_environment()?;
            lifecycle::build_nats(&std::env::current_dir()?, &binaries, &Progress::start())
        }
        Command::BuildPebble => {
            let binaries = lifecycle::Binaries::from_environment()?;
            lifecycle::build_pebble(&std::env::current_dir()?, &binaries, &Progress::start())
        }
        Command::Down { name } => down(&name),
        Command::Cut { name, node } => existing(&name)?.set_cable(node, false),
        Command::Mend { name, node } => existing(&name)?.set_cable(node, true),
        Command::Load { name, image, program } => {
            let binaries = lifecycle::Binaries::from_environment()?;
            existing(&name)?.load(lifecycle::prepare_program(&binaries, &image, &program)?)
        }
        Command::Kill { name, process } => {
            if existing(&name)?.kill(&process) {
                Ok(())
            } else {
                bail!("{process} of cluster {name} does not run")
            }
        }
    }
}

fn existing(name: &str) -> Result<Cluster> {
    Cluster::find(name)?.with_context(|| format!("there is no cluster {name}"))
}

fn up(arguments: &Up) -> Result<()> {
    let progress = Progress::start();
    let repository = std::env::current_dir()?;
    let binaries = lifecycle::build(&repository, arguments.kubeconfig.is_none(), &progress)?;
    let images = lifecycle::prepare_images(&binaries, arguments.kubeconfig.is_none())?;
    let cluster = match arguments.kubeconfig {
        Some(_) => None,
        None => Some(Cluster::open(&arguments.name, Shape { nodes: arguments.nodes, control_planes: arguments.control_planes })?),
    };
    let kubeconfig = match (&cluster, &arguments.kubeconfig) {
        (Some(cluster), _) => published_kubeconfig(&repository, cluster),
        (None, Some(given)) => given.clone(),
        (None, None) => bail!("neither a cluster of its own nor KUBECONFIG"),
    };
    let installation = Installation {
        values: &arguments.set,
        repository: &repository,
        binaries: &binaries,
        images: &images,
        kubeconfig,
        registry: arguments.registry.clone(),
    };
    let definitions = || if arguments.kubernetes_only { Ok(()) } else { installation.definitions() };
    match &cluster {
        Some(cluster) => lifecycle::up(cluster, &binaries, &images, &progress, || {
            publish_kubeconfig(cluster, &installation.kubeconfig)?;
            installation.forget_unfinished()?;
            definitions()
        })?,
        None => definitions()?,
    }
    if arguments.kubernetes_only {
        return Ok(());
    }
    install(&installation, cluster.as_ref(), &progress)?;
    if arguments.no_example {
        return Ok(());
    }
    let url = installation.example(&progress)?;
    println!(
        "\nEddy is at {url}. Try next:\n\n  export KUBECONFIG={kubeconfig} PATH={tools}:$PATH\n  kubectl get eddy -A\n  curl -H 'Host: hello.eddy.example' {url}\n  kubectl -n u-hello scale container hello --replicas=3\n  ./down\n",
        kubeconfig = installation.kubeconfig.display(),
        tools = binaries.cache().join("bin").display(),
    );
    Ok(())
}

fn down(name: &str) -> Result<()> {
    let progress = Progress::start();
    if let Some(given) = std::env::var_os("KUBECONFIG") {
        undo_install(&lifecycle::Binaries::from_environment()?, &PathBuf::from(given))?;
        progress.done("Eddy uninstalled; definitions and users' objects stay");
        return Ok(());
    }
    let Some(cluster) = Cluster::find(name)? else {
        progress.done(format!("there is no cluster {name}"));
        return Ok(());
    };
    lifecycle::down(&cluster)?;
    progress.done(format!("cluster {name} removed"));
    Ok(())
}

/// Where users look for the administrator's kubeconfig: `.eddy/kubeconfig`, or `.eddy/<name>.kubeconfig`.
fn published_kubeconfig(repository: &Path, cluster: &Cluster) -> PathBuf {
    let folder = repository.join(".eddy");
    match cluster.name() {
        "eddy" => folder.join("kubeconfig"),
        other => folder.join(format!("{other}.kubeconfig")),
    }
}

fn publish_kubeconfig(cluster: &Cluster, file: &Path) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::copy(cluster.kubeconfig("admin"), file).map(drop).with_context(|| format!("failed to write {}", file.display()))
}

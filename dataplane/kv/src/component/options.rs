//! What `eddy-dataplane kv` is told on its command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use eddy_rpc::TlsError;

use super::transport::TransportOptions;
use crate::remote::Remote;
use crate::replicated::{GroupOptions, LogOptions, ReplicatedOptions};

/// Options of the store's component.
#[derive(clap::Args, Clone, Debug)]
pub struct KvOptions {
    #[command(subcommand)]
    pub(super) command: KvCommand,
}

#[derive(clap::Subcommand, Clone, Debug)]
pub(super) enum KvCommand {
    /// Run a replica
    Serve(ServeOptions),
    /// Say how each replica is
    Status(Servers),
    /// Write all rows to a file, while the store serves
    Backup {
        #[command(flatten)]
        servers: Servers,
        /// The file, which appears when it is whole; standard output if it is -
        #[arg(long)]
        file: PathBuf,
    },
    /// Fill an empty store from a backup
    Restore {
        #[command(flatten)]
        servers: Servers,
        /// The backup; standard input if it is -
        #[arg(long)]
        file: PathBuf,
    },
    /// Read a backup and say whether it is whole
    Verify {
        /// The backup
        #[arg(long)]
        file: PathBuf,
    },
    /// Write all that a replica has to a file, where too many of the others are lost for any to lead; it must be stopped, and is
    /// left as it is
    Salvage {
        /// The replica's folder
        #[arg(long)]
        folder: PathBuf,
        /// The file; it appears when it is whole. As much room again is needed beside it
        #[arg(long)]
        file: PathBuf,
    },
    /// End the membership of a replica that does not come back
    Remove {
        #[command(flatten)]
        servers: Servers,
        /// Its address, as `status` shows it
        #[arg(long)]
        address: String,
    },
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct Servers {
    /// host:port of every replica, separated by commas
    #[arg(long, env = "EDDY_KV_SERVERS", value_delimiter = ',', required = true)]
    servers: Vec<String>,

    #[command(flatten)]
    transport: TransportOptions,
}

impl Servers {
    pub(super) fn remote(&self) -> Result<Remote, TlsError> {
        Ok(Remote::new(self.transport.transport()?, &self.servers))
    }
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ServeOptions {
    /// Where the log and the rows are
    #[arg(long)]
    pub(super) folder: PathBuf,

    /// Where replicas and clients connect
    #[arg(long, default_value = "0.0.0.0:7400")]
    pub(super) bind: SocketAddr,

    /// The host at which they reach this replica; it must mean this replica for as long as it lives
    #[arg(long)]
    pub(super) advertise_host: String,

    /// The port at which they do, if it is not the one of --bind
    #[arg(long)]
    pub(super) advertise_port: Option<u16>,

    /// host:port of every replica of the group, separated by commas; this one may be among them. A new group is
    /// founded when all of them can be asked
    #[arg(long, value_delimiter = ',')]
    pub(super) peers: Vec<String>,

    /// Keep all rows and answer reads, but do not vote
    #[arg(long)]
    pub(super) standby: bool,

    /// Memory that holds pages of the rows
    #[arg(long, default_value_t = 128)]
    pub(super) cache_mebibytes: usize,

    /// Room that is left on the disk when no rows are added any more, so that rows can still be removed
    #[arg(long, default_value_t = 256)]
    pub(super) reserved_mebibytes: u64,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, default_value = "0.0.0.0:9090")]
    pub(super) admin_address: SocketAddr,

    #[command(flatten)]
    pub(super) transport: TransportOptions,
}

impl ServeOptions {
    pub(super) fn replica(&self) -> ReplicatedOptions {
        let port = self.advertise_port.unwrap_or_else(|| self.bind.port());
        ReplicatedOptions {
            folder: self.folder.clone(),
            cache_bytes: self.cache_mebibytes * 1024 * 1024,
            reserved_bytes: self.reserved_mebibytes * 1024 * 1024,
            log: LogOptions::default(),
            group: Some(GroupOptions {
                advertise: format!("{}:{port}", self.advertise_host),
                peers: self.peers.clone(),
                standby: self.standby,
            }),
        }
    }
}

//! What the gateway is told on its command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use eddy_authz::feed::{Ages, NatsOptions};

/// Options of the gateway.
#[derive(clap::Args, Clone, Debug)]
pub struct GatewayOptions {
    /// Where clients connect, for plain HTTP.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, default_value = "0.0.0.0:9090")]
    pub admin_address: SocketAddr,

    /// Proxy threads; as many as processors if unset.
    #[arg(long, env = "EDDY_GATEWAY_THREADS")]
    pub threads: Option<usize>,

    /// Connections from clients that may be open at once, over all threads. More wait in the kernel.
    #[arg(long, default_value_t = 16_384)]
    pub max_connections: usize,

    /// A file that keeps the last good snapshot over a restart, for when the API server is away then.
    #[arg(long)]
    pub state_file: Option<PathBuf>,

    /// Routes and endpoints from this file, in the form of --state-file, instead of from Kubernetes.
    #[arg(long, conflicts_with = "state_file")]
    pub static_file: Option<PathBuf>,

    /// A file for what is known of permissions, for when this starts anew while NATS is away; with it, Routes may require scopes
    #[arg(long, requires = "nats_servers")]
    pub permissions_file: Option<PathBuf>,

    /// Seconds that permissions may be old for scopes that change anything
    #[arg(long, default_value_t = Ages::default().writes_max.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    pub writes_age_seconds_max: u64,

    /// Seconds that permissions may be old for scopes that only read, as to open a Route
    #[arg(long, default_value_t = Ages::default().reads_max.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    pub reads_age_seconds_max: u64,

    /// How NATS is reached
    #[command(flatten)]
    pub nats: NatsOptions,

    /// Seconds between the request to end and the closing of the listeners: time for load balancers to notice.
    #[arg(long, default_value_t = 5)]
    pub drain_delay_seconds: u64,

    /// Seconds that requests under way may take after that.
    #[arg(long, default_value_t = 25)]
    pub drain_deadline_seconds: u64,

    /// Write a line for each request to standard output.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub access_log: bool,
}

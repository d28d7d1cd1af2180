//! What the operator is told on its command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use eddy_kv::component::TransportOptions;
use eddy_router::Port;
use eddy_telemetry::TelemetryOptions;

use crate::domain::DomainOptions;

/// Options of the operator.
#[derive(Parser, Clone, Debug)]
#[command(version, about)]
pub(crate) struct Options {
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, default_value = "0.0.0.0:9090")]
    pub(crate) admin_address: SocketAddr,

    /// The core namespace that holds the Lease and the gateway.
    #[arg(long, env = "POD_NAMESPACE", default_value = "eddy-system")]
    pub(crate) namespace: String,

    /// This replica's name in the Lease.
    #[arg(long, env = "POD_NAME", default_value = "eddy-operator")]
    pub(crate) identity: String,

    /// Seconds after which a leader that was not heard of is replaced.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(3..=60))]
    pub(crate) lease_seconds: u64,

    /// Objects of one kind that are reconciled at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) concurrency: u16,

    /// host:port of every replica of storage's metadata, separated by commas; without any, Namespaces are not acted on
    #[arg(long, value_delimiter = ',')]
    pub(crate) storage_servers: Vec<String>,

    #[command(flatten)]
    pub(crate) storage_transport: TransportOptions,

    /// A file with the key that access keys of S3 are derived with, 32 bytes or more; without it, tokens are none
    #[arg(long)]
    pub(crate) signing_key_file: Option<PathBuf>,

    /// The host of the platform itself, which no tenant's Route may have
    #[arg(long, env = "EDDY_PLATFORM_HOST")]
    pub(crate) platform_host: Option<String>,

    /// A port of the gateway's that TCP or UDP Routes may have, as tcp/5432 or udp/5353; may be given several times, or several with commas between
    #[arg(long = "gateway-port", value_delimiter = ',')]
    pub(crate) gateway_ports: Vec<Port>,

    /// Whether Gateways and Routes of the Gateway API are acted on
    #[arg(long)]
    pub(crate) gateway_api: bool,

    /// The type of the Services that have the addresses of Gateways: LoadBalancer, or ClusterIP where they are for the cluster only
    #[arg(long, default_value = "LoadBalancer", value_parser = ["LoadBalancer", "ClusterIP"])]
    pub(crate) gateway_service_type: String,

    /// Domains of labels and annotations, as in metallb.io, that Gateways may give the Services with their addresses, separated by commas; beside
    /// those of no domain none are
    #[arg(long, value_delimiter = ',')]
    pub(crate) gateway_infrastructure_domains: Vec<String>,

    #[command(flatten)]
    pub(crate) domains: DomainOptions,

    /// Seconds that reconciliations under way may take after the request to end.
    #[arg(long, default_value_t = 10)]
    pub(crate) shutdown_deadline_seconds: u64,

    #[command(flatten)]
    pub(crate) telemetry: TelemetryOptions,
}

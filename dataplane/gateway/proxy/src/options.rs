//! What the gateway is told on its command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use eddy_authz::feed::FeedOptions;

use eddy_router::{AddressFilter, NetworkError, Port, parse_network};

use crate::platform::PlatformOptions;

/// Options of the gateway.
#[derive(clap::Args, Clone, Debug)]
pub struct GatewayOptions {
    /// Where clients connect, for plain HTTP.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// Where clients connect by TLS; nowhere if not given.
    #[arg(long, requires = "tls_folder")]
    pub listen_tls: Option<SocketAddr>,

    /// A folder with tls.crt and tls.key, as a Secret is mounted: the certificate of hosts that have none of their own. They are read again
    /// when they change.
    #[arg(long)]
    pub tls_folder: Option<PathBuf>,

    /// A port that TCP or UDP Routes may have, as tcp/5432 or udp/5353, at the address of --listen; may be given several times, or several with
    /// commas between them.
    #[arg(long = "port", value_delimiter = ',')]
    pub ports: Vec<Port>,

    /// The port that clients reach --listen-tls by, where redirects lead to.
    #[arg(long, default_value_t = 443, value_parser = clap::value_parser!(u16).range(1..))]
    pub tls_public_port: u16,

    /// Whether Gateways and Routes of the Gateway API are served as well. Ports of --listen's address are opened for them, 20000 to 29999.
    #[arg(long)]
    pub gateway_api: bool,

    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, default_value = "0.0.0.0:9090")]
    pub admin_address: SocketAddr,

    /// Proxy threads; as many as processors if unset.
    #[arg(long, env = "EDDY_GATEWAY_THREADS")]
    pub threads: Option<usize>,

    /// Networks of proxies that are believed whom they ask for (X-Forwarded-For, X-Forwarded-Proto), separated by commas.
    #[arg(long, env = "EDDY_GATEWAY_TRUSTED_PROXIES", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<String>,

    /// Networks of balancers that begin each connection with whom it is from (PROXY protocol, version 2), separated by commas. Whoever connects
    /// from there without is cut off.
    #[arg(long, env = "EDDY_GATEWAY_PROXY_PROTOCOL_FROM", value_delimiter = ',', value_parser = network)]
    pub proxy_protocol_from: Vec<String>,

    /// Connections from clients that may be open at once, over all threads. More wait in the kernel.
    #[arg(long, default_value_t = 16_384)]
    pub max_connections: usize,

    /// Seconds that a client of HTTP/1 may take from the first byte of a request to the end of its head.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub request_head_seconds: u64,

    /// A file that keeps the last good snapshot over a restart, for when the API server is away then.
    #[arg(long)]
    pub state_file: Option<PathBuf>,

    /// Routes and endpoints from this file, in the form of --state-file, instead of from Kubernetes.
    #[arg(long, conflicts_with = "state_file")]
    pub static_file: Option<PathBuf>,

    /// With permissions, Routes may require scopes
    #[command(flatten)]
    pub permissions: FeedOptions,

    /// The platform's own host
    #[command(flatten)]
    pub platform: PlatformOptions,

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

fn network(text: &str) -> Result<String, NetworkError> {
    parse_network(text).map(|network| network.to_string())
}

/// Those of some networks, if there are any.
pub(crate) fn only(networks: &[String]) -> Result<Option<std::sync::Arc<AddressFilter>>, NetworkError> {
    if networks.is_empty() {
        return Ok(None);
    }
    AddressFilter::new(networks, &[]).map(std::sync::Arc::new).map(Some)
}

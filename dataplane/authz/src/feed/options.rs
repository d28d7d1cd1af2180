//! How NATS is reached, and what is kept of permissions.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, ServerAddr};
use eddy_telemetry::prometheus::registry::Registry;
use zeroize::Zeroizing;

use super::{Ages, Feed};

/// Between tries to connect. The client's own goes up to 4 s, in which what was taken back would still count.
const CONNECT_PAUSE_MAX: Duration = Duration::from_millis(500);
/// A server that does not answer within this is not there: the address of a pod that has gone refuses nothing, it is silent.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Between questions whether the server is there still. After three without an answer another is connected to.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Who may what, as a process is told to follow it.
#[derive(clap::Args, Clone, Debug)]
pub struct FeedOptions {
    /// A file for what is known of permissions, for when this starts anew while NATS is away; with it, tokens are taken
    #[arg(long, requires = "nats_servers")]
    pub permissions_file: Option<PathBuf>,

    /// Seconds that permissions may be old for changing anything
    #[arg(long, default_value_t = Ages::default().writes_max.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    pub writes_age_seconds_max: u64,

    /// Seconds that permissions may be old for reading what is not public
    #[arg(long, default_value_t = Ages::default().reads_max.as_secs(), value_parser = clap::value_parser!(u64).range(1..))]
    pub reads_age_seconds_max: u64,

    /// How NATS is reached
    #[command(flatten)]
    pub nats: NatsOptions,
}

impl FeedOptions {
    /// The feed, with its figures in the registry; none where no file was given. `name` is who this is to whoever looks after NATS.
    ///
    /// # Errors
    /// See [`NatsError`].
    pub async fn open(&self, name: &str, registry: &mut Registry) -> Result<Option<Feed>, NatsError> {
        let Some(file) = &self.permissions_file else { return Ok(None) };
        let ages = Ages {
            writes_max: Duration::from_secs(self.writes_age_seconds_max),
            reads_max: Duration::from_secs(self.reads_age_seconds_max),
        };
        let feed = Feed::open(self.nats.connect(name).await?, file.clone(), ages);
        feed.register(registry);
        Ok(Some(feed))
    }
}

/// How NATS is reached.
#[derive(clap::Args, Clone, Debug)]
pub struct NatsOptions {
    /// tls://host:port of every server of NATS, separated by commas
    #[arg(long, env = "EDDY_NATS_SERVERS", value_delimiter = ',')]
    pub nats_servers: Vec<String>,

    /// Who this process is to NATS
    #[arg(long, env = "EDDY_NATS_USER", default_value = "")]
    pub nats_user: String,

    /// A file with the password
    #[arg(long, env = "EDDY_NATS_PASSWORD_FILE")]
    pub nats_password_file: Option<PathBuf>,

    /// A file with the certificate of whoever vouches for NATS' own; those of the system if not given
    #[arg(long, env = "EDDY_NATS_CA_FILE")]
    pub nats_ca_file: Option<PathBuf>,
}

/// Why NATS cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The password cannot be read.
    #[error("failed to read the password of NATS from {file}")]
    Password {
        /// Where.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An address is none.
    #[error("{server:?} is no address of NATS, as tls://nats.example:4222 is")]
    Server {
        /// What was given.
        server: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is no address, or a file is not what it should be.
    #[error("failed to prepare for NATS: check --nats-servers and --nats-ca-file")]
    Connect(#[from] async_nats::ConnectError),
}

impl NatsOptions {
    /// A client that goes on trying to connect, now and whenever it lost its connection.
    ///
    /// # Errors
    /// That something that was given is not what it should be.
    pub async fn connect(&self, name: &str) -> Result<Client, NatsError> {
        let mut options = ConnectOptions::new()
            .name(name)
            .retry_on_initial_connect()
            .connection_timeout(CONNECT_WITHIN)
            .ping_interval(PING_EVERY)
            .reconnect_delay_callback(pause);
        if let Some(file) = &self.nats_password_file {
            let read = std::fs::read_to_string(file).map(Zeroizing::new);
            let password = read.map_err(|source| NatsError::Password { file: file.clone(), source })?;
            options = options.user_and_password(self.nats_user.clone(), password.trim().to_owned());
        }
        if let Some(file) = &self.nats_ca_file {
            options = options.add_root_certificates(file.clone()).require_tls(true);
        }
        let servers = self
            .nats_servers
            .iter()
            .map(|server| server.parse().map_err(|source| NatsError::Server { server: server.clone(), source }));
        let servers = servers.collect::<Result<Vec<ServerAddr>, _>>()?;
        Ok(options.connect(servers).await?)
    }
}

/// Before a try to connect that is the so many-th since there was a connection.
fn pause(tries: usize) -> Duration {
    let doublings = u32::try_from(tries).unwrap_or(u32::MAX).saturating_sub(1);
    let grown = Duration::from_millis(2_u64.saturating_pow(doublings.min(16)));
    if tries <= 1 { Duration::ZERO } else { grown.min(CONNECT_PAUSE_MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_try_is_at_once_and_no_pause_is_long() {
        assert_eq!((pause(0), pause(1), pause(2)), (Duration::ZERO, Duration::ZERO, Duration::from_millis(2)));
        assert_eq!((pause(40), pause(usize::MAX)), (CONNECT_PAUSE_MAX, CONNECT_PAUSE_MAX));
    }
}

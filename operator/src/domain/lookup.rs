//! TXT records, asked for anew each time.

use std::net::SocketAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

/// Of one name, so many are looked at.
const RECORDS_MAX: usize = 100;

/// Names that lead to others lead no further.
const CNAMES_MAX: usize = 8;

/// Why records are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error("failed to set up how DNS is asked")]
    Setup(#[source] Box<NetError>),
    #[error("failed to ask DNS for the records of {name}: {source}")]
    Ask { name: String, source: Box<NetError> },
}

/// Asks DNS.
pub(crate) struct Lookup(TokioResolver);

impl Lookup {
    /// One that asks these servers, or the ones of this machine if there are none.
    ///
    /// # Errors
    /// That these are not known.
    pub(crate) fn new(servers: &[SocketAddr]) -> Result<Self, LookupError> {
        let setup = |source| LookupError::Setup(Box::new(source));
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(setup)?
        } else {
            let servers = servers.iter().map(|address| server(*address)).collect();
            TokioResolver::builder_with_config(ResolverConfig::from_name_servers(servers), TokioRuntimeProvider::default())
        };
        // Whoever has just put a record there is not to wait for what was remembered of its absence.
        builder.options_mut().cache_size = 0;
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        builder.build().map(Self).map_err(setup)
    }

    /// The name that a name leads to by CNAME records, if that is in one of these zones, or else the name itself (RFC 8555, section 8.4:
    /// authorities follow them, so that a zone that nobody writes to can lead to one that somebody does). To any other it is not followed:
    /// whose records are written would be for whoever has the first zone to choose.
    ///
    /// # Errors
    /// That nobody says.
    pub(crate) async fn canonical(&self, first: &str, zones: &[String]) -> Result<String, LookupError> {
        if zones.is_empty() {
            return Ok(first.to_owned());
        }
        let mut name = first.to_owned();
        for _ in 0..CNAMES_MAX {
            let found = match self.0.lookup(format!("{name}."), RecordType::CNAME).await {
                Ok(found) => found,
                Err(error) if error.is_no_records_found() || error.is_nx_domain() => break,
                Err(source) => return Err(LookupError::Ask { name, source: Box::new(source) }),
            };
            let next = found.answers().iter().find_map(|record| match &record.data {
                RData::CNAME(to) => Some(to.0.to_ascii().trim_end_matches('.').to_owned()),
                _ => None,
            });
            match next {
                Some(next) => name = next,
                None => break,
            }
        }
        Ok(if zones.iter().any(|zone| is_in(&name, zone)) { name } else { first.to_owned() })
    }

    /// The TXT records of a name; none where there are none, or no such name.
    ///
    /// # Errors
    /// That nobody says.
    pub(crate) async fn txt(&self, name: &str) -> Result<Vec<String>, LookupError> {
        // With the dot, no search domains are tried.
        match self.0.txt_lookup(format!("{name}.")).await {
            Ok(found) => {
                let records = found.answers().iter().filter_map(|record| match &record.data {
                    RData::TXT(text) => Some(text.txt_data.concat()),
                    _ => None,
                });
                Ok(records.take(RECORDS_MAX).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect())
            }
            Err(error) if error.is_no_records_found() || error.is_nx_domain() => Ok(Vec::new()),
            Err(source) => Err(LookupError::Ask { name: name.to_owned(), source: Box::new(source) }),
        }
    }
}

/// Whether a name is a zone's, or below it.
fn is_in(name: &str, zone: &str) -> bool {
    let (name, zone) = (name.to_ascii_lowercase(), zone.trim_matches('.').to_ascii_lowercase());
    name == zone || name.strip_suffix(&zone).is_some_and(|rest| rest.ends_with('.'))
}

fn server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    server.connections.iter_mut().for_each(|connection| connection.port = address.port());
    server
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_a_zone_are_in_it() {
        assert!(is_in("x.acme.example", "acme.example.") && is_in("ACME.example", "acme.example"));
        assert!(!is_in("xacme.example", "acme.example") && !is_in("example", "acme.example"));
    }
}

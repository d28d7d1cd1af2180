//! Ports that connections and datagrams are passed on from, and which Route has each.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use eddy_crds::{RouteProtocol, RouteSpec};
use serde::{Deserialize, Serialize};

/// What comes at a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Transport {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

/// A port of the gateway's that Routes may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// What comes there.
    pub transport: Transport,
    /// Its number.
    pub number: u16,
}

/// It is written otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no port, as tcp/5432 or udp/5353 is")]
pub struct PortError(String);

impl Port {
    /// The port of this number that connections come at.
    pub const fn tcp(number: u16) -> Self {
        Self { transport: Transport::Tcp, number }
    }

    /// The port of this number that datagrams come at.
    pub const fn udp(number: u16) -> Self {
        Self { transport: Transport::Udp, number }
    }

    /// The port that a Route wants, if it is one for a port.
    pub fn of(spec: &RouteSpec) -> Option<Self> {
        let transport = match spec.protocol {
            RouteProtocol::TCP => Transport::Tcp,
            RouteProtocol::UDP => Transport::Udp,
            RouteProtocol::HTTP | RouteProtocol::GRPC | RouteProtocol::WebSocket | RouteProtocol::TLS | RouteProtocol::SSH => {
                return None;
            }
        };
        let number = spec.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
        Some(Self { transport, number })
    }
}

impl FromStr for Port {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let error = || PortError(text.to_owned());
        let (transport, number) = text.split_once('/').ok_or_else(error)?;
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return Err(error()),
        };
        let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(error)?;
        Ok(Self { transport, number })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(formatter, "{transport}/{}", self.number)
    }
}

/// Which Route has which port: of those that want one, the oldest.
#[derive(Clone, Debug, Default)]
pub struct PortClaims(HashMap<Port, (String, String)>);

impl PortClaims {
    /// A Route wants a port, by its namespace and name, unless one before it did: they come from the oldest on.
    pub fn want(&mut self, port: Port, namespace: &str, name: &str) {
        self.0.entry(port).or_insert_with(|| (namespace.to_owned(), name.to_owned()));
    }

    /// Whether a port is this Route's.
    pub fn is_of(&self, port: Port, namespace: &str, name: &str) -> bool {
        self.0.get(&port).is_some_and(|holder| holder.0 == namespace && holder.1 == name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_written_with_what_comes_there() {
        for text in ["tcp/5432", "udp/53"] {
            assert_eq!(text.parse::<Port>().unwrap().to_string(), text);
        }
        for wrong in ["", "5432", "tcp/", "tcp/0", "tcp/70000", "sctp/1", "TCP/1", "tcp/1/2"] {
            assert!(wrong.parse::<Port>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_oldest_has_it_and_tcp_is_not_udp() {
        let spec = |fields| serde_json::from_value::<RouteSpec>(fields).unwrap();
        let tcp = Port::of(&spec(serde_json::json!({"protocol": "TCP", "port": 53, "backends": []}))).unwrap();
        let udp = Port::of(&spec(serde_json::json!({"protocol": "UDP", "port": 53, "backends": []}))).unwrap();
        assert_eq!(Port::of(&spec(serde_json::json!({"hosts": ["h"], "port": 53}))), None);
        let mut claims = PortClaims::default();
        claims.want(tcp, "u-ada", "a");
        claims.want(tcp, "u-bob", "b");
        claims.want(udp, "u-bob", "c");
        assert!(claims.is_of(tcp, "u-ada", "a") && !claims.is_of(tcp, "u-bob", "b") && claims.is_of(udp, "u-bob", "c"));
    }
}

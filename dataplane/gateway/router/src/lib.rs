//! Routing without I/O: which tenant a host belongs to, and which rule answers a request.
//!
//! The gateway serves from a [`Table`]; the operator tells users who holds a host. Both decide by the
//! same functions of this crate, so a status never says other than what is served.

mod addresses;
mod claims;
mod compression;
mod cors;
mod host;
mod hosts;
mod matching;
mod path;
mod ports;
mod rewrite;
mod route;
mod share;
mod support;
mod table;
mod weights;

pub use self::addresses::{AddressFilter, NetworkError, parse_network};
pub use self::claims::{Claimant, Claims, Ground};
pub use self::compression::{compressed, shrinks, takes_gzip, varying};
pub use self::cors::{Answer, Cors};
pub use self::host::{HostError, normalize_host};
pub use self::hosts::{ANY_HOST, HostMap};
pub use self::matching::{Asked, Conditions, Match, PathRule, Pattern, PatternError, Text};
pub use self::path::{PathError, check_path};
pub use self::ports::{Port, PortClaims, PortError, Transport};
pub use self::rewrite::{Came, PathEdit, Redirect};
pub use self::route::{Filters, HeaderEdits, RateRule, RouteError, check_passing, matches};
pub use self::share::Share;
pub use self::support::unsupported;
pub use self::table::{Rule, RuleError, Table};
pub use self::weights::Weights;

//! What a Route says, compiled: which requests it is for, and what becomes of them.

use std::str::FromStr;
use std::sync::Arc;

use eddy_crds::{FieldMatch, FieldMatchType, PathMatch, PathMatchType, RateLimitKey, RouteSpec};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};

use crate::addresses::{AddressFilter, NetworkError};
use crate::cors::Cors;
use crate::matching::{Conditions, Match, PathRule, Pattern, PatternError, Text};
use crate::ports::Port;
use crate::rewrite::{PathEdit, Redirect};

/// Why a Route cannot be served as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// An expression is none.
    #[error("{field}: {source}")]
    Pattern {
        /// Where.
        field: &'static str,
        /// Why.
        source: PatternError,
    },
    /// A network is none.
    #[error("spec.ipFilter: {0}")]
    Network(#[from] NetworkError),
    /// What is passed on as it is shows nothing of requests.
    #[error(
        "a Route with this protocol passes on what comes as it is, and cannot do what {0} asks for: remove it, or choose another spec.protocol"
    )]
    Passing(&'static str),
    /// A header says how a message is framed, or where it goes.
    #[error(
        "{field}: {name} says how messages are framed, where they go or whom they are from, and cannot be changed; spec.rewrite.host changes the host"
    )]
    Framing {
        /// Where.
        field: &'static str,
        /// Which.
        name: HeaderName,
    },
    /// A name or a value can be in no header.
    #[error("{field}: {text:?} can be in no header")]
    Header {
        /// Where.
        field: &'static str,
        /// What.
        text: String,
    },
}

/// What becomes of a request besides being passed on.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// Who is let in; everyone if none.
    pub addresses: Option<Arc<AddressFilter>>,
    /// How much is let in; everything if none.
    pub rate: Option<RateRule>,
    /// The largest body, in bytes; any if none.
    pub body_bytes_max: Option<u64>,
    /// Pages of other hosts that may ask; what the backend says of it if none.
    pub cors: Option<Arc<Cors>>,
    /// Whether answers are compressed where their clients take it.
    pub compress: bool,
    /// Where clients are sent to instead.
    pub redirect: Option<Redirect>,
    /// The host that the backend sees; that of the client if none.
    pub host: Option<HeaderValue>,
    /// What becomes of the path.
    pub path: Option<PathEdit>,
    /// What changes of the headers that the backend sees.
    pub request_headers: HeaderEdits,
    /// What changes of the headers that the client sees.
    pub response_headers: HeaderEdits,
}

/// How many requests are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateRule {
    /// A second, over time.
    pub per_second: u32,
    /// At once, after a quiet time.
    pub burst: u32,
    /// Who shares one allowance.
    pub per: RateLimitKey,
}

/// What changes of some headers: first what is removed, then what is set, then what is added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Those that are not there.
    pub remove: Vec<HeaderName>,
    /// Those that have this value and no other.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Those that have this value as well.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// Headers by which both sides know where a message ends and whom it is for (RFC 9110, sections 7.2 and 7.6.1). Whoever changed them could make
/// one message into two.
const FRAMING: [&str; 12] = [
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    // Whom a request was let in as.
    "x-eddy-user",
];

impl HeaderEdits {
    fn of(field: &'static str, spec: Option<&eddy_crds::HeaderEdits>) -> Result<Self, RouteError> {
        let Some(spec) = spec else { return Ok(Self::default()) };
        let name = |name: &str| match read::<HeaderName>(field, name)? {
            name if FRAMING.contains(&name.as_str()) => Err(RouteError::Framing { field, name }),
            name => Ok(name),
        };
        let pair = |header: &eddy_crds::HeaderValue| {
            name(&header.name).and_then(|name| Ok::<_, RouteError>((name, read(field, &header.value)?)))
        };
        Ok(Self {
            remove: spec.remove.iter().map(|removed| name(removed)).collect::<Result<_, _>>()?,
            set: spec.set.iter().map(pair).collect::<Result<_, _>>()?,
            add: spec.add.iter().map(pair).collect::<Result<_, _>>()?,
        })
    }
}

fn read<T: FromStr>(field: &'static str, text: &str) -> Result<T, RouteError> {
    text.parse().map_err(|_| RouteError::Header { field, text: text.to_owned() })
}

/// Whether all that a Route which passes on what comes (TLS, TCP, UDP) asks for can be done without looking into it.
///
/// # Errors
/// What cannot.
pub fn check_passing(spec: &RouteSpec) -> Result<(), RouteError> {
    let asks = [
        (!spec.methods.is_empty(), "spec.methods"),
        (!spec.headers.is_empty(), "spec.headers"),
        (!spec.queries.is_empty(), "spec.queries"),
        (!spec.paths.is_empty(), "spec.paths"),
        (spec.strip_prefix, "spec.stripPrefix"),
        (spec.rewrite.is_some(), "spec.rewrite"),
        (spec.redirect.is_some(), "spec.redirect"),
        (spec.request_headers.is_some(), "spec.requestHeaders"),
        (spec.response_headers.is_some(), "spec.responseHeaders"),
        (spec.cors.is_some(), "spec.cors"),
        (spec.compress, "spec.compress"),
        (spec.request_body_mebibytes_max.is_some(), "spec.requestBodyMebibytesMax"),
        (!spec.mirrors.is_empty(), "spec.mirrors"),
        (!spec.required_scopes.is_empty(), "spec.requiredScopes"),
        (spec.rate_limit.is_some(), "spec.rateLimit"),
        (spec.timeouts.request_seconds.is_some(), "spec.timeouts.requestSeconds"),
        (spec.tls.is_some(), "spec.tls"),
        // Whoever comes to a port names no host.
        (Port::of(spec).is_some() && !spec.hosts.is_empty(), "spec.hosts"),
    ];
    asks.into_iter().find(|(asks, _)| *asks).map_or(Ok(()), |(_, field)| Err(RouteError::Passing(field)))
}

/// Which requests a Route is for: any of these.
///
/// # Errors
/// See [`RouteError`].
pub fn matches(spec: &RouteSpec) -> Result<Vec<Match>, RouteError> {
    let pattern = |field, text: &str| Pattern::new(text).map_err(|source| RouteError::Pattern { field, source });
    let text = |field, one: &FieldMatch| match one.kind() {
        FieldMatchType::Exact => Ok(Text::Exact(one.value.clone())),
        FieldMatchType::Regex => pattern(field, &one.value).map(Text::Regex),
    };
    let header = |one: &FieldMatch| Ok((read("spec.headers", &one.name)?, text("spec.headers", one)?));
    let query = |one: &FieldMatch| Ok((one.name.clone(), text("spec.queries", one)?));
    let headers = spec.headers.iter().map(header).collect::<Result<Vec<_>, RouteError>>()?;
    let queries = spec.queries.iter().map(query).collect::<Result<Vec<_>, RouteError>>()?;
    let path = |one: &PathMatch| match one.kind() {
        PathMatchType::Exact => Ok(PathRule::Exact(one.path.clone())),
        PathMatchType::Prefix => Ok(PathRule::Prefix(one.path.clone())),
        PathMatchType::Regex => pattern("spec.paths", &one.path).map(PathRule::Regex),
    };
    let mut paths = spec.paths.iter().map(path).collect::<Result<Vec<_>, _>>()?;
    if paths.is_empty() {
        paths.push(PathRule::Prefix("/".to_owned()));
    }
    let methods = spec.methods.iter().map(|method| read("spec.methods", method.as_str()).map(Some));
    let mut methods = methods.collect::<Result<Vec<Option<Method>>, _>>()?;
    if methods.is_empty() {
        methods.push(None);
    }
    let with_methods = |path: PathRule| {
        let (headers, queries) = (&headers, &queries);
        methods.iter().map(move |method| Match {
            path: path.clone(),
            conditions: Conditions { method: method.clone(), headers: headers.clone(), queries: queries.clone() },
        })
    };
    Ok(paths.into_iter().flat_map(with_methods).collect())
}

impl Filters {
    /// What a Route wants to become of its requests.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub fn of(spec: &RouteSpec) -> Result<Self, RouteError> {
        let addresses = spec.ip_filter.as_ref().map(|filter| AddressFilter::new(&filter.allow, &filter.deny)).transpose()?;
        let rate = spec.rate_limit.as_ref().map(|limit| RateRule {
            per_second: count(limit.requests_per_second),
            burst: count(limit.burst.unwrap_or(limit.requests_per_second)),
            per: limit.per,
        });
        let cors = spec.cors.as_ref().map(Cors::of).transpose();
        let cors = cors.map_err(|text| RouteError::Header { field: "spec.cors", text })?;
        let redirect_path = edit("spec.redirect.path", spec.redirect.as_ref().and_then(|redirect| redirect.path.as_ref()))?;
        let redirect = spec.redirect.as_ref().map(|redirect| Redirect {
            scheme: redirect.scheme.map(|scheme| scheme.as_str().to_owned()),
            host: redirect.host.clone(),
            port: redirect.port.and_then(|port| u16::try_from(port).ok()),
            path: redirect_path,
            status: u16::try_from(redirect.status).unwrap_or_default(),
        });
        let rewrite = spec.rewrite.as_ref();
        let stripped = spec.strip_prefix.then(|| PathEdit::Prefix(String::new()));
        Ok(Self {
            addresses: addresses.map(Arc::new),
            rate,
            body_bytes_max: spec.request_body_mebibytes_max.map(|mebibytes| u64::from(count(mebibytes)) << 20),
            cors: cors.map(Arc::new),
            compress: spec.compress,
            redirect,
            host: rewrite.and_then(|rewrite| rewrite.host.as_deref()).map(|host| read("spec.rewrite.host", host)).transpose()?,
            path: edit("spec.rewrite.path", rewrite.and_then(|rewrite| rewrite.path.as_ref()))?.or(stripped),
            request_headers: HeaderEdits::of("spec.requestHeaders", spec.request_headers.as_ref())?,
            response_headers: HeaderEdits::of("spec.responseHeaders", spec.response_headers.as_ref())?,
        })
    }
}

/// The schema has a least, above nothing.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0).max(1)
}

fn edit(field: &'static str, path: Option<&eddy_crds::PathEdit>) -> Result<Option<PathEdit>, RouteError> {
    let Some(path) = path else { return Ok(None) };
    let edit = path.full.clone().map(PathEdit::Full).or_else(|| path.prefix.clone().map(PathEdit::Prefix));
    if let Some(PathEdit::Full(path) | PathEdit::Prefix(path)) = &edit {
        read::<PathAndQuery>(field, path)?;
    }
    Ok(edit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(fields: Value) -> RouteSpec {
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn any_path_with_any_method_is_a_match_and_everything_else_must_hold_too() {
        let all = matches(&spec(json!({
            "hosts": ["h"], "paths": [{"path": "/a"}, {"path": "/b", "type": "Exact"}, {"path": "/c.*", "type": "Regex"}],
            "methods": ["GET", "POST"], "headers": [{"name": "X-A", "value": "1"}],
        })));
        let all = all.unwrap();
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|one| one.conditions.headers.len() == 1 && one.conditions.method.is_some()));
        let everything = matches(&spec(json!({"hosts": ["h"]}))).unwrap();
        assert!(matches!(&everything[..], [Match { path: PathRule::Prefix(path), .. }] if path == "/"));
    }

    #[test]
    fn what_cannot_be_compiled_is_said_with_its_field() {
        let said = |fields: Value| {
            let spec = spec(fields);
            matches(&spec).err().or_else(|| Filters::of(&spec).err()).map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(said(json!({"paths": [{"path": "(", "type": "Regex"}]})).starts_with("spec.paths: \"(\""));
        assert!(said(json!({"queries": [{"name": "a", "value": "(", "type": "Regex"}]})).starts_with("spec.queries: "));
        assert!(said(json!({"headers": [{"name": "a b", "value": "1"}]})).starts_with("spec.headers: \"a b\""));
        assert!(said(json!({"ipFilter": {"allow": ["x"]}})).starts_with("spec.ipFilter: \"x\""));
        let edits = json!({"set": [{"name": "a", "value": "1\r\nb: 2"}]});
        assert!(said(json!({"responseHeaders": edits})).starts_with("spec.responseHeaders: "));
        assert!(
            said(json!({"requestHeaders": {"remove": ["Content-Length"]}})).starts_with("spec.requestHeaders: content-length")
        );
        assert!(said(json!({"requestHeaders": {"set": [{"name": "host", "value": "a"}]}})).contains("spec.rewrite.host"));
        assert!(said(json!({"rewrite": {"path": {"full": "/a<b"}}})).starts_with("spec.rewrite.path: "));
        assert!(said(json!({"cors": {"allowHeaders": ["a\n"]}})).starts_with("spec.cors: "));
        assert_eq!(said(json!({"paths": [{"path": "(", "type": "Exact"}]})), "");
    }

    #[test]
    fn what_is_passed_on_is_not_looked_into() {
        let said = |fields: Value| check_passing(&spec(fields)).map_err(|error| error.to_string());
        assert_eq!(said(json!({"hosts": ["h"], "ipFilter": {"allow": ["10.0.0.0/8"]}, "retries": {"attempts": 1}})), Ok(()));
        for (field, value) in [
            ("requiredScopes", json!([{"scope": "networking.ada.routes", "actions": ["open"]}])),
            ("rateLimit", json!({"requestsPerSecond": 1})),
            ("methods", json!(["GET"])),
            ("tls", json!({})),
        ] {
            let text = said(json!({ field: value })).unwrap_err();
            assert!(text.contains(&format!("what spec.{field} asks for")), "{text}");
        }
        assert_eq!(said(json!({"protocol": "TCP", "port": 5432})), Ok(()));
        assert!(said(json!({"protocol": "UDP", "port": 53, "hosts": ["h"]})).unwrap_err().contains("spec.hosts"));
    }

    #[test]
    fn a_prefix_that_is_stripped_is_replaced_by_nothing() {
        let filters = Filters::of(&spec(json!({"stripPrefix": true}))).unwrap();
        assert_eq!(filters.path, Some(PathEdit::Prefix(String::new())));
        let rewritten = spec(json!({"rewrite": {"host": "b", "path": {"full": "/x"}}, "requestBodyMebibytesMax": 2}));
        let filters = Filters::of(&rewritten).unwrap();
        assert_eq!((filters.path, filters.body_bytes_max), (Some(PathEdit::Full("/x".into())), Some(2 << 20)));
    }
}

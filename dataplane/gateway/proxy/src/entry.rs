//! How one Route's requests are answered.

use std::time::Duration;

use eddy_crds::{RouteProtocol, RouteSpec};
use eddy_router::{Filters, Share, Transport};

use crate::admission::Requirement;
use crate::balance::Backends;
use crate::endpoints::{PortKey, Registry, ServicePort};
use crate::inputs::{Place, RouteInput};
use crate::mirror::Mirror;

/// How one Route's requests are answered, or connections passed on.
#[derive(Debug)]
pub(crate) struct RouteEntry {
    /// Namespace and name, for logs.
    pub(crate) id: Box<str>,
    /// What it was made of, as a number; of Routes for a port only.
    pub(crate) fingerprint: u64,
    /// It asks for what cannot be done: whoever asks is refused, rather than answered by another Route that knows nothing of it.
    pub(crate) is_broken: bool,
    /// Whoever comes without TLS is sent to the same URL with it.
    pub(crate) is_tls_only: bool,
    /// What its clients speak.
    pub(crate) protocol: RouteProtocol,
    pub(crate) backends: Backends,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) retries: u32,
    /// The prefix of the path that was matched, if one was.
    pub(crate) matched: Option<Box<str>>,
    pub(crate) filters: Filters,
    /// Who sees copies of requests.
    pub(crate) mirrors: Vec<Mirror>,
    /// For a request, all tries together.
    pub(crate) request_timeout: Option<Duration>,
    /// For one try.
    pub(crate) try_timeout: Option<Duration>,
    /// HTTP/1.1 without TLS is spoken with all its backends.
    pub(crate) is_direct: bool,
    /// What whoever asks must hold.
    pub(crate) requirement: Requirement,
}

impl RouteEntry {
    /// Whether it is of the same Route, which says the same: snapshots are made anew for each change of any.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.fingerprint == other.fingerprint
    }
}

/// What becomes of a Route's requests. `matched` is the prefix of the path by which they are its, if one is.
pub(crate) fn entry(
    route: &RouteInput,
    matched: Option<Box<str>>,
    filters: Filters,
    requirement: Requirement,
    registry: &mut Registry,
) -> RouteEntry {
    let spec = &route.spec;
    let transport = if spec.protocol == RouteProtocol::UDP { Transport::Udp } else { Transport::Tcp };
    let backends: Vec<_> = spec
        .backends
        .iter()
        .filter_map(|backend| {
            let service = Place { namespace: route.place.namespace.clone(), name: backend.container.clone()? };
            let port = PortKey::Number(u16::try_from(backend.port).ok()?);
            Some((backend.weight(), registry.endpoints(&ServicePort { service, transport, port })))
        })
        .collect();
    let mirrors = spec.mirrors.iter().filter_map(|mirror| {
        let service = Place { namespace: route.place.namespace.clone(), name: mirror.container.clone() };
        let port = PortKey::Number(u16::try_from(mirror.port).ok()?);
        let share = Share::new(u32::try_from(mirror.percent).ok()?, 100);
        Some(Mirror { backends: Backends::new(vec![(1, registry.endpoints(&ServicePort { service, transport, port }))]), share })
    });
    RouteEntry {
        id: route.place.to_string().into(),
        fingerprint: 0,
        is_broken: false,
        is_tls_only: spec.tls.as_ref().is_some_and(|tls| tls.redirect_http),
        protocol: spec.protocol,
        backends: Backends::new(backends),
        connect_timeout: seconds(spec.timeouts.connect_seconds),
        idle_timeout: seconds(spec.timeouts.idle_seconds),
        retries: u32::try_from(spec.retries.attempts).unwrap_or(0),
        matched,
        filters,
        mirrors: mirrors.collect(),
        request_timeout: spec.timeouts.request_seconds.map(seconds),
        try_timeout: None,
        is_direct: spec.protocol != RouteProtocol::GRPC,
        requirement,
    }
}

/// What no request is for.
pub(crate) fn nobodys(registry: &mut Registry) -> RouteEntry {
    let place = Place { namespace: String::new(), name: String::new() };
    let route = RouteInput { place, created: 0, spec: RouteSpec::default() };
    entry(&route, None, Filters::default(), Requirement::default(), registry)
}

fn seconds(number: i32) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

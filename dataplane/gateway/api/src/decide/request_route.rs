//! Routes of each kind in the same words.

use std::borrow::Cow;

use eddy_router::Transport;
use jiff::Timestamp;
use kube::ResourceExt;

use super::World;
use crate::place::{Place, place_of};
use crate::types::{
    GrpcMethodMatch, GrpcRouteMatch, GrpcRouteRule, HttpPathMatch, HttpRouteMatch, HttpRouteRule, ParentReference,
    StreamRouteRule,
};

/// A kind of Route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteKind {
    /// HTTPRoute.
    Http,
    /// GRPCRoute.
    Grpc,
    /// TLSRoute.
    Tls,
    /// TCPRoute.
    Tcp,
    /// UDPRoute.
    Udp,
}

impl RouteKind {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
            Self::Tls => "TLSRoute",
            Self::Tcp => "TCPRoute",
            Self::Udp => "UDPRoute",
        }
    }

    /// What is passed on by it.
    pub(super) const fn transport(self) -> Transport {
        match self {
            Self::Http | Self::Grpc | Self::Tls | Self::Tcp => Transport::Tcp,
            Self::Udp => Transport::Udp,
        }
    }
}

/// A Route.
pub(super) struct RequestRoute<'a> {
    pub(super) kind: RouteKind,
    pub(super) place: Place,
    created: Option<Timestamp>,
    pub(super) parents: &'a [ParentReference],
    pub(super) hostnames: &'a [String],
    pub(super) rules: Cow<'a, [HttpRouteRule]>,
}

impl<'a> RequestRoute<'a> {
    /// All of all kinds, the oldest first, as the Gateway API orders those that ask for the same.
    pub(super) fn all(world: &World<'a>) -> Vec<Self> {
        let http = world.http_routes.iter().map(|route| {
            let rules = Cow::Borrowed(route.spec.rules.as_slice());
            Self::of(RouteKind::Http, *route, &route.spec.parent_refs, &route.spec.hostnames, rules)
        });
        let grpc = world.grpc_routes.iter().map(|route| {
            let rules = Cow::Owned(route.spec.rules.iter().map(of_calls).collect());
            Self::of(RouteKind::Grpc, *route, &route.spec.parent_refs, &route.spec.hostnames, rules)
        });
        let tls = world.tls_routes.iter().map(|route| {
            Self::of_streams(RouteKind::Tls, *route, &route.spec.parent_refs, &route.spec.hostnames, &route.spec.rules)
        });
        let tcp = world
            .tcp_routes
            .iter()
            .map(|route| Self::of_streams(RouteKind::Tcp, *route, &route.spec.parent_refs, &[], &route.spec.rules));
        let udp = world
            .udp_routes
            .iter()
            .map(|route| Self::of_streams(RouteKind::Udp, *route, &route.spec.parent_refs, &[], &route.spec.rules));
        let mut all: Vec<Self> = http.chain(grpc).chain(tls).chain(tcp).chain(udp).collect();
        all.sort_by(|one, other| (one.created, &one.place, one.kind).cmp(&(other.created, &other.place, other.kind)));
        all
    }

    /// One by which what comes is passed on.
    fn of_streams(
        kind: RouteKind,
        route: &impl ResourceExt,
        parents: &'a [ParentReference],
        hostnames: &'a [String],
        rules: &[StreamRouteRule],
    ) -> Self {
        Self::of(kind, route, parents, hostnames, Cow::Owned(rules.iter().map(of_connections).collect()))
    }

    fn of(
        kind: RouteKind,
        route: &impl ResourceExt,
        parents: &'a [ParentReference],
        hostnames: &'a [String],
        rules: Cow<'a, [HttpRouteRule]>,
    ) -> Self {
        let created = route.creation_timestamp().map(|time| time.0);
        Self { kind, place: place_of(route), created, parents, hostnames, rules }
    }
}

/// A rule for calls as one for requests: a call's path is its service and its method (gRPC over HTTP/2, "Requests").
fn of_calls(rule: &GrpcRouteRule) -> HttpRouteRule {
    let one = |one: &GrpcRouteMatch| HttpRouteMatch {
        path: one.method.as_ref().map(path),
        headers: one.headers.clone(),
        ..HttpRouteMatch::default()
    };
    HttpRouteRule {
        matches: rule.matches.iter().map(one).collect(),
        filters: rule.filters.clone(),
        backend_refs: rule.backend_refs.clone(),
        timeouts: None,
    }
}

/// A rule for connections, of which nothing is looked into.
fn of_connections(rule: &StreamRouteRule) -> HttpRouteRule {
    HttpRouteRule { backend_refs: rule.backend_refs.clone(), ..HttpRouteRule::default() }
}

fn path(called: &GrpcMethodMatch) -> HttpPathMatch {
    let of = |kind: &str, value: String| HttpPathMatch { kind: Some(kind.to_owned()), value: Some(value) };
    let is_exact = called.kind.as_deref().unwrap_or("Exact") == "Exact";
    match (called.kind.as_deref(), &called.service, &called.method) {
        (Some(other), _, _) if other != "Exact" && other != "RegularExpression" => of(other, String::new()),
        (_, None, None) => of("PathPrefix", "/".to_owned()),
        (_, Some(service), None) if is_exact => of("PathPrefix", format!("/{service}")),
        (_, Some(service), Some(method)) if is_exact => of("Exact", format!("/{service}/{method}")),
        (_, None, Some(method)) if is_exact => of("RegularExpression", format!("/[^/]+/{}", escaped(method))),
        (_, service, method) => {
            let part = |part: &Option<String>| part.as_ref().map_or_else(|| "[^/]+".to_owned(), |part| format!("(?:{part})"));
            of("RegularExpression", format!("/{}/{}", part(service), part(method)))
        }
    }
}

/// Names of methods are letters, digits and underscores, of which none means anything in an expression; what is none is found by none.
fn escaped(method: &str) -> String {
    method
        .chars()
        .flat_map(|letter| (!letter.is_ascii_alphanumeric() && letter != '_').then_some('\\').into_iter().chain([letter]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_path() {
        let of = |kind: Option<&str>, service: Option<&str>, method: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let path = path(&GrpcMethodMatch { kind: owned(kind), service: owned(service), method: owned(method) });
            format!("{} {}", path.kind.unwrap_or_default(), path.value.unwrap_or_default())
        };
        assert_eq!(of(None, Some("a.B"), Some("Get")), "Exact /a.B/Get");
        assert_eq!(of(Some("Exact"), Some("a.B"), None), "PathPrefix /a.B");
        assert_eq!(of(None, None, Some("Get.")), "RegularExpression /[^/]+/Get\\.");
        assert_eq!(of(None, None, None), "PathPrefix /");
        assert_eq!(of(Some("RegularExpression"), Some("a|b"), None), "RegularExpression /(?:a|b)/[^/]+");
    }
}

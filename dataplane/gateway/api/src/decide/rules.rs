//! What a Route's rules become.

use std::time::Duration;

use eddy_router::{Conditions, Filters, HeaderEdits, Match, PathRule, Pattern, Share, Text};
use http::{HeaderName, Method};

use super::attach::ParentDecision;
use super::backends::{self, BackendPort};
use super::filters;
use super::grants::Grants;
use super::policies::Policies;
use super::request_route::{RequestRoute, RouteKind};
use super::{Problem, RouteDecision, World};
use crate::types::{
    HttpBackendRef, HttpRouteFilter, HttpRouteMatch, HttpRouteRule, HttpRouteTimeouts, NamedMatch, RequestMirror,
};

/// Each takes up to 64 KiB.
const EXPRESSIONS_MAX: usize = 64;
/// Each is in a table.
const ENTRIES_MAX: usize = 8192;

/// A rule for requests of HTTP.
#[derive(Clone, Debug)]
pub struct HttpRule {
    /// Which requests it is for.
    pub matches: Vec<Match>,
    /// What becomes of them; why nothing can, and they are refused.
    pub filters: Result<Filters, Problem>,
    /// To whom they are passed on.
    pub backends: Vec<Backend>,
    /// Who sees copies.
    pub mirrors: Vec<Mirrored>,
    /// How long one may take, all tries together.
    pub request_timeout: Option<Duration>,
    /// How long one try may take.
    pub try_timeout: Option<Duration>,
}

impl HttpRule {
    /// Whoever it leads to.
    pub(super) fn reached(&self) -> impl Iterator<Item = &BackendPort> {
        let backends = self.backends.iter().filter_map(|backend| backend.port.as_ref());
        backends.chain(self.mirrors.iter().map(|mirrored| &mirrored.backend))
    }
}

/// To whom requests are passed on.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its share.
    pub weight: u32,
    /// Who; none stands for one who is not there.
    pub port: Option<BackendPort>,
    /// What changes of the headers that it sees.
    pub request_headers: HeaderEdits,
    /// What changes of the headers of its answers.
    pub response_headers: HeaderEdits,
}

/// Who sees copies of requests.
#[derive(Clone, Debug)]
pub struct Mirrored {
    /// Who.
    pub backend: BackendPort,
    /// Of which share.
    pub share: Share,
}

/// What becomes of a Route that has these parents.
pub(super) fn decide(
    route: &RequestRoute<'_>,
    parents: Vec<ParentDecision>,
    known: (&Grants<'_>, &Policies),
    world: &World<'_>,
) -> RouteDecision {
    let (mut unresolved, mut wrong, mut problem) = (None, Vec::new(), too_large(route, &parents));
    let mut rules = Vec::with_capacity(route.rules.len());
    for rule in route.rules.iter().filter(|_| problem.is_none()) {
        let (matches, unknown) = matches(rule);
        let mut rule = one(rule, matches, (route.kind, &route.place.namespace), known, world, &mut unresolved);
        if let Some(unknown) = unknown {
            rule.filters = Err(unknown);
        }
        wrong.extend(rule.filters.as_ref().err().cloned());
        rules.push(rule);
    }
    // What is not known to be for a rule that is wrong is for no other of the same Route.
    let is_unknown = |rule: &HttpRule, written: &HttpRouteRule| rule.matches.len() < written.matches.len();
    let all_wrong = !wrong.is_empty() && wrong.len() == route.rules.len();
    let first = wrong.into_iter().next();
    let some_unknown = problem.is_some() || rules.iter().zip(route.rules.iter()).any(|(rule, written)| is_unknown(rule, written));
    if all_wrong || some_unknown {
        problem = problem.or(first.clone());
        for rule in &mut rules {
            rule.filters =
                rule.filters.clone().and_then(|_| Err(problem.clone().unwrap_or_else(|| Problem::new("UnsupportedValue", ""))));
        }
    }
    if let Some(problem) = problem.as_ref().filter(|_| some_unknown && !route.hostnames.is_empty()) {
        // What is for its hosts and for none of its rules falls to no wildcard above them: it may have been for it.
        rules.push(HttpRule {
            matches: vec![Match { path: PathRule::Prefix("/".to_owned()), conditions: Conditions::default() }],
            filters: Err(problem.clone()),
            backends: Vec::new(),
            mirrors: Vec::new(),
            request_timeout: None,
            try_timeout: None,
        });
    }
    let partly = first.filter(|_| problem.is_none());
    RouteDecision { kind: route.kind, route: route.place.clone(), parents, rules, problem, partly, unresolved }
}

/// Why a Route would take more than it may.
fn too_large(route: &RequestRoute<'_>, parents: &[ParentDecision]) -> Option<Problem> {
    let written = || route.rules.iter().flat_map(|rule| &rule.matches);
    let is_expression = |kind: &Option<String>| kind.as_deref() == Some("RegularExpression");
    let expressions = written().map(|one| {
        let named = one.headers.iter().chain(&one.query_params).filter(|named| is_expression(&named.kind)).count();
        named + usize::from(one.path.as_ref().is_some_and(|path| is_expression(&path.kind)))
    });
    if expressions.sum::<usize>() > EXPRESSIONS_MAX {
        return Some(Problem::new("UnsupportedValue", format!("a Route has {EXPRESSIONS_MAX} regular expressions at most")));
    }
    let hosts: usize = parents.iter().flat_map(|parent| &parent.at).map(|at| at.hosts.len()).sum();
    let matches: usize = route.rules.iter().map(|rule| rule.matches.len().max(1)).sum();
    let message = format!("a Route has {ENTRIES_MAX} matches at most, for each of its hosts at each of its listeners");
    (hosts * matches > ENTRIES_MAX).then(|| Problem::new("UnsupportedValue", message))
}

fn one(
    rule: &HttpRouteRule,
    matches: Vec<Match>,
    (kind, namespace): (RouteKind, &str),
    known: (&Grants<'_>, &Policies),
    world: &World<'_>,
    unresolved: &mut Option<Problem>,
) -> HttpRule {
    let mut find = |reference| match backends::find(reference, (kind, namespace), known, world) {
        Ok(backend) => Some(backend),
        Err(problem) => {
            unresolved.get_or_insert(problem);
            None
        }
    };
    let weight = |weight: Option<i32>| u32::try_from(weight.unwrap_or(1)).unwrap_or(0);
    let (mut mirrors, mut timeouts) = (Vec::new(), (None, None));
    let mut backends = Vec::with_capacity(rule.backend_refs.len());
    let mut wrong = None;
    for one in &rule.backend_refs {
        let (request_headers, response_headers) = of_backend(one).unwrap_or_else(|problem| {
            wrong.get_or_insert(problem);
            Default::default()
        });
        backends.push(Backend { weight: weight(one.weight), port: find(&one.backend), request_headers, response_headers });
    }
    let filters = filters::read(&rule.filters).and_then(|(spec, mirrored)| {
        if let Some(problem) = wrong {
            return Err(problem);
        }
        timeouts = rule.timeouts.as_ref().map(read_timeouts).transpose()?.unwrap_or_default();
        // Whoever sees copies only is not missed.
        mirrors = mirrored
            .into_iter()
            .filter_map(|one| Some(Mirrored { backend: find(&one.backend_ref)?, share: share(one) }))
            .collect();
        Filters::of(&spec).map_err(|error| Problem::new("UnsupportedValue", format!("filters: {error}")))
    });
    HttpRule { matches, filters, backends, mirrors, request_timeout: timeouts.0, try_timeout: timeouts.1 }
}

/// What changes of headers by a backend's own filters.
fn of_backend(backend: &HttpBackendRef) -> Result<(HeaderEdits, HeaderEdits), Problem> {
    let is_done = |filter: &&HttpRouteFilter| matches!(filter.kind.as_str(), "RequestHeaderModifier" | "ResponseHeaderModifier");
    if let Some(other) = backend.filters.iter().find(|filter| !is_done(filter)) {
        return Err(Problem::new("UnsupportedValue", format!("backendRefs: the filter {} is not done here", other.kind)));
    }
    let (spec, _) = filters::read(&backend.filters)?;
    let filters = Filters::of(&spec).map_err(|error| Problem::new("UnsupportedValue", format!("backendRefs: {error}")))?;
    Ok((filters.request_headers, filters.response_headers))
}

fn share(mirror: &RequestMirror) -> Share {
    let count = |number: i32| u32::try_from(number).unwrap_or(0);
    match (&mirror.fraction, mirror.percent) {
        (Some(fraction), _) => Share::new(count(fraction.numerator), count(fraction.denominator.unwrap_or(100))),
        (None, Some(percent)) => Share::new(count(percent), 100),
        (None, None) => Share::new(1, 1),
    }
}

/// Which requests a rule is for: any of these; and why some of them are not known.
fn matches(rule: &HttpRouteRule) -> (Vec<Match>, Option<Problem>) {
    if rule.matches.is_empty() {
        return (vec![Match { path: PathRule::Prefix("/".to_owned()), conditions: Conditions::default() }], None);
    }
    let (mut matches, mut problem) = (Vec::with_capacity(rule.matches.len()), None);
    for one in &rule.matches {
        match one_match(one) {
            Ok(one) => matches.push(one),
            Err(wrong) => drop(problem.get_or_insert(wrong)),
        }
    }
    (matches, problem)
}

fn one_match(one: &HttpRouteMatch) -> Result<Match, Problem> {
    let wrong =
        |field: &str, error: &dyn std::fmt::Display| Problem::new("UnsupportedValue", format!("matches.{field}: {error}"));
    let pattern = |field: &str, text: &str| Pattern::new(text).map_err(|error| wrong(field, &error));
    let path = one.path.clone().unwrap_or_default();
    let value = path.value.unwrap_or_else(|| "/".to_owned());
    let path = match path.kind.as_deref().unwrap_or("PathPrefix") {
        "Exact" => PathRule::Exact(value),
        "PathPrefix" => PathRule::Prefix(value),
        "RegularExpression" => PathRule::Regex(pattern("path", &value)?),
        other => return Err(wrong("path", &format!("{other} is not done here"))),
    };
    let text = |field: &str, named: &NamedMatch| match named.kind.as_deref().unwrap_or("Exact") {
        "Exact" => Ok(Text::Exact(named.value.clone())),
        "RegularExpression" => pattern(field, &named.value).map(Text::Regex),
        other => Err(wrong(field, &format!("{other} is not done here"))),
    };
    let mut headers: Vec<(HeaderName, Text)> = Vec::new();
    for named in &one.headers {
        let name: HeaderName = named.name.parse().map_err(|error| wrong("headers", &error))?;
        // Of those of one name, the first counts.
        if headers.iter().all(|(other, _)| *other != name) {
            headers.push((name, text("headers", named)?));
        }
    }
    let mut queries: Vec<(String, Text)> = Vec::new();
    for named in &one.query_params {
        if queries.iter().all(|(other, _)| *other != named.name) {
            queries.push((named.name.clone(), text("queryParams", named)?));
        }
    }
    let method = one.method.as_deref().map(str::parse::<Method>).transpose().map_err(|error| wrong("method", &error))?;
    Ok(Match { path, conditions: Conditions { method, headers, queries } })
}

/// How long a request may take, and one try of it.
fn read_timeouts(timeouts: &HttpRouteTimeouts) -> Result<(Option<Duration>, Option<Duration>), Problem> {
    let read = |text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => match duration(text) {
            // Zero is no bound.
            Some(duration) => Ok(Some(duration).filter(|duration| !duration.is_zero())),
            None => Err(Problem::new("UnsupportedValue", format!("timeouts: {text:?} is no duration, as 1m30s is"))),
        },
    };
    Ok((read(&timeouts.request)?, read(&timeouts.backend_request)?))
}

/// A duration as the Gateway API writes it (GEP-2257): up to four numbers of five digits, each with one of h, m, s and ms.
fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut sum_ms) = (text, 0_u64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok().filter(|number| *number <= 99_999)?;
        rest = &rest[digits..];
        let letters = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let unit_ms = match &rest[..letters] {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return None,
        };
        rest = &rest[letters..];
        sum_ms += number * unit_ms;
    }
    Some(Duration::from_millis(sum_ms))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums() {
        for (text, milliseconds) in [("10s", 10_000), ("1m30s", 90_000), ("500ms", 500), ("1h0m1s", 3_601_000), ("0s", 0)] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in ["", "10", "s", "-1s", "1.5s", "1d", "100000s", "1s2"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}

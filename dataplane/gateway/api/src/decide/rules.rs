//! What a Route's rules become.

use std::time::Duration;

use eddy_router::{Conditions, Filters, Match, PathRule, Pattern, Share, Text, Transport};
use http::{HeaderName, Method};
use kube::ResourceExt;

use super::attach::ParentDecision;
use super::backends::{self, BackendPort};
use super::filters;
use super::grants::Grants;
use super::{Problem, RouteDecision, World};
use crate::place::place_of;
use crate::types::{HttpRoute, HttpRouteMatch, HttpRouteRule, HttpRouteTimeouts, NamedMatch, RequestMirror};

const KIND: &str = "HTTPRoute";

/// A rule for requests of HTTP.
#[derive(Clone, Debug)]
pub struct HttpRule {
    /// Which requests it is for.
    pub matches: Vec<Match>,
    /// What becomes of them; why nothing can, and they are refused.
    pub filters: Result<Filters, Problem>,
    /// To whom they are passed on, by weight; none stands for one who is not there.
    pub backends: Vec<(u32, Option<BackendPort>)>,
    /// Who sees copies.
    pub mirrors: Vec<Mirrored>,
    /// How long one may take, all tries together.
    pub request_timeout: Option<Duration>,
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
pub(super) fn decide(route: &HttpRoute, parents: Vec<ParentDecision>, grants: &Grants<'_>, world: &World<'_>) -> RouteDecision {
    let namespace = route.namespace().unwrap_or_default();
    let (mut unresolved, mut wrong) = (None, Vec::new());
    let mut rules = Vec::with_capacity(route.spec.rules.len());
    for rule in &route.spec.rules {
        match matches(rule) {
            Ok(matches) => {
                let rule = one(rule, matches, &namespace, grants, world, &mut unresolved);
                wrong.extend(rule.filters.as_ref().err().cloned());
                rules.push(rule);
            }
            // It is not known which requests it would be for.
            Err(problem) => wrong.push(problem),
        }
    }
    let all_wrong = !wrong.is_empty() && wrong.len() == route.spec.rules.len();
    let first = wrong.into_iter().next();
    let (problem, partly) = if all_wrong { (first, None) } else { (None, first) };
    RouteDecision { route: place_of(route), parents, rules, problem, partly, unresolved }
}

fn one(
    rule: &HttpRouteRule,
    matches: Vec<Match>,
    namespace: &str,
    grants: &Grants<'_>,
    world: &World<'_>,
    unresolved: &mut Option<Problem>,
) -> HttpRule {
    let mut find = |reference| match backends::find(reference, (KIND, namespace), Transport::Tcp, grants, world) {
        Ok(backend) => Some(backend),
        Err(problem) => {
            unresolved.get_or_insert(problem);
            None
        }
    };
    let weight = |weight: Option<i32>| u32::try_from(weight.unwrap_or(1)).unwrap_or(0);
    let backends = rule.backend_refs.iter().map(|one| (weight(one.weight), find(&one.backend))).collect();
    let (mut mirrors, mut request_timeout) = (Vec::new(), None);
    let filters = filters::read(&rule.filters).and_then(|(spec, mirrored)| {
        if let Some(one) = rule.backend_refs.iter().flat_map(|one| &one.filters).next() {
            return Err(Problem::new("UnsupportedValue", format!("backendRefs: the filter {} is not done here", one.kind)));
        }
        request_timeout = rule.timeouts.as_ref().map(timeout).transpose()?.flatten();
        // Whoever sees copies only is not missed.
        mirrors = mirrored
            .into_iter()
            .filter_map(|one| Some(Mirrored { backend: find(&one.backend_ref)?, share: share(one) }))
            .collect();
        Filters::of(&spec).map_err(|error| Problem::new("UnsupportedValue", format!("filters: {error}")))
    });
    HttpRule { matches, filters, backends, mirrors, request_timeout }
}

fn share(mirror: &RequestMirror) -> Share {
    let count = |number: i32| u32::try_from(number).unwrap_or(0);
    match (&mirror.fraction, mirror.percent) {
        (Some(fraction), _) => Share::new(count(fraction.numerator), count(fraction.denominator.unwrap_or(100))),
        (None, Some(percent)) => Share::new(count(percent), 100),
        (None, None) => Share::new(1, 1),
    }
}

/// Which requests a rule is for: any of these.
fn matches(rule: &HttpRouteRule) -> Result<Vec<Match>, Problem> {
    if rule.matches.is_empty() {
        return Ok(vec![Match { path: PathRule::Prefix("/".to_owned()), conditions: Conditions::default() }]);
    }
    rule.matches.iter().map(one_match).collect()
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

/// The shorter of both bounds, as no try may take longer than the whole.
fn timeout(timeouts: &HttpRouteTimeouts) -> Result<Option<Duration>, Problem> {
    let read = |text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => match duration(text) {
            // Zero is no bound.
            Some(duration) => Ok(Some(duration).filter(|duration| !duration.is_zero())),
            None => Err(Problem::new("UnsupportedValue", format!("timeouts: {text:?} is no duration, as 1m30s is"))),
        },
    };
    if timeouts.backend_request.is_some() {
        return Err(Problem::new("UnsupportedValue", "timeouts.backendRequest is not done here: timeouts.request is"));
    }
    read(&timeouts.request)
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

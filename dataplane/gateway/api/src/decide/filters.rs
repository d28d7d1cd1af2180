//! What becomes of requests besides being passed on, in the words of a Route of Eddy's, which are compiled in one place.

use eddy_crds::{Cors, HeaderEdits, HeaderValue, PathEdit, Redirect, RedirectScheme, Rewrite, RouteSpec};

use super::Problem;
use crate::types::{CorsFilter, HeaderModifier, HttpRouteFilter, PathModifier, RequestMirror, RequestRedirect, UrlRewrite};

/// Seconds for which browsers remember what pages may ask for, where nobody says.
const CORS_SECONDS: i32 = 5;

/// A rule's filters as a Route's fields, and who sees copies.
pub(super) fn read(filters: &[HttpRouteFilter]) -> Result<(RouteSpec, Vec<&RequestMirror>), Problem> {
    let (mut spec, mut mirrors) = (RouteSpec::default(), Vec::new());
    for filter in filters {
        let twice = || Problem::new("IncompatibleFilters", format!("filters: {} is there twice", filter.kind));
        match filter.kind.as_str() {
            "RequestHeaderModifier" => {
                put(&mut spec.request_headers, filter.request_header_modifier.as_ref().map(edits)).map_err(|()| twice())?;
            }
            "ResponseHeaderModifier" => {
                put(&mut spec.response_headers, filter.response_header_modifier.as_ref().map(edits)).map_err(|()| twice())?;
            }
            "RequestRedirect" => {
                let redirect = filter.request_redirect.as_ref().map(redirect).transpose()?;
                put(&mut spec.redirect, redirect).map_err(|()| twice())?;
            }
            "URLRewrite" => {
                let rewrite = filter.url_rewrite.as_ref().map(rewrite).transpose()?;
                put(&mut spec.rewrite, rewrite).map_err(|()| twice())?;
            }
            "CORS" => put(&mut spec.cors, filter.cors.as_ref().map(cors)).map_err(|()| twice())?,
            "RequestMirror" => mirrors.extend(&filter.request_mirror),
            other => return Err(Problem::new("UnsupportedValue", format!("filters: {other} is not done here"))),
        }
    }
    if spec.redirect.is_some() && spec.rewrite.is_some() {
        return Err(Problem::new("IncompatibleFilters", "filters: who is sent elsewhere asks for no rewritten URL"));
    }
    Ok((spec, mirrors))
}

/// Puts something where there is nothing yet.
fn put<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), ()> {
    if place.is_some() {
        return Err(());
    }
    *place = value;
    Ok(())
}

fn edits(modifier: &HeaderModifier) -> HeaderEdits {
    let pairs = |pairs: &[crate::types::HeaderPair]| {
        pairs.iter().map(|pair| HeaderValue { name: pair.name.clone(), value: pair.value.clone() }).collect()
    };
    HeaderEdits { set: pairs(&modifier.set), add: pairs(&modifier.add), remove: modifier.remove.clone() }
}

fn redirect(redirect: &RequestRedirect) -> Result<Redirect, Problem> {
    let scheme = match redirect.scheme.as_deref() {
        None => None,
        Some("http") => Some(RedirectScheme::Http),
        Some("https") => Some(RedirectScheme::Https),
        Some(other) => return Err(Problem::new("UnsupportedValue", format!("filters: the scheme {other} is not done here"))),
    };
    Ok(Redirect {
        scheme,
        host: redirect.hostname.clone(),
        port: redirect.port,
        path: redirect.path.as_ref().map(path).transpose()?,
        status: redirect.status_code.unwrap_or(302),
    })
}

fn rewrite(rewrite: &UrlRewrite) -> Result<Rewrite, Problem> {
    Ok(Rewrite { host: rewrite.hostname.clone(), path: rewrite.path.as_ref().map(path).transpose()? })
}

fn path(modifier: &PathModifier) -> Result<PathEdit, Problem> {
    let whole = |text: &Option<String>| text.clone().filter(|text| !text.is_empty()).or_else(|| Some("/".to_owned()));
    match modifier.kind.as_str() {
        "ReplaceFullPath" => Ok(PathEdit { full: whole(&modifier.replace_full_path), prefix: None }),
        "ReplacePrefixMatch" => Ok(PathEdit { full: None, prefix: whole(&modifier.replace_prefix_match) }),
        other => Err(Problem::new("UnsupportedValue", format!("filters: a path cannot be changed by {other} here"))),
    }
}

fn cors(filter: &CorsFilter) -> Cors {
    Cors {
        allow_origins: filter.allow_origins.clone(),
        allow_methods: filter.allow_methods.clone(),
        allow_headers: filter.allow_headers.clone(),
        expose_headers: filter.expose_headers.clone(),
        allow_credentials: filter.allow_credentials.unwrap_or(false),
        max_age_seconds: filter.max_age.unwrap_or(CORS_SECONDS),
    }
}

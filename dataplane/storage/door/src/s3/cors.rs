//! What pages of other origins may do with a bucket (Fetch, section "HTTP-access control"; S3's rules for it).

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use s3s::dto::{CORSConfiguration, CORSRule};

/// Where a page comes from, and what it is about to do.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    origin: String,
    method: String,
    /// Headers that it would send; none where it sent the request already.
    headers: Option<String>,
}

impl Origin {
    /// That of a request, if it is one of a page.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let origin = text(ORIGIN)?;
        if method != Method::OPTIONS {
            // As S3 does: what it is about to do next, if it says so.
            let method = text(ACCESS_CONTROL_REQUEST_METHOD).unwrap_or_else(|| method.as_str().to_owned());
            return Some(Self { origin, method, headers: None });
        }
        let method = text(ACCESS_CONTROL_REQUEST_METHOD)?;
        Some(Self { origin, method, headers: Some(text(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default()) })
    }

    /// What browsers are told where a rule allows it.
    pub(super) fn allowed(&self, rules: &CORSConfiguration) -> Option<HeaderMap> {
        let rule = rules.cors_rules.iter().find(|rule| self.is_allowed_by(rule))?;
        let anyone = rule.allowed_origins.iter().any(|origin| origin == "*");
        let mut told = HeaderMap::new();
        let mut tell = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                told.insert(name, value);
            }
        };
        tell(ACCESS_CONTROL_ALLOW_ORIGIN, if anyone { "*" } else { &self.origin });
        if !anyone {
            tell(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        tell(ACCESS_CONTROL_ALLOW_METHODS, &rule.allowed_methods.join(", "));
        tell(VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
        if let Some(headers) = rule.expose_headers.as_ref().filter(|headers| !headers.is_empty()) {
            tell(ACCESS_CONTROL_EXPOSE_HEADERS, &headers.join(", "));
        }
        if let Some(headers) = self.headers.as_ref() {
            if !headers.is_empty() {
                tell(ACCESS_CONTROL_ALLOW_HEADERS, headers);
            }
            if let Some(seconds) = rule.max_age_seconds {
                tell(ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
            }
        }
        Some(told)
    }

    fn is_allowed_by(&self, rule: &CORSRule) -> bool {
        let headers = self.headers.iter().flat_map(|headers| headers.split(',')).map(str::trim).filter(|name| !name.is_empty());
        let allows = |name: &str| {
            let patterns = rule.allowed_headers.iter().flatten();
            patterns.into_iter().any(|pattern| fits(&pattern.to_ascii_lowercase(), &name.to_ascii_lowercase()))
        };
        rule.allowed_origins.iter().any(|pattern| fits(pattern, &self.origin))
            && rule.allowed_methods.contains(&self.method)
            && headers.into_iter().all(allows)
    }
}

/// Whether a text is what a pattern says, whose `*`, if it has one, is anything.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use s3s::xml::{Deserialize, Deserializer};

    use super::*;

    fn rules() -> CORSConfiguration {
        let text = "<CORSConfiguration>\
            <CORSRule><AllowedOrigin>https://*.example.org</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>\
            <AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule>\
            <CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>";
        CORSConfiguration::deserialize(&mut Deserializer::new(text.as_bytes())).unwrap()
    }

    fn ask(method: Method, headers: &[(&'static str, &str)]) -> Option<HeaderMap> {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
        Origin::of(&method, &headers)?.allowed(&rules())
    }

    #[test]
    fn a_page_is_told_what_it_may() {
        let origin = ("origin", "https://a.example.org");
        let told = ask(Method::PUT, &[origin]).unwrap();
        assert_eq!(told[ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.example.org");
        assert_eq!(told[ACCESS_CONTROL_EXPOSE_HEADERS], "ETag");
        assert!(!told.contains_key(ACCESS_CONTROL_MAX_AGE));
        let told = ask(Method::GET, &[origin]).unwrap();
        assert_eq!(told[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!told.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
        assert!(ask(Method::PUT, &[("origin", "https://example.org")]).is_none());
        assert!(ask(Method::DELETE, &[origin]).is_none() && ask(Method::PUT, &[]).is_none());
        let put = ("access-control-request-method", "PUT");
        let told = ask(Method::OPTIONS, &[origin, put, ("access-control-request-headers", "X-Amz-Date, x-amz-acl")]).unwrap();
        assert_eq!(told[ACCESS_CONTROL_MAX_AGE], "60");
        assert_eq!(told[ACCESS_CONTROL_ALLOW_HEADERS], "X-Amz-Date, x-amz-acl");
        assert!(ask(Method::OPTIONS, &[origin, put, ("access-control-request-headers", "cookie")]).is_none());
        assert!(ask(Method::OPTIONS, &[origin]).is_none());
    }

    #[test]
    fn a_star_is_anything_and_nothing_twice() {
        assert!(fits("*", "") && fits("a*b", "ab") && fits("a*b", "axxb") && fits("a", "a"));
        assert!(!fits("ab*ba", "aba") && !fits("a*", "ba") && !fits("a", "ab"));
    }
}

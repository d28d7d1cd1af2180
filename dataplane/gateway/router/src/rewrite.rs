//! What becomes of a request's path, and where a client is sent to instead.

use std::borrow::Cow;
use std::fmt::Write;

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathEdit {
    /// It is this.
    Full(String),
    /// What was matched of it is replaced by this; its other elements stay.
    Prefix(String),
}

impl PathEdit {
    /// What becomes of a path and query of which this prefix was matched, if one was. The query stays.
    pub fn apply(&self, matched: Option<&str>, path_and_query: &str) -> String {
        let (path, query) = path_and_query.split_at(path_and_query.find('?').unwrap_or(path_and_query.len()));
        match self {
            Self::Full(full) => format!("{full}{query}"),
            Self::Prefix(prefix) => {
                let Some(matched) = matched else { return path_and_query.to_owned() };
                let rest = path.strip_prefix(matched.trim_end_matches('/')).unwrap_or(path);
                let base = prefix.trim_end_matches('/');
                let slash = if base.is_empty() && rest.is_empty() { "/" } else { "" };
                format!("{base}{rest}{slash}{query}")
            }
        }
    }
}

/// Where clients are sent to instead of being answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The scheme there; that of the request if none.
    pub scheme: Option<String>,
    /// The host there; that of the request if none.
    pub host: Option<String>,
    /// The port there; if none, that of the scheme where one is given, else that of the request.
    pub port: Option<u16>,
    /// The path there; that of the request if none.
    pub path: Option<PathEdit>,
    /// With which status: 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Where a request came to.
#[derive(Clone, Copy, Debug)]
pub struct Came<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host, without a port.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The path and query.
    pub path_and_query: &'a str,
    /// The prefix of the path that was matched, if one was.
    pub matched: Option<&'a str>,
}

impl Redirect {
    /// The value of `Location`.
    pub fn location(&self, came: &Came<'_>) -> String {
        let scheme = self.scheme.as_deref().unwrap_or(came.scheme);
        let host = self.host.as_deref().unwrap_or(came.host);
        let usual = if scheme == "https" { 443 } else { 80 };
        let port = self.port.unwrap_or(if self.scheme.is_some() { usual } else { came.port });
        let path = self
            .path
            .as_ref()
            .map_or(Cow::Borrowed(came.path_and_query), |path| Cow::Owned(path.apply(came.matched, came.path_and_query)));
        let mut location = match host.contains(':') {
            true => format!("{scheme}://[{host}]"),
            false => format!("{scheme}://{host}"),
        };
        if port != usual {
            // Writing to a string does not fail.
            let _ = write!(location, ":{port}");
        }
        location.push_str(&path);
        location
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_replaced_by_whole_elements() {
        // The table of the Gateway API (HTTPPathModifier).
        for (path, matched, to, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo?q=/foo", "/foo", "/xyz", "/xyz?q=/foo"),
            ("/foo?q", "/foo", "", "/?q"),
            ("/bar", "/", "/xyz", "/xyz/bar"),
        ] {
            assert_eq!(PathEdit::Prefix(to.into()).apply(Some(matched), path), expected, "{path} {matched} {to}");
        }
        assert_eq!(PathEdit::Full("/all".into()).apply(None, "/foo/bar?q"), "/all?q");
        assert_eq!(PathEdit::Prefix("/xyz".into()).apply(None, "/foo/bar?q"), "/foo/bar?q", "no prefix was matched");
    }

    #[test]
    fn what_is_not_said_stays_and_a_scheme_has_its_own_port() {
        let came = Came { scheme: "http", host: "a.example", port: 8080, path_and_query: "/foo?q", matched: Some("/foo") };
        let none = Redirect { scheme: None, host: None, port: None, path: None, status: 302 };
        let to = |redirect: Redirect| redirect.location(&came);
        assert_eq!(to(none.clone()), "http://a.example:8080/foo?q");
        assert_eq!(to(Redirect { scheme: Some("https".into()), ..none.clone() }), "https://a.example/foo?q");
        assert_eq!(to(Redirect { scheme: Some("https".into()), port: Some(80), ..none.clone() }), "https://a.example:80/foo?q");
        assert_eq!(to(Redirect { port: Some(80), host: Some("b.example".into()), ..none.clone() }), "http://b.example/foo?q");
        let path = Some(PathEdit::Prefix("/xyz".into()));
        assert_eq!(to(Redirect { path, port: Some(80), host: Some("2001:db8::1".into()), ..none }), "http://[2001:db8::1]/xyz?q");
    }
}

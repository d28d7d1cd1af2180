//! What a rule asks of a request besides its host.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Method};
use percent_encoding::percent_decode_str;
use regex::Regex;

/// No more memory than this for a compiled expression, in bytes,
const PATTERN_BYTES_MAX: usize = 1 << 16;
/// and for what is remembered of its matches, a thread.
const CACHE_BYTES_MAX: usize = 1 << 16;
/// Longer values no expression matches: strangers could make the gateway busy with them.
const VALUE_BYTES_MAX: usize = 4096;

/// What a rule asks of a request's path.
#[derive(Clone, Debug)]
pub enum PathRule {
    /// The whole path, letter by letter.
    Exact(String),
    /// The path's first elements: `/api` matches `/api`, `/api/` and `/api/v1`, not `/apis`.
    Prefix(String),
    /// The whole path, by an expression.
    Regex(Pattern),
}

/// What a rule asks of a request. All of it must hold.
#[derive(Clone, Debug)]
pub struct Match {
    /// Of its path.
    pub path: PathRule,
    /// Of everything else.
    pub conditions: Conditions,
}

/// What a rule asks of a request besides host and path.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// Its method; any if none.
    pub method: Option<Method>,
    /// Headers. Of one that is there several times, the values count joined by commas (RFC 9110, section 5.3).
    pub headers: Vec<(HeaderName, Text)>,
    /// Parameters of the query, decoded. Of one that is there several times, the first counts.
    pub queries: Vec<(String, Text)>,
}

/// What a value must be.
#[derive(Clone, Debug)]
pub enum Text {
    /// This.
    Exact(String),
    /// What this matches.
    Regex(Pattern),
}

/// An expression in the syntax of the regex crate that matches values as a whole, of 4 KiB at most. The time of a match grows with the value's
/// length, not with what it looks like.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// It is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is no regular expression, or one that is too large: {reason}")]
pub struct PatternError {
    pattern: String,
    reason: String,
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// See [`PatternError`].
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        // By itself first: what is whole only within the group below is none.
        let checked = regex_syntax_of(pattern).and_then(|()| regex_of(&format!("^(?:{pattern})$")));
        checked.map(Self).map_err(|reason| PatternError { pattern: pattern.to_owned(), reason })
    }

    /// Whether it matches the whole of a text.
    pub fn is_match(&self, text: &str) -> bool {
        text.len() <= VALUE_BYTES_MAX && self.0.is_match(text)
    }
}

fn regex_of(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).dfa_size_limit(CACHE_BYTES_MAX).build().map_err(|error| {
        match error {
            regex::Error::CompiledTooBig(_) => format!("it takes more than {PATTERN_BYTES_MAX} bytes"),
            // Its last line says what is wrong; the others draw where.
            error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        }
    })
}

fn regex_syntax_of(pattern: &str) -> Result<(), String> {
    regex_of(pattern).map(drop)
}

impl Text {
    /// Whether a value is so.
    pub fn fits(&self, value: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == value,
            Self::Regex(pattern) => pattern.is_match(value),
        }
    }
}

/// A request, as far as rules look at it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The path, as it was sent.
    pub path: &'a str,
    /// What comes after the question mark, as it was sent.
    pub query: Option<&'a str>,
    /// The method.
    pub method: &'a Method,
    /// The headers.
    pub headers: &'a HeaderMap,
}

impl Conditions {
    /// Whether a request is so.
    pub fn fit(&self, asked: &Asked<'_>) -> bool {
        self.method.as_ref().is_none_or(|method| method == asked.method)
            && self.headers.iter().all(|(name, text)| joined(asked.headers, name).is_some_and(|value| text.fits(&value)))
            && self
                .queries
                .iter()
                .all(|(name, text)| asked.query.and_then(|query| parameter(query, name)).is_some_and(|value| text.fits(&value)))
    }

    /// Where it stands among those of the same path: whoever asks for more goes first.
    pub(crate) fn rank(&self) -> (bool, std::cmp::Reverse<usize>, std::cmp::Reverse<usize>) {
        (self.method.is_none(), std::cmp::Reverse(self.headers.len()), std::cmp::Reverse(self.queries.len()))
    }
}

fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter();
    let first = Cow::Borrowed(values.next()?.to_str().ok()?);
    values.try_fold(first, |joined, value| Some(Cow::Owned(format!("{joined},{}", value.to_str().ok()?))))
}

/// The first value of a parameter.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let value = pairs.into_iter().find(|(key, _)| decoded(key).is_some_and(|key| key == name))?.1;
    decoded(value)
}

/// What a part of a query stands for (WHATWG URL, application/x-www-form-urlencoded); none if that is no text.
fn decoded(part: &str) -> Option<Cow<'_, str>> {
    if !part.contains('+') {
        return percent_decode_str(part).decode_utf8().ok();
    }
    let spaced = part.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| Cow::Owned(text.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn all_of_it_must_hold() {
        let conditions = Conditions {
            method: Some(Method::GET),
            headers: vec![(HeaderName::from_static("x-a"), Text::Exact("1".into()))],
            queries: vec![("q".into(), Text::Regex(Pattern::new("a+|b").unwrap()))],
        };
        let fits = |method: &Method, all: &[(&'static str, &str)], query| {
            conditions.fit(&Asked { path: "/", query, method, headers: &headers(all) })
        };
        assert!(fits(&Method::GET, &[("x-a", "1")], Some("z=1&q=aa")));
        assert!(!fits(&Method::POST, &[("x-a", "1")], Some("q=aa")));
        assert!(!fits(&Method::GET, &[("x-a", "11")], Some("q=aa")));
        assert!(!fits(&Method::GET, &[], Some("q=aa")) && !fits(&Method::GET, &[("x-a", "1")], None));
        assert!(!fits(&Method::GET, &[("x-a", "1")], Some("q=ba")), "as a whole");
        assert!(!fits(&Method::GET, &[("x-a", "1")], Some("q=c&q=a")), "the first counts");
    }

    #[test]
    fn headers_of_one_name_are_one_and_parameters_are_decoded() {
        let sent = headers(&[("x-a", "1"), ("x-a", "2")]);
        assert_eq!(joined(&sent, &HeaderName::from_static("x-a")).as_deref(), Some("1,2"));
        for (query, value) in [("a%20b=c+d%26", Some("c d&")), ("a+b", Some("")), ("a b=%ff", None), ("", None)] {
            assert_eq!(parameter(query, "a b").as_deref(), value, "{query}");
        }
    }

    #[test]
    fn what_is_no_expression_is_told_so() {
        for wrong in ["(", "a)(b", "(?=x)", "a{1000}{1000}", "*"] {
            let error = Pattern::new(wrong).unwrap_err().to_string();
            assert!(error.contains("regular expression") && !error.contains('\n'), "{error}");
        }
        let any = Pattern::new("a*").unwrap();
        assert!(any.is_match(&"a".repeat(VALUE_BYTES_MAX)) && !any.is_match(&"a".repeat(VALUE_BYTES_MAX + 1)));
        assert!(Pattern::new("a|b").unwrap().is_match("b") && !Pattern::new("a|b").unwrap().is_match("ab"));
    }
}

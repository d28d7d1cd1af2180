//! Conditional requests (RFC 9110, section 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};

/// What is there.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// Its entity tag, in quotes.
    pub etag: &'a str,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: u64,
}

/// The conditions of a request.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a>(pub &'a HeaderMap);

/// What they come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Go on.
    Holds,
    /// Whoever asks has it already.
    NotModified,
    /// They do not hold.
    Failed,
}

impl Conditions<'_> {
    /// What they come to for a request that reads, in the order of section 13.2.2.
    pub fn of_reading(&self, state: &State<'_>) -> Outcome {
        if let Some(holds) = self.matches(IF_MATCH, state, false) {
            if !holds {
                return Outcome::Failed;
            }
        } else if self.date(IF_UNMODIFIED_SINCE).is_some_and(|date| seconds(state) > date) {
            return Outcome::Failed;
        }
        let unchanged = match self.matches(IF_NONE_MATCH, state, true) {
            Some(matches) => matches,
            None => self.date(IF_MODIFIED_SINCE).is_some_and(|date| seconds(state) <= date),
        };
        if unchanged { Outcome::NotModified } else { Outcome::Holds }
    }

    /// Whether they hold for a request that writes over what is there, if anything is.
    pub fn of_writing(&self, state: Option<&State<'_>>) -> bool {
        let Some(state) = state else { return !self.0.contains_key(IF_MATCH) };
        let unmodified = || self.date(IF_UNMODIFIED_SINCE).is_none_or(|date| seconds(state) <= date);
        self.matches(IF_MATCH, state, false).unwrap_or_else(unmodified)
            && !self.matches(IF_NONE_MATCH, state, true).unwrap_or(false)
    }

    /// Whether there are any that a request that writes heeds.
    pub fn any_of_writing(&self) -> bool {
        [IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE].iter().any(|name| self.0.contains_key(name))
    }

    /// Whether a range is to be served: it is not, if what it is a range of has changed (section 13.1.5).
    pub fn heeds_range(&self, state: &State<'_>) -> bool {
        let Some(value) = self.text(IF_RANGE) else { return !self.0.contains_key(IF_RANGE) };
        if value.starts_with('"') { value == state.etag } else { self.date(IF_RANGE) == Some(seconds(state)) }
    }

    fn matches(&self, name: HeaderName, state: &State<'_>, weakly: bool) -> Option<bool> {
        let mut matches = None;
        for value in self.0.get_all(name) {
            // What is no text matches nothing.
            let tags = value.to_str().unwrap_or_default();
            let one = |tag: &str| {
                let tag = tag.trim();
                tag == "*" || tag == state.etag || weakly && tag.strip_prefix("W/") == Some(state.etag)
            };
            *matches.get_or_insert(false) |= tags.split(',').any(one);
        }
        matches
    }

    fn text(&self, name: HeaderName) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }

    fn date(&self, name: HeaderName) -> Option<u64> {
        let date = httpdate::parse_http_date(self.text(name)?).ok()?;
        date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
    }
}

impl State<'_> {
    /// When it was written, as a header has it.
    pub fn last_modified(&self) -> String {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds(self).min(253_402_300_799));
        httpdate::fmt_http_date(modified)
    }
}

/// Headers know no less than a second.
fn seconds(state: &State<'_>) -> u64 {
    state.modified_ms / 1000
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const AT: State<'_> = State { etag: "\"a\"", modified_ms: 784_111_777_500 };
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn reading() {
        assert_eq!(AT.last_modified(), SAME);
        for (pairs, outcome) in [
            (vec![], Outcome::Holds),
            (vec![(IF_MATCH, "\"a\"")], Outcome::Holds),
            (vec![(IF_MATCH, "\"b\", \"a\"")], Outcome::Holds),
            (vec![(IF_MATCH, "*")], Outcome::Holds),
            (vec![(IF_MATCH, "W/\"a\"")], Outcome::Failed),
            (vec![(IF_MATCH, "\"b\"")], Outcome::Failed),
            (vec![(IF_NONE_MATCH, "W/\"a\"")], Outcome::NotModified),
            (vec![(IF_NONE_MATCH, "*")], Outcome::NotModified),
            (vec![(IF_NONE_MATCH, "\"b\"")], Outcome::Holds),
            (vec![(IF_MODIFIED_SINCE, SAME)], Outcome::NotModified),
            (vec![(IF_MODIFIED_SINCE, BEFORE)], Outcome::Holds),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], Outcome::Holds),
            (vec![(IF_UNMODIFIED_SINCE, BEFORE)], Outcome::Failed),
            (vec![(IF_UNMODIFIED_SINCE, SAME)], Outcome::Holds),
            // Tags come before dates.
            (vec![(IF_MATCH, "\"a\""), (IF_UNMODIFIED_SINCE, BEFORE)], Outcome::Holds),
            (vec![(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, SAME)], Outcome::Holds),
            (vec![(IF_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")], Outcome::Failed),
        ] {
            assert_eq!(Conditions(&headers(&pairs)).of_reading(&AT), outcome, "{pairs:?}");
        }
    }

    #[test]
    fn writing() {
        for (pairs, there, nothing) in [
            (vec![], true, true),
            (vec![(IF_NONE_MATCH, "*")], false, true),
            (vec![(IF_MATCH, "*")], true, false),
            (vec![(IF_MATCH, "\"a\"")], true, false),
            (vec![(IF_MATCH, "\"b\"")], false, false),
            (vec![(IF_NONE_MATCH, "\"a\"")], false, true),
            (vec![(IF_UNMODIFIED_SINCE, BEFORE)], false, true),
        ] {
            let headers = headers(&pairs);
            assert_eq!(Conditions(&headers).of_writing(Some(&AT)), there, "{pairs:?}");
            assert_eq!(Conditions(&headers).of_writing(None), nothing, "{pairs:?}");
        }
    }

    #[test]
    fn a_range_of_what_changed_is_not_heeded() {
        for (value, heeds) in [("\"a\"", true), ("\"b\"", false), ("W/\"a\"", false), (SAME, true), (BEFORE, false), ("x", false)]
        {
            assert_eq!(Conditions(&headers(&[(IF_RANGE, value)])).heeds_range(&AT), heeds, "{value}");
        }
        assert!(Conditions(&HeaderMap::new()).heeds_range(&AT));
    }
}

//! What a browser keeps while its user is at a provider: who they are to become, and where they are to go then. Nobody can read or change
//! it, and it ends soon.

use eddy_oidc::Pending;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::people::People;
use crate::rows::PeopleError;

/// The cookie. Its prefix keeps other hosts from setting it.
const GOING_COOKIE: &str = "__Host-eddy-provider";
/// Somebody comes back within this.
const WITHIN_S: i64 = 10 * 60;
/// A longer place to go is none.
const PLACE_BYTES_MAX: usize = 512;

/// Somebody who was sent to a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Going {
    pub(super) provider: String,
    pub(super) pending: Pending,
    /// Where they go then: a path of this host.
    pub(super) place: String,
    pub(super) purpose: Purpose,
    pub(super) expires_s: i64,
}

/// What they went for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Purpose {
    /// To sign in as whom the provider knows.
    SignIn,
    /// To take an invitation: whom the provider knows is from then on whom it was for.
    Invitation(String),
    /// To be known by it from then on, who has signed in already in the session of this id.
    Link(String),
}

impl Going {
    pub(super) fn new(provider: &str, pending: Pending, place: &str, purpose: Purpose, now_s: i64) -> Self {
        let place = if is_of_this_host(place) { place } else { "/" };
        Self { provider: provider.to_owned(), pending, place: place.to_owned(), purpose, expires_s: now_s + WITHIN_S }
    }

    /// The cookie that keeps it.
    pub(super) fn cookie(&self, people: &People) -> Result<HeaderValue, PeopleError> {
        Ok(set(&people.seal(GOING_COOKIE, self)?, WITHIN_S))
    }

    /// What a browser kept, if it did and it is of this provider and now.
    pub(super) fn of(headers: &HeaderMap, people: &People, provider: &str, now_s: i64) -> Option<Self> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
        let mut kept = cookies.flat_map(|header| header.split(';')).filter_map(|cookie| {
            let (name, value) = cookie.trim().split_once('=')?;
            (name == GOING_COOKIE).then_some(value)
        });
        let (Some(only), None) = (kept.next(), kept.next()) else { return None };
        let going: Self = people.open(GOING_COOKIE, only)?;
        Some(going).filter(|going| going.provider == provider && now_s < going.expires_s)
    }
}

/// Takes the cookie away.
pub(super) fn gone() -> HeaderValue {
    set("", 0)
}

fn set(value: &str, lasts_s: i64) -> HeaderValue {
    let text = format!("{GOING_COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={lasts_s}");
    let mut cookie = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    cookie.set_sensitive(true);
    cookie
}

/// Whether a place is a path of this host, however a browser reads it: two slashes, or a backslash, lead elsewhere.
fn is_of_this_host(place: &str) -> bool {
    let mut letters = place.bytes();
    // What is under /auth/v1 is for programs, and for where this leads: nobody goes from there to there.
    let leads_back = place == "/auth/v1" || place.starts_with("/auth/v1/");
    // A browser goes up at these, wherever that leads.
    let goes_up = place.split(['/', '?', '#']).any(|part| matches!(&*part.to_ascii_lowercase().replace("%2e", "."), "." | ".."));
    !leads_back
        && !goes_up
        && letters.next() == Some(b'/')
        && !matches!(letters.next(), Some(b'/' | b'\\'))
        && place.len() <= PLACE_BYTES_MAX
        && place.bytes().all(|letter| letter.is_ascii_graphic() && letter != b'\\')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::people;

    fn pending() -> Pending {
        serde_json::from_str(r#"{"state":"s","nonce":"n","verifier":"v","anew":false}"#).unwrap()
    }

    #[tokio::test]
    async fn what_is_kept_is_read_by_this_platform_in_time_and_by_nobody_else() {
        let (people, _folder) = people();
        let going = Going::new("id", pending(), "/files?a=b", Purpose::Invitation("x".into()), 100);
        let cookie = going.cookie(&people).unwrap();
        let value = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        assert!(!value.contains("nonce"));
        let of = |value: &str, provider: &str, now_s| {
            let headers = HeaderMap::from_iter([(COOKIE, value.parse().unwrap())]);
            Going::of(&headers, &people, provider, now_s)
        };
        assert_eq!(of(&format!("a=b; {value}"), "id", 100), Some(going));
        assert_eq!(of(&value, "other", 100), None);
        assert_eq!(of(&value, "id", 100 + WITHIN_S), None);
        assert_eq!(of(&format!("{value}; {value}"), "id", 100), None);
        for other in
            [&value[..value.len() - 1], "__Host-eddy-provider=", "__Host-eddy-provider=AAAA", "a=b", &value.replace('.', "")[1..]]
        {
            assert_eq!(of(other, "id", 100), None, "{other}");
        }
        let (others, _folder) = crate::testing::people_with(&[8; 32]);
        let headers = HeaderMap::from_iter([(COOKIE, value.parse().unwrap())]);
        assert_eq!(Going::of(&headers, &others, "id", 100), None);
    }

    #[test]
    fn nobody_is_sent_elsewhere() {
        for place in ["/", "/files/a?b=c#d", "/a//b", "/auth/account"] {
            assert_eq!(Going::new("id", pending(), place, Purpose::SignIn, 0).place, place);
        }
        for place in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "evil",
            "/a\\b",
            "/a b",
            "/auth/v1/providers/id",
            "/auth/v1",
            "/x/../auth/v1/providers/id",
            "/x/%2E%2e/auth/v1/providers/id",
            "/./auth/v1",
            "/\tx",
            "/\u{e4}",
            "\\\\x",
        ] {
            assert_eq!(Going::new("id", pending(), place, Purpose::SignIn, 0).place, "/", "{place}");
        }
        assert_eq!(Going::new("id", pending(), &format!("/{}", "x".repeat(512)), Purpose::SignIn, 0).place, "/");
    }
}

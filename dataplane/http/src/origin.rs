//! Whether a request of a browser comes from a page of this very site: what a browser shows by itself, as cookies, is shown for whoever's page
//! makes it ask.

use http::HeaderMap;
use http::header::{HOST, ORIGIN};

/// Whether it does. Browsers say so themselves (Fetch Metadata), and older ones say at least where from; who says neither is taken for
/// another site.
#[must_use]
pub fn is_same_origin(headers: &HeaderMap) -> bool {
    let one = |name: &str| {
        let mut said = headers.get_all(name).iter();
        match (said.next(), said.next()) {
            (Some(said), None) => Some(said.as_bytes()),
            _ => None,
        }
    };
    if headers.contains_key("sec-fetch-site") {
        return one("sec-fetch-site") == Some(b"same-origin");
    }
    let (Some(origin), Some(host)) = (one(ORIGIN.as_str()), one(HOST.as_str())) else { return false };
    let from = [&b"https://"[..], b"http://"].into_iter().find_map(|scheme| origin.strip_prefix(scheme));
    from.is_some_and(|from| from.eq_ignore_ascii_case(host))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_site_count() {
        let of = |headers: &[(&'static str, &str)]| {
            is_same_origin(
                &headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>(),
            )
        };
        assert!(of(&[("sec-fetch-site", "same-origin")]));
        assert!(of(&[("origin", "https://cloud.example"), ("host", "Cloud.example")]));
        assert!(of(&[("origin", "http://cloud.example:8080"), ("host", "cloud.example:8080")]));
        for other in [
            &[][..],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://cloud.example"), ("host", "cloud.example")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            &[("origin", "null"), ("host", "cloud.example")],
            &[("origin", "https://cloud.example.evil"), ("host", "cloud.example")],
            &[("origin", "https://cloud.example:8443"), ("host", "cloud.example")],
            &[("origin", "https://cloud.example")],
            &[("host", "cloud.example")],
        ] {
            assert!(!of(other), "{other:?}");
        }
    }
}

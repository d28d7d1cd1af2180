//! Conditions of requests. Unlike elsewhere, a tag may come without its quotes.

use http::{HeaderMap, HeaderName, HeaderValue};

/// All headers that conditions are in.
const NAMES: [&str; 5] = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"];

/// Those that what is read or written must meet.
pub(super) fn of_request(headers: &HeaderMap) -> HeaderMap {
    of(headers, "")
}

/// Those that what is copied must meet, under the names that they have for what is read.
pub(super) fn of_source(headers: &HeaderMap) -> HeaderMap {
    of(headers, "x-amz-copy-source-")
}

fn of(headers: &HeaderMap, prefix: &str) -> HeaderMap {
    let given = NAMES.iter().filter_map(|name| {
        let value = headers.get(format!("{prefix}{name}"))?.to_str().ok()?;
        let bare = name.ends_with("match") && !value.contains('"') && value != "*";
        let value = if bare { format!("\"{value}\"") } else { value.to_owned() };
        Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?))
    });
    given.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_their_quotes() {
        let headers = [("x-amz-copy-source-if-match", "abc"), ("x-amz-copy-source-if-none-match", "\"d\""), ("if-match", "z")];
        let headers = headers.into_iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
        let found = of_source(&headers);
        assert_eq!((found["if-match"].as_bytes(), found["if-none-match"].as_bytes()), (&b"\"abc\""[..], &b"\"d\""[..]));
        assert_eq!(of_request(&headers)["if-match"], "\"z\"");
        let any = [(HeaderName::from_static("if-none-match"), "*".parse().unwrap())].into_iter().collect();
        assert_eq!(of_request(&any)["if-none-match"], "*");
    }
}

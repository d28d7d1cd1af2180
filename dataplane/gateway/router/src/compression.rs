//! Which answers are compressed (RFC 9110, sections 8.4 and 12.5.3).

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::route::HeaderEdits;

/// Less than this is not worth it: it fits into a packet as it is.
const BYTES_MIN: u64 = 1024;
/// What is no text by its name, and still shrinks.
const OTHERS: [&str; 13] = [
    "application/javascript",
    "application/x-javascript",
    "application/json",
    "application/manifest+json",
    "application/wasm",
    "application/xml",
    "application/rtf",
    "application/vnd.ms-fontobject",
    "application/x-font-ttf",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
];
/// Of the bytes as they were.
static DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];
/// RFC 1952. The others that browsers take need a megabyte and more for each answer under way, which strangers could ask for.
const GZIP: &str = "gzip";

/// Whether whoever asks with these headers likes gzip at least as much as nothing.
pub fn takes_gzip(request: &HeaderMap) -> bool {
    let values = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<(&str, u16)> = values.flat_map(|value| value.split(',')).filter_map(weighed).collect();
    let named = |name: &str| all.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, weight)| *weight);
    let gzip = named(GZIP).or_else(|| named("*")).unwrap_or(0);
    gzip > 0 && named("identity").is_none_or(|plain| plain <= gzip)
}

/// A name and its weight in thousandths; one without is liked most.
fn weighed(item: &str) -> Option<(&str, u16)> {
    let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
    let quality = parameters.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let weight = match quality {
        None => 1000,
        Some(text) => (text.parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight))? * 1000.0) as u16,
    };
    Some((name.trim(), weight)).filter(|(name, _)| !name.is_empty())
}

/// How caches are told that an answer which shrinks is another for another client, compressed or not.
pub fn varying(answer: &HeaderMap) -> HeaderEdits {
    let add = if vary_by_coding(answer) { Vec::new() } else { vec![(VARY, HeaderValue::from_static("accept-encoding"))] };
    HeaderEdits { add, ..HeaderEdits::default() }
}

/// What changes of an answer's head where its body is compressed by gzip.
pub fn compressed(answer: &HeaderMap) -> HeaderEdits {
    let mut remove = vec![CONTENT_LENGTH, ACCEPT_RANGES];
    remove.extend(DIGESTS.iter().cloned());
    let mut set = vec![(CONTENT_ENCODING, HeaderValue::from_static(GZIP))];
    // A validator of the bytes as they were is a weak one of these (RFC 9110, section 8.8.1).
    if let Some(tag) = answer.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) {
        match HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
            Ok(weak) => set.push((ETAG, weak)),
            Err(_) => remove.push(ETAG),
        }
    }
    HeaderEdits { remove, set, add: Vec::new() }
}

/// Whether an answer is one that shrinks.
pub fn shrinks(status: StatusCode, answer: &HeaderMap) -> bool {
    let text = |name: &HeaderName| answer.get(name).and_then(|value| value.to_str().ok());
    let has_part = !matches!(status, StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
    let is_whole = has_part && !status.is_informational() && !answer.contains_key(CONTENT_RANGE);
    let says_no = |says: &HeaderValue| says.to_str().is_ok_and(|says| says.to_ascii_lowercase().contains("no-transform"));
    let is_as_it_was = !answer.contains_key(CONTENT_ENCODING) && !answer.get_all(CACHE_CONTROL).iter().any(says_no);
    let is_long = text(&CONTENT_LENGTH).is_none_or(|length| length.parse::<u64>().is_ok_and(|length| length >= BYTES_MIN));
    let kind = text(&CONTENT_TYPE).map(|kind| kind.split(';').next().unwrap_or(kind).trim().to_ascii_lowercase());
    let is_text = kind.is_some_and(|kind| {
        // Events are to come as they happen.
        (kind.starts_with("text/") && kind != "text/event-stream")
            || OTHERS.contains(&kind.as_str())
            || ((kind.ends_with("+json") || kind.ends_with("+xml")) && !is_calls(&kind))
    });
    is_whole && is_as_it_was && is_long && is_text
}

/// Messages one after the other, of gRPC and the like.
fn is_calls(kind: &str) -> bool {
    ["application/grpc", "application/connect"].iter().any(|calls| kind.starts_with(calls))
}

fn vary_by_coding(answer: &HeaderMap) -> bool {
    let values = answer.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|name| matches!(name.trim().to_ascii_lowercase().as_str(), "accept-encoding" | "*"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn takes(says: &str) -> bool {
        takes_gzip(&headers(&[("accept-encoding", says)]))
    }

    /// Whether an answer to this request is compressed, and what its head is then.
    fn compress(request: &HeaderMap, status: StatusCode, answer: &mut HeaderMap) -> bool {
        if !shrinks(status, answer) {
            return false;
        }
        varying(answer).apply(answer);
        let takes = takes_gzip(request);
        if takes {
            compressed(answer).apply(answer);
        }
        takes
    }

    impl HeaderEdits {
        fn apply(self, headers: &mut HeaderMap) {
            self.remove.iter().for_each(|name| drop(headers.remove(name)));
            self.set.into_iter().for_each(|(name, value)| drop(headers.insert(name, value)));
            for (name, value) in self.add {
                headers.append(name, value);
            }
        }
    }

    #[test]
    fn a_client_gets_what_it_takes() {
        for gzip in ["gzip, deflate, br, zstd", "br, gzip;q=0.5", "GZIP ; Q=0.3", "*", "identity;q=0.5, *;q=0.5"] {
            assert!(takes(gzip), "{gzip:?}");
        }
        let none =
            ["", "identity", "gzip;q=0", "br", "gzip;q=2", "gzip;q=x", ";q=1", "*;q=0", "*, gzip;q=0", "identity, gzip;q=0.5"];
        for none in none {
            assert!(!takes(none), "{none:?}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn what_shrinks_is_compressed_and_said_to_be() {
        let request = headers(&[("accept-encoding", "gzip")]);
        let mut answer = headers(&[
            ("content-type", "Text/HTML; charset=utf-8"),
            ("content-length", "5000"),
            ("etag", "\"a\""),
            ("accept-ranges", "bytes"),
            ("repr-digest", "sha-256=:AA==:"),
            ("vary", "origin"),
        ]);
        assert!(compress(&request, StatusCode::OK, &mut answer));
        let expected = [("content-type", "Text/HTML; charset=utf-8"), ("etag", "W/\"a\""), ("content-encoding", "gzip")];
        let mut expected = headers(&expected);
        expected.append(VARY, "origin".parse().unwrap());
        expected.append(VARY, "accept-encoding".parse().unwrap());
        assert_eq!(answer, expected);
    }

    #[test]
    fn what_does_not_shrink_or_must_not_is_left_as_it_is() {
        let request = headers(&[("accept-encoding", "gzip")]);
        let of = |status: u16, more: &[(&'static str, &str)]| {
            let mut answer = headers(&[("content-type", "application/json")]);
            answer.extend(headers(more));
            let before = answer.clone();
            (compress(&request, StatusCode::from_u16(status).unwrap(), &mut answer), answer == before)
        };
        assert!(of(200, &[]).0);
        for (status, more) in [
            (204, &[][..]),
            (206, &[]),
            (304, &[]),
            (101, &[]),
            (200, &[("content-range", "bytes 0-1/2")]),
            (200, &[("content-encoding", "br")]),
            (200, &[("cache-control", "public, No-Transform")]),
            (200, &[("content-length", "1023")]),
            (200, &[("content-type", "text/event-stream")]),
            (200, &[("content-type", "image/png")]),
            (200, &[("content-type", "application/grpc")]),
            (200, &[("content-type", "application/grpc+json")]),
        ] {
            assert_eq!(of(status, more), (false, true), "{status} {more:?}");
        }
        // Whoever takes nothing else gets it as it is, and caches keep both.
        let mut answer = headers(&[("content-type", "text/css")]);
        assert!(!compress(&HeaderMap::new(), StatusCode::OK, &mut answer));
        assert_eq!(answer, headers(&[("content-type", "text/css"), ("vary", "accept-encoding")]));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(says in "[ -~]{0,60}") {
            let _ = takes(&says);
        }
    }
}

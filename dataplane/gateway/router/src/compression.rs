//! Which answers are compressed, and how (RFC 9110, sections 8.4 and 12.5.3).

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

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
static CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
static CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// A way to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// All, the one first that is taken if a client likes several as much.
    const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// As headers call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The one that whoever asks with these headers likes most, if any.
    pub fn accepted(request: &HeaderMap) -> Option<Self> {
        let values = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let all: Vec<(&str, u16)> = values.flat_map(|value| value.split(',')).filter_map(weighed).collect();
        let weight = |name: &str| {
            let named = |name: &str| all.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, weight)| *weight);
            named(name).or_else(|| named("*")).unwrap_or(0)
        };
        let best = Self::ALL.into_iter().map(|coding| (weight(coding.name()), coding)).filter(|(weight, _)| *weight > 0);
        // Of several with the same weight, the first.
        best.rev().max_by_key(|(weight, _)| *weight).map(|(_, coding)| coding)
    }
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

/// Makes an answer one that is compressed as whoever asks with these headers likes most, if it is one that shrinks. Says how; its body is for
/// the caller to compress.
pub fn compress(request: &HeaderMap, status: StatusCode, answer: &mut HeaderMap) -> Option<Coding> {
    if !shrinks(status, answer) {
        return None;
    }
    // Caches are told, also of what is not compressed for this client.
    if !vary_by_coding(answer) {
        answer.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
    let coding = Coding::accepted(request)?;
    // A validator of the bytes as they were is a weak one of these (RFC 9110, section 8.8.1).
    if let Some(tag) = answer.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) {
        match HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
            Ok(weak) => drop(answer.insert(ETAG, weak)),
            Err(_) => drop(answer.remove(ETAG)),
        }
    }
    for name in [&CONTENT_LENGTH, &ACCEPT_RANGES, &CONTENT_DIGEST, &CONTENT_MD5] {
        answer.remove(name);
    }
    answer.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    Some(coding)
}

fn shrinks(status: StatusCode, answer: &HeaderMap) -> bool {
    let text = |name: &HeaderName| answer.get(name).and_then(|value| value.to_str().ok());
    let has_part = !matches!(status, StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
    let is_whole = has_part && !status.is_informational() && !answer.contains_key(CONTENT_RANGE);
    let is_as_it_was = !answer.contains_key(CONTENT_ENCODING)
        && !text(&CACHE_CONTROL).is_some_and(|says| says.to_ascii_lowercase().contains("no-transform"));
    let is_long = text(&CONTENT_LENGTH).is_none_or(|length| length.parse::<u64>().is_ok_and(|length| length >= BYTES_MIN));
    let kind = text(&CONTENT_TYPE).map(|kind| kind.split(';').next().unwrap_or(kind).trim().to_ascii_lowercase());
    let is_text = kind.is_some_and(|kind| {
        // Events are to come as they happen.
        (kind.starts_with("text/") && kind != "text/event-stream")
            || OTHERS.contains(&kind.as_str())
            || kind.ends_with("+json")
            || kind.ends_with("+xml")
    });
    is_whole && is_as_it_was && is_long && is_text
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

    fn accepted(says: &str) -> Option<&'static str> {
        Coding::accepted(&headers(&[("accept-encoding", says)])).map(Coding::name)
    }

    #[test]
    fn a_client_gets_what_it_likes_most() {
        assert_eq!(accepted("gzip, deflate, br, zstd"), Some("zstd"));
        assert_eq!(accepted("gzip;q=1.0, br;q=0.5"), Some("gzip"));
        assert_eq!(accepted("GZIP ; Q=0.3"), Some("gzip"));
        assert_eq!((accepted("*"), accepted("*;q=0.1, zstd;q=0")), (Some("zstd"), Some("br")));
        for none in ["", "identity", "gzip;q=0", "deflate", "gzip;q=2", "gzip;q=x", ";q=1", "*;q=0"] {
            assert_eq!(accepted(none), None, "{none:?}");
        }
        assert_eq!(Coding::accepted(&HeaderMap::new()), None);
    }

    #[test]
    fn what_shrinks_is_compressed_and_said_to_be() {
        let request = headers(&[("accept-encoding", "br")]);
        let mut answer = headers(&[
            ("content-type", "Text/HTML; charset=utf-8"),
            ("content-length", "5000"),
            ("etag", "\"a\""),
            ("accept-ranges", "bytes"),
            ("vary", "origin"),
        ]);
        assert_eq!(compress(&request, StatusCode::OK, &mut answer), Some(Coding::Brotli));
        let expected = [("content-type", "Text/HTML; charset=utf-8"), ("etag", "W/\"a\""), ("content-encoding", "br")];
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
        assert_eq!(of(200, &[]).0, Some(Coding::Gzip));
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
        ] {
            assert_eq!(of(status, more), (None, true), "{status} {more:?}");
        }
        // Whoever takes nothing else gets it as it is, and caches keep both.
        let mut answer = headers(&[("content-type", "text/css")]);
        assert_eq!(compress(&HeaderMap::new(), StatusCode::OK, &mut answer), None);
        assert_eq!(answer, headers(&[("content-type", "text/css"), ("vary", "accept-encoding")]));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(says in "[ -~]{0,60}") {
            let _ = accepted(&says);
        }
    }
}

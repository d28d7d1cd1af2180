//! What a request says, by the names that policies' conditions have for it ("Actions, resources, and condition keys for Amazon S3").

use http::{HeaderMap, Uri};
use percent_encoding::percent_decode_str;

use crate::access::of_tags;

/// The values of a key: none where the request does not say.
pub(super) fn of_request(key: &str, headers: &HeaderMap, uri: &Uri, tags: &[(String, String)]) -> Vec<String> {
    let header = |name: &str| -> Vec<String> {
        headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned).into_iter().collect()
    };
    let (service, name) = key.split_once(':').unwrap_or(("", key));
    if service.eq_ignore_ascii_case("aws") {
        return match name.to_ascii_lowercase().as_str() {
            "useragent" => header("user-agent"),
            "referer" => header("referer"),
            _ => Vec::new(),
        };
    }
    if !service.eq_ignore_ascii_case("s3") {
        return Vec::new();
    }
    match name.to_ascii_lowercase().as_str() {
        asked @ ("prefix" | "delimiter" | "max-keys") => query(uri, asked),
        "versionid" => query(uri, "versionId"),
        "x-amz-copy-source" => {
            // Without the slash that it may begin with, as policies have it.
            header("x-amz-copy-source").into_iter().map(|source| source.trim_start_matches('/').to_owned()).collect()
        }
        asked if asked.starts_with("x-amz-") => header(asked),
        _ => of_tags(key, tags),
    }
}

fn query(uri: &Uri, name: &str) -> Vec<String> {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    pairs.filter(|(found, _)| *found == name).map(|(_, value)| decoded(value)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn conditions_see_headers_queries_and_tags() {
        let headers = [("x-amz-acl", "private"), ("referer", "http://a"), ("x-amz-copy-source", "/b/k")];
        let headers =
            headers.into_iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect();
        let uri = "/bucket?prefix=a%20b%2F&max-keys=5&list-type=2".parse().unwrap();
        let tags = [("colour".to_owned(), "red".to_owned())];
        let of = |key: &str| of_request(key, &headers, &uri, &tags);
        for (key, value) in [
            ("s3:prefix", "a b/"),
            ("s3:max-keys", "5"),
            ("S3:X-Amz-Acl", "private"),
            ("aws:Referer", "http://a"),
            ("s3:x-amz-copy-source", "b/k"),
            ("s3:RequestObjectTag/colour", "red"),
            ("s3:RequestObjectTagKeys", "colour"),
        ] {
            assert_eq!(of(key), [value], "{key}");
        }
        for none in ["s3:delimiter", "s3:RequestObjectTag/size", "s3:other", "aws:SourceIp", "prefix", "", "s3:x-amz-grant-read"]
        {
            assert!(of(none).is_empty(), "{none}");
        }
    }
}

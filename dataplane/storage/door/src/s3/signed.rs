//! What of a request its signature must hold for, besides what `s3s` checks.
//!
//! A link is given to others, who may not add to it: of version 4, every header that means something to S3 must be among those that are
//! signed; of version 2, what is asked for must be, and it must not be old.

use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, DATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use s3s::S3ErrorCode;

use super::error::Failure;

/// A link is good for at most a week ("Authenticating requests: using query parameters").
const SECONDS_MAX: u32 = 7 * 24 * 60 * 60;
/// Longest query: policies look at all of it.
const QUERY_BYTES_MAX: usize = 16 * 1024;
/// Longest header that policies compare with patterns.
const COMPARED_BYTES_MAX: usize = 2048;
/// What the header of a request begins with that is signed by version 4.
pub(super) const VERSION_4: &str = "AWS4-HMAC-SHA256 ";
/// Clocks differ by no more.
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);
/// What signatures of version 2 hold for, of queries ("Signing and authenticating REST requests"), what is signature itself, and what only
/// says which entries of a listing are wanted.
const VERSION_2: [&str; 57] = [
    "AWSAccessKeyId",
    "Expires",
    "Signature",
    "accelerate",
    "acl",
    "analytics",
    "content-md5",
    "content-type",
    "continuation-token",
    "cors",
    "defaultObjectAcl",
    "delete",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "inventory",
    "key-marker",
    "lifecycle",
    "list-type",
    "location",
    "logging",
    "marker",
    "max-keys",
    "max-parts",
    "max-uploads",
    "metrics",
    "notification",
    "object-lock",
    "part-number-marker",
    "partNumber",
    "policy",
    "prefix",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "start-after",
    "storageClass",
    "tagging",
    "torrent",
    "upload-id-marker",
    "uploadId",
    "uploads",
    "version-id-marker",
    "versionId",
    "versioning",
    "versions",
    "website",
    "x-amz-security-token",
    "x-id",
];

/// Checks what a signature holds for; that it is right is found out later.
pub(super) fn check(request: &Parts) -> Result<(), Failure> {
    let query = request.uri.query().unwrap_or_default();
    if query.len() > QUERY_BYTES_MAX {
        return Err(Failure::bad(format!("what follows the path has at most {QUERY_BYTES_MAX} bytes")));
    }
    for name in ["user-agent", "referer"] {
        if request.headers.get(name).is_some_and(|value| value.len() > COMPARED_BYTES_MAX) {
            return Err(Failure::bad(format!("the header {name} has at most {COMPARED_BYTES_MAX} bytes")));
        }
    }
    let pairs: Vec<(&str, &str)> = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    if let Some((name, _)) = pairs.iter().find(|(name, _)| hides(name)) {
        return Err(Failure::bad(format!("{name:?} is no name of S3's: they are not escaped")));
    }
    let value = |wanted: &str| pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    if value("X-Amz-Expires").is_some_and(|seconds| !is_good_for(seconds)) {
        return Err(Failure::new(S3ErrorCode::AccessDenied, format!("a signed link is good for 1 to {SECONDS_MAX} seconds")));
    }
    let authorization = authorization(&request.headers)?;
    if value("X-Amz-Signature").is_some() {
        let signed = value("X-Amz-SignedHeaders").unwrap_or_default();
        check_headers(&request.headers, &percent_decode_str(signed).decode_utf8_lossy())?;
    } else if let Some(fields) = authorization.strip_prefix(VERSION_4) {
        let signed = fields.split(',').find_map(|field| field.trim().strip_prefix("SignedHeaders="));
        check_headers(&request.headers, signed.unwrap_or_default())?;
    }
    if value("Signature").is_some() {
        check_version_2(&pairs)?;
        let expires: Option<u64> = value("Expires").and_then(|expires| expires.parse().ok());
        let latest = seconds_of(SystemTime::now()) + u64::from(SECONDS_MAX);
        if expires.is_none_or(|expires| expires > latest) {
            return Err(Failure::new(S3ErrorCode::AccessDenied, format!("a signed link is good for 1 to {SECONDS_MAX} seconds")));
        }
    } else if authorization.starts_with("AWS ") {
        check_version_2(&pairs)?;
        check_date(&request.headers)?;
    }
    Ok(())
}

/// Whether a name is one that could be written without escapes: then they are there to hide it from whoever looks for it.
fn hides(name: &str) -> bool {
    let text = percent_decode_str(name).collect::<Vec<u8>>();
    name.contains('%') && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// The header that says whose request it is; none if it is nobody's. Whoever checks signatures reads other things than this as nobody's, too.
fn authorization(headers: &HeaderMap) -> Result<&str, Failure> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let Some(first) = all.next() else { return Ok("") };
    let text = first.to_str().ok().filter(|text| text.starts_with(VERSION_4) || text.starts_with("AWS "));
    text.filter(|_| all.next().is_none())
        .ok_or_else(|| Failure::new(S3ErrorCode::InvalidRequest, "the Authorization is none of S3's"))
}

fn is_good_for(seconds: &str) -> bool {
    seconds.parse().is_ok_and(|seconds: u32| (1..=SECONDS_MAX).contains(&seconds))
}

/// All headers that mean something to S3 are among the names, which lie between semicolons.
fn check_headers(headers: &HeaderMap, signed: &str) -> Result<(), Failure> {
    // What a body is said to be is either signed in another place or found out.
    let needs = |name: &&HeaderName| name.as_str().starts_with("x-amz-") && *name != "x-amz-content-sha256";
    // As whoever checks signatures looks for them: what is written or said otherwise is left out of what is signed.
    let is_signed = |name: &HeaderName| {
        let is_text = headers.get_all(name).iter().all(|value| value.to_str().is_ok());
        is_text && signed.split(';').any(|one| one == name.as_str())
    };
    match headers.keys().filter(needs).find(|name| !is_signed(name)) {
        Some(name) => Err(Failure::new(S3ErrorCode::AccessDenied, format!("the header {name} came and was not signed"))),
        None => Ok(()),
    }
}

/// What a signature of version 2 does not hold for is not asked for, nor anything twice.
fn check_version_2(pairs: &[(&str, &str)]) -> Result<(), Failure> {
    let mut names: Vec<&str> = pairs.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    // Headers that are signed come in the query, too, from botocore.
    let is_known = |name: &str| VERSION_2.contains(&name) || name.starts_with("x-amz-");
    // What is signed is not escaped: a value could be two, and the other way round.
    let folded = pairs.iter().find(|(_, value)| {
        let value = percent_decode_str(value).decode_utf8_lossy();
        value.split('&').skip(1).any(|pair| VERSION_2.contains(&pair.split('=').next().unwrap_or_default()))
    });
    let wrong = twice.or(folded.map(|(name, _)| *name)).or_else(|| names.into_iter().find(|name| !is_known(name)));
    match wrong {
        Some(name) => {
            let message = format!("a signature of version 2 does not hold for {name:?}: sign with version 4");
            Err(Failure::new(S3ErrorCode::AccessDenied, message))
        }
        None => Ok(()),
    }
}

fn check_date(headers: &HeaderMap) -> Result<(), Failure> {
    let date = headers.get("x-amz-date").or_else(|| headers.get(DATE)).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| jiff::fmt::rfc2822::parse(&date.replace("UTC", "GMT")).ok());
    let now = seconds_of(SystemTime::now());
    let seconds = date.and_then(|date| u64::try_from(date.timestamp().as_second()).ok());
    match seconds.filter(|seconds| now.abs_diff(*seconds) <= SKEW_MAX.as_secs()) {
        Some(_) => Ok(()),
        None => Err(Failure::new(S3ErrorCode::RequestTimeTooSkewed, "the request has no date, or not that of now")),
    }
}

fn seconds_of(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::Request;

    use super::*;

    fn checked(uri: &str, headers: &[(&str, &str)]) -> Result<(), String> {
        let request = headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(&parts).map_err(|failure| format!("{}: {}", failure.code().as_str(), failure.message().unwrap_or_default()))
    }

    #[test]
    fn a_link_is_good_for_a_week_at_most() {
        for good in ["/", "/?", "/?a=b", "/?X-Amz-Expires=1", "/?a&X-Amz-Expires=604800&b=c"] {
            assert_eq!(checked(good, &[]), Ok(()), "{good}");
        }
        for bad in ["0", "-1000", "604801", "x", ""] {
            assert!(checked(&format!("/?X-Amz-Expires={bad}"), &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn whoever_has_a_link_adds_nothing_to_it() {
        let link = "/b/k?X-Amz-Signature=1&X-Amz-SignedHeaders=host%3Bx-amz-acl";
        assert_eq!(checked(link, &[("x-amz-acl", "private"), ("content-type", "a/b"), ("x-amz-content-sha256", "x")]), Ok(()));
        for header in ["x-amz-copy-source", "x-amz-meta-a", "X-Amz-Bypass-Governance-Retention", "x-amz-tagging"] {
            assert!(checked(link, &[(header, "x")]).unwrap_err().contains("was not signed"), "{header}");
        }
        let signed = "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;x-amz-date, Signature=1";
        assert_eq!(checked("/b/k", &[("authorization", signed), ("x-amz-date", "x")]), Ok(()));
        assert!(checked("/b/k", &[("authorization", signed), ("x-amz-acl", "x")]).is_err());
        assert!(checked("/b/k", &[("authorization", "AWS4-HMAC-SHA256 x"), ("x-amz-acl", "x")]).is_err());
        // What whoever checks the signature does not see is no less added.
        let capital = signed.replace("x-amz-date", "x-amz-date;X-Amz-Acl");
        assert!(checked("/b/k", &[("authorization", &capital), ("x-amz-date", "x"), ("x-amz-acl", "x")]).is_err());
        for other in ["X Credential=a/b, SignedHeaders=host, Signature=1", "AWS4-HMAC-SHA256\tx", "Bearer x", ""] {
            assert!(checked("/b/k", &[("authorization", other)]).is_err(), "{other}");
        }
        assert!(checked("/b/k", &[("authorization", signed), ("authorization", signed)]).is_err());
        assert_eq!(checked("/b/k", &[("x-amz-acl", "x")]), Ok(()), "of nobody");
    }

    #[test]
    fn names_are_not_hidden_from_policies() {
        assert!(checked("/b/k?version%49d=x", &[]).is_err());
        assert!(checked("/b/k?%61cl", &[]).is_err());
        assert_eq!(checked("/b/app.js?v%5B0%5D=1", &[]), Ok(()), "it is none of S3's");
        assert!(checked(&format!("/b/k?prefix={}", "x".repeat(17_000)), &[]).is_err());
        assert!(checked("/b/k", &[("user-agent", &"x".repeat(3000))]).is_err());
        assert_eq!(checked("/b/k?prefix=a%2Fb+c", &[]), Ok(()));
    }

    #[test]
    fn a_signature_of_version_2_holds_for_all_that_is_asked() {
        let later = seconds_of(SystemTime::now()) + 60;
        let link = format!("/b/k?AWSAccessKeyId=a&Signature=b&Expires={later}");
        assert_eq!(checked(&link, &[]), Ok(()));
        assert_eq!(checked(&format!("{link}&acl"), &[]), Ok(()));
        assert_eq!(checked(&format!("{link}&content-type=a%2Fb&x-amz-acl=private"), &[]), Ok(()), "as botocore has it");
        assert_eq!(checked(&format!("{link}&response-content-disposition=a%26b.txt"), &[]), Ok(()));
        for bad in ["&acl&acl", "&retention", "&legal-hold", "&encryption", "&Signature=c", "&partNumber=1%26uploadId%3D2"] {
            assert!(checked(&format!("{link}{bad}"), &[]).is_err(), "{bad}");
        }
        assert!(checked("/b/k?AWSAccessKeyId=a&Signature=b&Expires=99999999999", &[]).is_err());
        assert!(checked("/b/k?AWSAccessKeyId=a&Signature=b", &[]).is_err());
        let date = httpdate::fmt_http_date(SystemTime::now());
        assert_eq!(checked("/b/k", &[("authorization", "AWS a:b"), ("date", &date)]), Ok(()));
        for zone in ["+0000", "UTC"] {
            assert_eq!(checked("/b/k", &[("authorization", "AWS a:b"), ("x-amz-date", &date.replace("GMT", zone))]), Ok(()));
        }
        let old = httpdate::fmt_http_date(SystemTime::now() - 2 * SKEW_MAX);
        for date in [&old[..], "x", "Tue, 27 Mar 2007 19:36:42 +0000"] {
            let refused = checked("/b/k", &[("authorization", "AWS a:b"), ("date", date)]).unwrap_err();
            assert!(refused.starts_with("RequestTimeTooSkewed"), "{refused}");
        }
    }
}

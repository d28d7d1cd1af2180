//! Pages where people sign in, take an invitation, let a program in, and look after how they sign in. They ask what any client may ask.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use eddy_http::Problem;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue};

const PAGE: &str = include_str!("../../pages/page.html");
/// What the page is made of, by name.
const FILES: [(&str, &str); 9] = [
    ("account.js", include_str!("../../pages/account.js")),
    ("ask.js", include_str!("../../pages/ask.js")),
    ("device.js", include_str!("../../pages/device.js")),
    ("elements.js", include_str!("../../pages/elements.js")),
    ("invitation.js", include_str!("../../pages/invitation.js")),
    ("page.css", include_str!("../../pages/page.css")),
    ("page.js", include_str!("../../pages/page.js")),
    ("passkeys.js", include_str!("../../pages/passkeys.js")),
    ("sign-in.js", include_str!("../../pages/sign-in.js")),
];
/// Only what comes from here runs, nobody shows the page as a part of theirs, and what is typed goes nowhere else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
);

/// The page; which it is, its script sees in its path.
pub(super) async fn page() -> Response {
    said("text/html; charset=utf-8", PAGE)
}

/// A file of it.
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let (name, text) = FILES.iter().find(|(known, _)| *known == name).ok_or_else(|| Problem::not_found("such file"))?;
    Ok(said(if name.ends_with(".css") { "text/css; charset=utf-8" } else { "text/javascript; charset=utf-8" }, text))
}

fn said(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, HeaderValue); 6] = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        // Another version of the platform has another page.
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_ask_for_files_that_there_are_and_for_nothing_else() {
        let all = FILES.iter().map(|(_, text)| *text).chain([PAGE]);
        let mut asked: Vec<String> = Vec::new();
        for text in all {
            for part in text.split(['"', '\'']).filter(|part| !part.contains(char::is_whitespace)) {
                asked.extend(part.strip_prefix("./").or_else(|| part.strip_prefix("/auth/pages/")).map(str::to_owned));
                assert!(!part.starts_with("http") && (part == "//" || !part.starts_with("//")), "{part}");
            }
            assert!(!text.contains("innerHTML") && !text.contains("style="), "all text is text, and styles are of the file");
        }
        asked.sort();
        asked.dedup();
        let known: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        assert_eq!(asked, known);
    }
}

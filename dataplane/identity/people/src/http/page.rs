//! What a person is told whose browser was led here, rather than a script of a page.

use axum::response::{IntoResponse, Response};
use eddy_http::Problem;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::{HeaderMap, HeaderName, HeaderValue};

/// A problem, as a page for whoever asks for one.
pub(super) fn failure(asked: &HeaderMap, problem: Problem) -> Response {
    let accepts = asked.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    if !accepts.flat_map(|accept| accept.split(',')).any(|kind| kind.trim_start().starts_with("text/html")) {
        return problem.into_response();
    }
    let headers: [(HeaderName, HeaderValue); 4] = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        // Nothing of it runs, and nobody shows it as a part of theirs.
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (problem.status, headers, page(&problem.detail)).into_response()
}

fn page(detail: &str) -> String {
    let detail = escaped(detail);
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Signing in did not work</title>\n<h1>Signing in did not work</h1>\n<p>{detail}</p>\n<p><a href=\"/\">Go on</a></p>\n</html>\n"
    )
}

/// Text that is text in HTML, whatever it is.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, letter| {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
        escaped
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_a_page_and_programs_a_problem() {
        let of = |accept: &str| {
            let asked = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            failure(&asked, Problem::bad("x")).headers()[CONTENT_TYPE].to_str().unwrap().to_owned()
        };
        assert_eq!(of("text/html,application/xhtml+xml,*/*;q=0.8"), "text/html; charset=utf-8");
        assert_eq!(of("*/*"), "application/problem+json");
        assert_eq!(of("application/json"), "application/problem+json");
    }

    #[test]
    fn what_a_provider_calls_somebody_is_text() {
        let page = page("<script>alert('x')</script> & \"y\"");
        assert!(
            !page.contains("<script>") && page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;y&quot;")
        );
    }
}

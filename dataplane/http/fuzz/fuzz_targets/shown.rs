//! What strangers show of who they are: never a panic, and a cookie changes nothing for a page of another site.
#![no_main]

use eddy_http::{Shown, is_same_origin};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

const NAMES: [&str; 5] = ["authorization", "cookie", "origin", "host", "sec-fetch-site"];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((which, value)) = line.split_first() else { continue };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(NAMES[usize::from(*which) % NAMES.len()]), value);
        }
    }
    for method in [Method::GET, Method::POST] {
        if let Ok(shown) = Shown::of(&method, &headers) {
            assert!(!shown.is_cookie || method.is_safe() || is_same_origin(&headers));
            assert!(shown.is_cookie != headers.contains_key("authorization"));
        }
    }
});

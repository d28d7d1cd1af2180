//! Headers from strangers: never a panic, a range is within what there is, and a tag that is there matches itself.
#![no_main]

use eddy_storage_door::http::{Asked, Conditions, ContentDigest, State};
use http::{HeaderMap, HeaderName, HeaderValue};

const NAMES: [&str; 7] =
    ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "content-digest", "repr-digest"];

libfuzzer_sys::fuzz_target!(|input: (u64, u64, Vec<(u8, Vec<u8>)>)| {
    let (length, modified_ms, given) = input;
    let mut headers = HeaderMap::new();
    for (name, value) in given.iter().take(16) {
        let name = HeaderName::from_static(NAMES[usize::from(*name) % NAMES.len()]);
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let text = given.first().and_then(|(_, value)| std::str::from_utf8(value).ok());
    if let Asked::Part(range) = Asked::of(text, length) {
        assert!(range.start < range.end && range.end <= length);
    }
    let state = State { etag: "\"tag\"", modified_ms };
    let conditions = Conditions(&headers);
    let _ = (conditions.of_reading(&state), conditions.of_writing(Some(&state)), conditions.of_writing(None));
    let _ = (conditions.heeds_range(&state), conditions.any_of_writing());
    if let Ok(Some(mut digest)) = ContentDigest::announced(&headers) {
        digest.update(b"anything");
        digest.holds();
    }
});

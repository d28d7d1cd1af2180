//! Hosts of strangers' requests: never a panic, and what is taken for a host is one, in one form only.
#![no_main]

use eddy_router::normalize_host;

libfuzzer_sys::fuzz_target!(|authority: &str| {
    if let Ok(host) = normalize_host(authority) {
        assert!(!host.is_empty() && host.len() <= 253);
        assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase() || byte.is_ascii_control() || b"/@?# ".contains(&byte)));
    }
});

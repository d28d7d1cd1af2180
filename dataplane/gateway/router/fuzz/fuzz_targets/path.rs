//! Paths of strangers' requests: never a panic, and no accepted path leaves its prefix once it is decoded.
#![no_main]

use eddy_router::check_path;

/// What the laxest of backends may make of a path: decoded, backslashes for slashes.
fn decoded(path: &str) -> String {
    let once = |bytes: &[u8]| {
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let [first, tail @ ..] = rest {
            let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
            match (first, hex) {
                (b'%', Some(byte)) if !tail.starts_with(b"+") => {
                    out.push(byte);
                    rest = &tail[2..];
                }
                _ => {
                    out.push(*first);
                    rest = tail;
                }
            }
        }
        out
    };
    String::from_utf8_lossy(&once(path.as_bytes())).replace('\\', "/")
}

libfuzzer_sys::fuzz_target!(|path: &str| {
    if check_path(path).is_ok() {
        assert!(path.starts_with('/'));
        assert!(!decoded(path).split('/').any(|element| element == ".." || element == "."), "{path}");
    }
});

//! Policies from who knows whom: never a panic, and nobody is allowed anything by one that names no one but another user.
#![no_main]

use eddy_authz::policy::{Asked, Effect, Policy};

libfuzzer_sys::fuzz_target!(|document: &[u8]| {
    let Ok(policy) = Policy::parse(document, "arn:aws:s3:::bucket") else { return };
    let values = |key: &str| vec![key.to_owned(), "2026-01-01T00:00:00Z".to_owned(), "10.0.0.1".to_owned()];
    let nothing = |_: &str| Vec::new();
    for resource in ["arn:aws:s3:::bucket/key", "arn:aws:s3:::bucket"] {
        let by = |user, of_key: &dyn Fn(&str) -> Vec<String>| policy.decide(&Asked { user, action: "s3:GetObject", resource, of_key });
        by(Some("alice"), &values);
        by(None, &values);
        // Whom it allows without knowing them and without a condition, it allows to anyone.
        if by(None, &nothing) == Some(Effect::Allow) && by(None, &values) == Some(Effect::Allow) {
            let text = String::from_utf8_lossy(document);
            assert!(policy.is_public() || text.contains("Condition"));
        }
    }
});

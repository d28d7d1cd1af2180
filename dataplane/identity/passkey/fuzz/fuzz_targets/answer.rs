//! What strangers send as the answer of an authenticator: never a panic, and never taken, since nothing of it was signed.
#![no_main]

use std::sync::LazyLock;

use eddy_passkey::{Begun, Passkey, Shown, Site};
use serde_json::{Value, json};

static SITE: LazyLock<Site> = LazyLock::new(|| Site::of("https://cloud.example").expect("a site"));
static NEW: LazyLock<Begun> = LazyLock::new(|| SITE.begin_registration("ada", []).expect("a question"));
static AGAIN: LazyLock<Begun> = LazyLock::new(|| SITE.begin_sign_in().expect("a question"));

libfuzzer_sys::fuzz_target!(|text: &str| {
    // Texts are parts of an answer, so that most of what comes is nearly one.
    let mut parts = text.split('\n');
    let mut part = || parts.next().unwrap_or_default();
    let credential = |response: Value, id: &str| json!({"id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {}, "response": response});
    let id = part().to_owned();
    let created = json!({"clientDataJSON": part(), "attestationObject": part(), "transports": ["internal"]});
    assert!(SITE.finish_registration(&NEW.ceremony, &credential(created, &id)).is_err(), "the challenge is nowhere in it");
    let got = json!({"clientDataJSON": part(), "authenticatorData": part(), "signature": part(), "userHandle": part()});
    let kept = serde_json::from_value::<Passkey>(
        json!({"id": part(), "handle": part(), "transports": 0, "fixed": part(), "state": part()}),
    );
    if let (Ok(shown), Ok(kept)) = (Shown::read(&credential(got, &id)), kept) {
        assert!(SITE.finish_sign_in(&AGAIN.ceremony, &shown, &kept).is_err());
    }
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        assert!(SITE.finish_registration(&NEW.ceremony, &value).is_err());
        let _ = Shown::read(&value);
    }
});

//! `Authorization` headers from strangers: never a panic, and what is shown is shown nowhere.
#![no_main]

use eddy_authz::Credential;

libfuzzer_sys::fuzz_target!(|header: &[u8]| {
    if let Some(credential) = Credential::of_header(header) {
        let secret = credential.secret.expose();
        assert!(secret.len() < 16 || credential.id.contains(secret) || !format!("{credential:?}").contains(secret));
    }
});

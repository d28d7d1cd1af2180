//! Passkeys of an authenticator, and of one that lies.

#![allow(clippy::unwrap_used)]

use eddy_passkey::{Ceremony, Passkey, PasskeyError, Shown, Site};
use eddy_passkey_testing::{Authenticator, IS_SYNCED, MAY_BE_SYNCED, PRESENT, VERIFIED};
use proptest::prelude::*;
use serde_json::{Value, json};

const ORIGIN: &str = "https://cloud.example:8443";

fn site() -> Site {
    Site::of(ORIGIN).unwrap()
}

fn registered(authenticator: &mut Authenticator) -> Passkey {
    let begun = site().begin_registration("ada", []).unwrap();
    site().finish_registration(&begun.ceremony, &authenticator.create(&begun.options)).unwrap()
}

/// What the site says of the authenticator's answer to a new question.
fn sign_in(authenticator: &mut Authenticator, kept: &Passkey) -> Result<Passkey, PasskeyError> {
    let begun = site().begin_sign_in().unwrap();
    let shown = Shown::read(&authenticator.get(&begun.options)).unwrap();
    site().finish_sign_in(&begun.ceremony, &shown, kept)
}

fn is_refused<T: std::fmt::Debug>(what: &str, answered: Result<T, PasskeyError>) {
    assert!(matches!(answered, Err(PasskeyError::Refused(_))), "{what}: {answered:?}");
}

#[test]
fn a_passkey_is_registered_kept_and_shown_again() {
    let mut authenticator = Authenticator::at(ORIGIN);
    let passkey = registered(&mut authenticator);
    let written = serde_json::to_string(&passkey).unwrap();
    let kept: Passkey = serde_json::from_str(&written).unwrap();
    assert!(kept == passkey && !kept.is_synced() && kept.uses() == 0);
    let after = sign_in(&mut authenticator, &kept).unwrap();
    assert_eq!((after.id(), after.uses()), (kept.id(), 1));
    assert_eq!(sign_in(&mut authenticator, &after).unwrap().uses(), 2);
}

#[test]
fn browsers_are_asked_for_a_passkey_that_one_unlocks() {
    let begun = site().begin_registration("ada", []).unwrap().options;
    assert_eq!((&begun["rp"]["id"], &begun["user"]["name"]), (&json!("cloud.example"), &json!("ada")));
    assert_eq!(begun["authenticatorSelection"]["residentKey"], "required");
    assert_eq!(begun["authenticatorSelection"]["userVerification"], "required");
    assert_eq!(begun["extensions"]["enforceCredentialProtectionPolicy"], false, "few authenticators can do that");
    let begun = site().begin_sign_in().unwrap().options;
    assert_eq!((&begun["rpId"], &begun["userVerification"]), (&json!("cloud.example"), &json!("required")));
    assert_eq!(begun["allowCredentials"], json!([]), "it says of nobody that they are here");
}

#[test]
fn an_authenticator_is_told_which_passkeys_there_are_and_whose_they_are() {
    let first = registered(&mut Authenticator::at(ORIGIN));
    let begun = site().begin_registration("ada", [&first]).unwrap();
    assert_eq!(begun.options["excludeCredentials"][0]["id"], first.id());
    let mut second = Authenticator::at(ORIGIN);
    let kept = site().finish_registration(&begun.ceremony, &second.create(&begun.options)).unwrap();
    let handle = |passkey: &Passkey| serde_json::to_value(passkey).unwrap()["handle"].clone();
    assert!(handle(&kept) == handle(&first) && kept.id() != first.id());
}

#[test]
fn what_answers_another_question_is_refused() {
    let mut authenticator = Authenticator::at(ORIGIN);
    let kept = registered(&mut authenticator);
    let [asked, other] = [(); 2].map(|()| site().begin_sign_in().unwrap());
    let shown = Shown::read(&authenticator.get(&asked.options)).unwrap();
    is_refused("another challenge", site().finish_sign_in(&other.ceremony, &shown, &kept));
    site().finish_sign_in(&asked.ceremony, &shown, &kept).unwrap();
    let new = site().begin_registration("ada", []).unwrap();
    let answered = site().finish_sign_in(&new.ceremony, &shown, &kept);
    assert!(matches!(answered, Err(PasskeyError::Ceremony)), "a registration is no sign-in: {answered:?}");
    let answer = authenticator.create(&new.options);
    assert!(matches!(site().finish_registration(&asked.ceremony, &answer), Err(PasskeyError::Ceremony)));
    is_refused("another challenge", site().finish_registration(&site().begin_registration("ada", []).unwrap().ceremony, &answer));
}

#[test]
fn what_is_for_another_site_is_refused() {
    for (origin, domain) in [
        ("https://evil.example", None),
        ("https://evil.example", Some("cloud.example")),
        ("http://cloud.example:8443", None),
        ("https://cloud.example", None),
        ("https://x.cloud.example:8443", None),
        (ORIGIN, Some("evil.example")),
    ] {
        let mut authenticator = Authenticator::at(ORIGIN);
        let kept = registered(&mut authenticator);
        (authenticator.origin, authenticator.domain) = (origin.into(), domain.map(str::to_owned));
        is_refused(origin, sign_in(&mut authenticator, &kept));
        let begun = site().begin_registration("ada", []).unwrap();
        is_refused(origin, site().finish_registration(&begun.ceremony, &authenticator.create(&begun.options)));
    }
}

#[test]
fn whoever_did_not_unlock_it_is_refused() {
    for flags in [PRESENT, VERIFIED, 0] {
        let mut authenticator = Authenticator::at(ORIGIN);
        let kept = registered(&mut authenticator);
        authenticator.flags = flags;
        is_refused("unlocked", sign_in(&mut authenticator, &kept));
    }
}

#[test]
fn another_passkey_and_another_person_are_refused() {
    let mut authenticator = Authenticator::at(ORIGIN);
    let kept = registered(&mut authenticator);
    let mut other = Authenticator::at(ORIGIN);
    let others = registered(&mut other);
    is_refused("another passkey", sign_in(&mut other, &kept));
    // Says that it is the one, and cannot sign for it.
    (other.id, other.handle) = (authenticator.id.clone(), authenticator.handle.clone());
    is_refused("another key", sign_in(&mut other, &kept));
    authenticator.handle = serde_json::to_value(&others).unwrap()["handle"].as_str().unwrap().into();
    is_refused("another person", sign_in(&mut authenticator, &kept));
}

#[test]
fn a_copy_of_a_key_of_one_device_is_refused_and_one_of_many_devices_is_not() {
    let mut authenticator = Authenticator::at(ORIGIN);
    let kept = registered(&mut authenticator);
    authenticator.uses = 7;
    let kept = sign_in(&mut authenticator, &kept).unwrap();
    authenticator.uses = 3;
    is_refused("used less often than before", sign_in(&mut authenticator, &kept));

    let mut synced = Authenticator::at(ORIGIN);
    synced.flags |= MAY_BE_SYNCED | IS_SYNCED;
    let kept = registered(&mut synced);
    assert!(kept.is_synced());
    synced.uses = 7;
    let kept = sign_in(&mut synced, &kept).unwrap();
    synced.uses = 3;
    sign_in(&mut synced, &kept).unwrap();
}

#[test]
fn addresses_and_what_is_no_url_have_no_passkeys() {
    for url in ["", "cloud.example", "https://192.0.2.1", "https://[2001:db8::1]:8443", "https://"] {
        assert!(Site::of(url).is_none(), "{url}");
    }
    assert!(Site::of("http://localhost:8080").is_some());
}

#[test]
fn what_is_no_answer_of_a_browser_is_said_to_be_none() {
    let begun = site().begin_registration("ada", []).unwrap();
    let answer = Authenticator::at(ORIGIN).create(&begun.options);
    let without = |field: &str| {
        let mut answer = answer.clone();
        answer["response"].as_object_mut().unwrap().remove(field);
        answer
    };
    for answer in [json!(null), json!({}), json!([1]), without("clientDataJSON"), without("attestationObject")] {
        let said = site().finish_registration(&begun.ceremony, &answer);
        assert!(matches!(said, Err(PasskeyError::Form(_))), "{answer}: {said:?}");
        assert!(Shown::read(&answer).is_err());
    }
}

/// Changes one letter of a string somewhere in an answer.
fn changed(answer: &Value, field: &str, at: usize, letter: u8) -> Value {
    let mut answer = answer.clone();
    let mut text = answer["response"][field].as_str().unwrap().as_bytes().to_vec();
    let at = at % text.len();
    text[at] = if text[at] == letter { b'-' } else { letter };
    answer["response"][field] = String::from_utf8(text).unwrap().into();
    answer
}

proptest! {
    #[test]
    fn an_answer_of_which_a_letter_was_changed_is_never_taken(
        field in prop::sample::select(vec!["clientDataJSON", "authenticatorData", "signature", "userHandle"]),
        at: usize,
        letter in prop::sample::select(b"ABCxyz019_".to_vec()),
    ) {
        let mut authenticator = Authenticator::at(ORIGIN);
        let kept = registered(&mut authenticator);
        let begun = site().begin_sign_in().unwrap();
        let answer = authenticator.get(&begun.options);
        if let Ok(shown) = Shown::read(&changed(&answer, field, at, letter)) {
            prop_assert!(site().finish_sign_in(&begun.ceremony, &shown, &kept).is_err());
        }
    }

    #[test]
    fn whatever_is_kept_or_asked_nothing_panics(bytes: Vec<u8>, fields in prop::collection::vec("[A-Za-z0-9_-]{0,60}", 4)) {
        let mut authenticator = Authenticator::at(ORIGIN);
        let kept = registered(&mut authenticator);
        let begun = site().begin_sign_in().unwrap();
        let shown = Shown::read(&authenticator.get(&begun.options)).unwrap();
        prop_assert!(site().finish_sign_in(&Ceremony::SignIn(bytes.clone()), &shown, &kept).is_err());
        let registered = site().finish_registration(&Ceremony::Registration(bytes), &json!({}));
        prop_assert!(registered.is_err());
        let broken = json!({"id": fields[0], "handle": fields[1], "transports": 0, "fixed": fields[2], "state": fields[3]});
        if let Ok(broken) = serde_json::from_value::<Passkey>(broken) {
            prop_assert!(site().finish_sign_in(&begun.ceremony, &shown, &broken).is_err());
            let _ = (broken.is_synced(), broken.uses(), site().begin_registration("ada", [&broken]).is_ok());
        }
    }
}

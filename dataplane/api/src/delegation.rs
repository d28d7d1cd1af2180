//! What principals may give on: no Token and no ServiceAccount may more than whoever makes it.
//!
//! Whoever shows a token without limits may give on all that is their user's. Whoever shows less may make Tokens and ServiceAccounts
//! of scopes that they hold themselves; and a ServiceAccount only Tokens of its own, so that whatever is taken from it later is
//! taken from those as well.

use eddy_authz::{Kind, Principal, Resource, Scope};
use jiff::Timestamp;
use serde_json::Value;

/// Whether an object gives on no more than its maker has.
///
/// # Errors
/// What it gives that they do not have, as a sentence.
pub(crate) fn check(who: &Principal, kind: Kind, object: &Value) -> Result<(), String> {
    let spec = &object["spec"];
    match kind {
        Kind::Users if who.is_limited() => return Err("whoever showed a token with limits changes no Users".to_owned()),
        Kind::Containers if who.is_limited() && !spec["access"].is_null() => {
            return Err("whoever showed a token with limits lets nobody into Containers: leave spec.access out".to_owned());
        }
        Kind::Tokens => ends_no_later(who, spec)?,
        _ => {}
    }
    if !who.is_limited() || !matches!(kind, Kind::Tokens | Kind::ServiceAccounts) {
        return Ok(());
    }
    if kind == Kind::Tokens {
        if let Some(account) = who.account()
            && spec["serviceAccount"].as_str() != Some(account)
        {
            return Err(format!("a ServiceAccount makes Tokens of its own: spec.serviceAccount must be {account:?}"));
        }
        if spec["scopes"].as_array().is_none_or(Vec::is_empty) {
            return Err("whoever showed a token with limits must say which scopes another gets: spec.scopes".to_owned());
        }
    }
    spec["scopes"].as_array().into_iter().flatten().try_for_each(|written| held(who, written))
}

/// Whether it must be seen what an object becomes before whoever asks may change it.
pub(crate) fn is_judged(who: &Principal, kind: Kind) -> bool {
    match kind {
        Kind::Tokens => who.is_limited() || ends_s(who).is_some(),
        Kind::ServiceAccounts | Kind::Users | Kind::Containers => who.is_limited(),
        _ => false,
    }
}

/// A Token ends no later than the one that it was made with.
fn ends_no_later(who: &Principal, spec: &Value) -> Result<(), String> {
    let Some(end_s) = ends_s(who) else { return Ok(()) };
    let said = spec["expiresAt"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    match said {
        Some(said) if said.as_second() <= end_s => Ok(()),
        _ => Err("what you showed ends, and a Token of it no later: say spec.expiresAt".to_owned()),
    }
}

/// When what they showed ends, if what they make of it must. Whoever has signed in is there themselves, and makes what they like.
fn ends_s(who: &Principal) -> Option<i64> {
    who.expires_s().filter(|_| !who.is_session())
}

fn held(who: &Principal, written: &Value) -> Result<(), String> {
    let text = written["scope"].as_str().unwrap_or_default();
    let actions = written["actions"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let scope = Scope::parse(text, actions).map_err(|error| error.to_string())?;
    let resource = Resource { owner: &scope.owner, kind: scope.kind, id: scope.id.as_deref().unwrap_or_default() };
    match scope.actions.iter().find(|action| !who.holds(*action, &resource)) {
        Some(action) => Err(format!("what you showed does not hold {action} on {text}, and cannot give it on")),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use eddy_authz::Scopes;
    use serde_json::json;

    fn scopes(all: &[(&str, &[&str])]) -> Scopes {
        all.iter().map(|(scope, actions)| Scope::parse(scope, actions.iter().copied()).unwrap()).collect()
    }

    fn given(scopes: &[(&str, &[&str])], account: Option<&str>) -> Value {
        let scopes: Vec<_> = scopes.iter().map(|(scope, actions)| json!({"scope": scope, "actions": actions})).collect();
        json!({"spec": {"scopes": scopes, "serviceAccount": account}})
    }

    #[test]
    fn nobody_gives_on_more_than_they_have() {
        let photos = || scopes(&[("storage.ada.files.photos", &["list", "read"]), ("identity.ada.tokens", &["create"])]);
        let (all, some) = (Principal::of_user("ada"), Principal::of_user("ada").within(photos()));
        let token = |who: &Principal, scopes: &[(&str, &[&str])]| check(who, Kind::Tokens, &given(scopes, None)).is_ok();
        assert!(token(&all, &[]) && token(&all, &[("storage.ada.files", &["write"])]));
        assert!(token(&some, &[("storage.ada.files.photos", &["read"])]));
        assert!(token(&some, &[("storage.ada.files.photos/2026", &["list", "read"])]));
        for wrong in [
            &[("storage.ada.files", &["read"][..])][..],
            &[("storage.ada.files.photos", &["read", "write"])],
            &[("storage.bob.files.photos", &["read"])],
            &[("storage.ada.files.photos", &["read"]), ("compute.ada.containers", &["exec"])],
            &[("nonsense", &["read"])],
            // None at all is all of them.
            &[],
        ] {
            assert!(!token(&some, wrong), "{wrong:?}");
        }
        assert!(check(&some, Kind::ServiceAccounts, &given(&[], None)).is_ok(), "it may nothing");
        assert!(check(&some, Kind::ServiceAccounts, &given(&[("storage.ada.files", &["read"])], None)).is_err());
        assert!(check(&some, Kind::Containers, &json!({})).is_ok());
        assert!(check(&some, Kind::Containers, &json!({"spec": {"access": {"exec": ["user/bob"]}}})).is_err());
        assert!(check(&some, Kind::Users, &json!({})).is_err() && check(&all, Kind::Users, &json!({})).is_ok());
    }

    #[test]
    fn a_token_ends_no_later_than_the_one_that_makes_it() {
        let who = Principal::of_user("ada").until(Some(1000));
        let ends = |text: Value| check(&who, Kind::Tokens, &json!({"spec": {"expiresAt": text}})).is_ok();
        assert!(ends(json!("1970-01-01T00:16:40Z")));
        assert!(!ends(json!("1970-01-01T00:16:41Z")) && !ends(Value::Null) && !ends(json!("soon")));
        // Whoever has signed in is there themselves.
        let signed_in = who.clone().in_session();
        assert!(check(&signed_in, Kind::Tokens, &json!({"spec": {}})).is_ok() && !is_judged(&signed_in, Kind::Tokens));
        assert!(is_judged(&who, Kind::Tokens));
    }

    #[test]
    fn a_service_account_makes_tokens_of_its_own() {
        let held = scopes(&[("storage.ada.files", &["read"])]);
        let ci = Principal::of_user("ada").for_account("ci".into(), held);
        let read: &[(&str, &[&str])] = &[("storage.ada.files", &["read"])];
        for (account, good) in [(Some("ci"), true), (Some("other"), false), (None, false)] {
            assert_eq!(check(&ci, Kind::Tokens, &given(read, account)).is_ok(), good, "{account:?}");
        }
    }
}

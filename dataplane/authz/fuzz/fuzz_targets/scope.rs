//! Scopes and tokens from strangers, and entries of the store: never a panic, and what is read is written the same.
#![no_main]

use eddy_authz::{Action, Permissions, Resource, Scope, Scopes, Token};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (scope, actions) = text.split_once('\n').unwrap_or((text, "read"));
    if let Ok(read) = Scope::parse(scope, actions.split(' ')) {
        assert_eq!(read.to_string(), scope);
        let id = read.id.clone().unwrap_or_default();
        let resource = Resource { owner: &read.owner.clone(), kind: read.kind, id: &id };
        let actions = read.actions;
        let set: Scopes = [read].into_iter().collect();
        assert!(Action::ALL.iter().all(|action| set.hold(*action, &resource) == actions.has(*action)));
    }
    if let Some(token) = Token::parse(text) {
        assert_eq!(token.expose(), text);
    }
    Permissions::default().set(scope, Some(actions.as_bytes()));
});

//! Many principals, each with a token and many scopes.

use eddy_authz::{
    AccountEntry, Entry, Permissions, Scope, Scopes, Token, TokenEntry, UserEntry, account_key, token_key, user_key,
};

/// Scopes of each ServiceAccount.
pub(crate) const SCOPES: usize = 20;

/// So many ServiceAccounts with so many scopes each, a user to ten of them, and a token of each.
pub(crate) fn filled(principals: usize) -> (Permissions, Vec<Token>) {
    let permissions = Permissions::default();
    let put = |key: String, entry: Entry| {
        let bytes = entry.to_bytes().expect("text and numbers");
        permissions.set(&key, Some(&bytes));
    };
    let mut tokens = Vec::with_capacity(principals);
    for number in 0..principals {
        let (user, name) = (format!("user-{}", number / 10), format!("account-{number}"));
        put(user_key(&user), Entry::User(UserEntry::default()));
        put(account_key(&user, &name), Entry::Account(AccountEntry { suspended: false, scopes: scopes(&user) }));
        let token = Token::draw().expect("randomness");
        let entry = TokenEntry {
            user: user.as_str().into(),
            name: name.as_str().into(),
            account: Some(name.as_str().into()),
            scopes: None,
            hash: token.hash(),
            expires_s: Some(i64::MAX),
        };
        put(token_key(token.id()), Entry::Token(entry));
        tokens.push(token);
    }
    (permissions, tokens)
}

fn scopes(user: &str) -> Scopes {
    let kinds = ["compute.{}.containers", "compute.{}.vms", "storage.{}.files", "networking.{}.routes"];
    let scope = |number: usize| {
        let kind = kinds[number % kinds.len()].replace("{}", user);
        Scope::parse(&format!("{kind}.thing-{number}"), ["read", "delete"]).expect("a scope")
    };
    (0..SCOPES).map(scope).collect()
}

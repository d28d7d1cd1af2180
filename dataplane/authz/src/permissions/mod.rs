//! Everything that identity says, in memory: who a token stands for, and what they may.
//!
//! A token names its principal, which is looked up when the token is shown, so that whatever happens to a user or a ServiceAccount
//! has happened to all of their tokens. What is looked up is one entry each, and entries are swapped whole.

mod entry;
mod rows;

use std::sync::Arc;

use crate::catalog::Action;
use crate::principal::Principal;
use crate::scope::Resource;
use crate::token::{Token, TokenHash};

pub use self::entry::{
    AccessEntry, AccountEntry, Entry, SessionEntry, SubjectEntry, Table, TokenEntry, UserEntry, access_key, account_key,
    session_key, subject_digest, subject_key, token_key, user_key,
};
use self::entry::{account_of, object_of};
use self::rows::Rows;

/// What identity says. Empty at first: nobody may anything.
#[derive(Default)]
pub struct Permissions(Rows);

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody has such a token: it was never one, or it was deleted, or its principal was.
    #[error("the token is not known: it was never one, or it was deleted")]
    Unknown,
    /// It was one until then.
    #[error("the token has expired")]
    Expired,
    /// Its user or ServiceAccount is suspended.
    #[error("the token's principal is suspended")]
    Suspended,
    /// What is known is too old to say.
    #[error("identity was not heard of lately, and whose token this is cannot be known; try again later")]
    Stale,
}

impl Permissions {
    /// Whom a token stands for at a time, in seconds since 1970.
    ///
    /// # Errors
    /// See [`Refused`]. What is not the token that it seems to be is unknown, whatever became of that.
    pub fn authenticate(&self, token: &Token, now_s: i64) -> Result<Principal, Refused> {
        let known = self.0.get(Table::Tokens, token.id()).or_else(|| self.0.get(Table::Sessions, token.id()));
        match known.as_deref() {
            Some(Entry::Token(known)) if known.hash.is(&token.hash()) => self.principal(known, now_s),
            Some(Entry::Session(known)) if known.hash.is(&token.hash()) => self.in_session(known, now_s),
            _ => Err(Refused::Unknown),
        }
    }

    /// The hash of a token of this id, and whom it stands for at a time: for whoever knows by a signature that its secret is theirs.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn signer(&self, id: &str, now_s: i64) -> Result<(TokenHash, Principal), Refused> {
        let known = self.0.get(Table::Tokens, id).or_else(|| self.0.get(Table::Sessions, id));
        match known.as_deref() {
            Some(Entry::Token(known)) => Ok((known.hash, self.principal(known, now_s)?)),
            Some(Entry::Session(known)) => Ok((known.hash, self.in_session(known, now_s)?)),
            _ => Err(Refused::Unknown),
        }
    }

    /// Whom a token stands for whose secret was checked already.
    fn principal(&self, token: &TokenEntry, now_s: i64) -> Result<Principal, Refused> {
        let mut principal = self.user_until(&token.user, token.expires_s, now_s)?.by_token(token.name.clone());
        if let Some(name) = &token.account {
            let account = self.0.get(Table::Accounts, &account_of(&token.user, name));
            let Some(Entry::Account(account)) = account.as_deref() else { return Err(Refused::Unknown) };
            if account.suspended {
                return Err(Refused::Suspended);
            }
            principal = principal.for_account(name.clone(), account.scopes.clone());
        }
        Ok(match &token.scopes {
            Some(scopes) => principal.within(scopes.clone()),
            None => principal,
        })
    }

    /// Who has signed in, whose secret was checked already.
    fn in_session(&self, session: &SessionEntry, now_s: i64) -> Result<Principal, Refused> {
        let user = self.user_until(&session.user, Some(session.expires_s), now_s)?.in_session();
        Ok(if session.admin { user.as_admin() } else { user })
    }

    /// A user, for whoever showed something that is good until then.
    fn user_until(&self, name: &Arc<str>, expires_s: Option<i64>, now_s: i64) -> Result<Principal, Refused> {
        if expires_s.is_some_and(|expires_s| expires_s <= now_s) {
            return Err(Refused::Expired);
        }
        let user = self.user(name).ok_or(Refused::Unknown)?;
        if user.suspended {
            return Err(Refused::Suspended);
        }
        let principal = Principal::of_user(name.clone()).until(expires_s);
        Ok(if user.admin { principal.as_admin() } else { principal })
    }

    /// Whether a principal may: since they own it, or since it is shared with them.
    pub fn may(&self, who: &Principal, action: Action, resource: &Resource<'_>) -> bool {
        who.may(action, resource) || (who.holds(action, resource) && self.shares(who, action, resource))
    }

    fn shares(&self, who: &Principal, action: Action, resource: &Resource<'_>) -> bool {
        let access = self.0.get(Table::Access, &object_of(resource.kind, resource.owner, resource.id));
        matches!(access.as_deref(), Some(Entry::Access(access)) if access.allows(&who.name(), action))
    }

    /// Whether somebody is a user.
    pub fn is_user(&self, name: &str) -> bool {
        self.user(name).is_some()
    }

    /// A user of this name, if there is one.
    pub fn user(&self, name: &str) -> Option<UserEntry> {
        match self.0.get(Table::Users, name).as_deref() {
            Some(Entry::User(user)) => Some(*user),
            _ => None,
        }
    }

    /// Who somebody is here whom a provider knows, by [`subject_digest`].
    pub fn user_of_subject(&self, digest: &str) -> Option<Arc<str>> {
        match self.0.get(Table::Subjects, digest).as_deref() {
            Some(Entry::Subject(subject)) => Some(subject.user.clone()),
            _ => None,
        }
    }

    /// Whether a session of this id is known.
    pub fn is_session(&self, id: &str) -> bool {
        self.0.get(Table::Sessions, id).is_some()
    }

    /// Takes an entry in the place of the one of this key, or takes that away. What this version cannot read grants nothing.
    pub fn set(&self, key: &str, bytes: Option<&[u8]>) {
        if let Some((table, name)) = Table::of_key(key) {
            self.0.set(table, name, bytes.and_then(|bytes| read(table, key, bytes)));
        }
    }

    /// Takes these entries in the place of all.
    pub fn replace<'a>(&self, all: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
        self.0.replace(all.into_iter().filter_map(|(key, bytes)| {
            let (table, name) = Table::of_key(key)?;
            Some((table, name, read(table, key, bytes)?))
        }));
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn read(table: Table, key: &str, bytes: &[u8]) -> Option<Entry> {
    let read = Entry::parse(table, bytes);
    read.inspect_err(|error| tracing::warn!(key, %error, "what identity says of this cannot be read, and grants nothing")).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::catalog::Kind;
    use crate::scope::Scope;
    use crate::scopes::Scopes;

    const NOW_S: i64 = 1000;

    fn scopes(all: &[(&str, &[&str])]) -> Scopes {
        all.iter().map(|(scope, actions)| Scope::parse(scope, actions.iter().copied()).unwrap()).collect()
    }

    fn set(permissions: &Permissions, key: &str, entry: Entry) {
        permissions.set(key, Some(&entry.to_bytes().unwrap()));
    }

    #[test]
    fn a_session_is_its_user_until_it_ends_and_is_no_token() {
        let (permissions, secret) = (Permissions::default(), Token::draw().unwrap());
        user(&permissions, "ada", false, false);
        let entry = SessionEntry { user: "ada".into(), hash: secret.hash(), expires_s: NOW_S + 1, admin: false };
        set(&permissions, &session_key(secret.id()), Entry::Session(entry));
        let who = permissions.authenticate(&secret, NOW_S).unwrap();
        assert!(who.is_session() && who.token().is_none() && !who.is_limited() && who.user() == "ada");
        assert_eq!(permissions.authenticate(&secret, NOW_S + 1), Err(Refused::Expired));
        // Links are signed by it, and end with it. Nobody is told what signs requests of S3.
        assert!(permissions.signer(secret.id(), NOW_S).unwrap().1.is_session());
        user(&permissions, "ada", false, true);
        assert_eq!(permissions.authenticate(&secret, NOW_S), Err(Refused::Suspended));
        user(&permissions, "ada", false, false);
        assert!(!permissions.authenticate(&secret, NOW_S).unwrap().is_admin());
        let entry = SessionEntry { user: "ada".into(), hash: secret.hash(), expires_s: NOW_S + 1, admin: true };
        set(&permissions, &session_key(secret.id()), Entry::Session(entry));
        assert!(permissions.authenticate(&secret, NOW_S).unwrap().is_admin(), "in this session only");
        assert!(!permissions.authenticate(&token(&permissions, None, None, None), NOW_S).unwrap().is_admin());
        permissions.set(&session_key(secret.id()), None);
        assert_eq!(permissions.authenticate(&secret, NOW_S), Err(Refused::Unknown));
    }

    #[test]
    fn somebody_at_a_provider_is_whoever_identity_says() {
        let permissions = Permissions::default();
        let digest = subject_digest("https://id.example", "7");
        set(&permissions, &subject_key(&digest), Entry::Subject(SubjectEntry { user: "ada".into() }));
        assert_eq!(permissions.user_of_subject(&digest).as_deref(), Some("ada"));
        // What is the issuer's and what is the subject's is told apart.
        assert_ne!(digest, subject_digest("https://id.example7", ""));
        assert_eq!(permissions.user_of_subject(&subject_digest("https://id.example", "8")), None);
    }

    fn user(permissions: &Permissions, name: &str, admin: bool, suspended: bool) {
        set(permissions, &user_key(name), Entry::User(UserEntry { admin, suspended, since_s: 0 }));
    }

    fn account(permissions: &Permissions, name: &str, suspended: bool, scopes: Scopes) {
        set(permissions, &account_key("ada", name), Entry::Account(AccountEntry { suspended, scopes }));
    }

    fn token(permissions: &Permissions, account: Option<&str>, scopes: Option<Scopes>, expires_s: Option<i64>) -> Token {
        let token = Token::draw().unwrap();
        let entry = TokenEntry {
            user: "ada".into(),
            name: "t".into(),
            account: account.map(Into::into),
            scopes,
            hash: token.hash(),
            expires_s,
        };
        set(permissions, &token_key(token.id()), Entry::Token(entry));
        token
    }

    fn files<'a>(owner: &'a str, id: &'a str) -> Resource<'a> {
        Resource { owner, kind: Kind::Files, id }
    }

    #[test]
    fn a_token_stands_for_its_user_until_it_ends() {
        let permissions = Permissions::default();
        user(&permissions, "ada", false, false);
        let good = token(&permissions, None, None, Some(NOW_S + 1));
        let who = permissions.authenticate(&good, NOW_S).unwrap();
        assert!(
            permissions.may(&who, Action::Write, &files("ada", "x")) && !permissions.may(&who, Action::Read, &files("bob", "x"))
        );
        assert_eq!(permissions.authenticate(&good, NOW_S + 1), Err(Refused::Expired));
        assert_eq!(permissions.authenticate(&Token::draw().unwrap(), NOW_S), Err(Refused::Unknown));
        permissions.set(&token_key(good.id()), None);
        assert_eq!(permissions.authenticate(&good, NOW_S), Err(Refused::Unknown));
    }

    #[test]
    fn another_secret_of_the_same_token_is_unknown_and_not_expired() {
        let permissions = Permissions::default();
        user(&permissions, "ada", false, false);
        let ended = token(&permissions, None, None, Some(NOW_S));
        let other = Token::draw().unwrap();
        let entry = TokenEntry {
            user: "ada".into(),
            name: "t".into(),
            account: None,
            scopes: None,
            hash: other.hash(),
            expires_s: Some(NOW_S),
        };
        set(&permissions, &token_key(ended.id()), Entry::Token(entry));
        assert_eq!(permissions.authenticate(&ended, NOW_S), Err(Refused::Unknown));
    }

    #[test]
    fn what_happens_to_its_principal_happens_to_a_token_at_once() {
        let permissions = Permissions::default();
        user(&permissions, "ada", false, false);
        account(&permissions, "ci", false, scopes(&[("storage.ada.files", &["read", "write"])]));
        let token = token(&permissions, Some("ci"), Some(scopes(&[("storage.ada.files.photos", &["read", "delete"])])), None);
        let may = |action, id: &str| {
            let who = permissions.authenticate(&token, NOW_S)?;
            Ok::<_, Refused>(permissions.may(&who, action, &files("ada", id)))
        };
        assert_eq!((may(Action::Read, "photos/a"), may(Action::Read, "other")), (Ok(true), Ok(false)));
        // Its scopes have it, its account's have not; and the other way round.
        assert_eq!((may(Action::Delete, "photos"), may(Action::Write, "photos")), (Ok(false), Ok(false)));
        account(&permissions, "ci", false, scopes(&[("storage.ada.files", &["write"])]));
        assert_eq!(may(Action::Read, "photos"), Ok(false));
        account(&permissions, "ci", true, scopes(&[("storage.ada.files", &["read"])]));
        assert_eq!(may(Action::Read, "photos"), Err(Refused::Suspended));
        account(&permissions, "ci", false, scopes(&[("storage.ada.files", &["read"])]));
        user(&permissions, "ada", false, true);
        assert_eq!(may(Action::Read, "photos"), Err(Refused::Suspended));
        user(&permissions, "ada", false, false);
        assert_eq!(may(Action::Read, "photos"), Ok(true));
        permissions.set(&account_key("ada", "ci"), None);
        assert_eq!(may(Action::Read, "photos"), Err(Refused::Unknown));
        account(&permissions, "ci", false, scopes(&[("storage.ada.files", &["read"])]));
        permissions.set(&user_key("ada"), None);
        assert_eq!(may(Action::Read, "photos"), Err(Refused::Unknown));
    }

    #[test]
    fn nobody_holds_of_others_what_is_not_shared_with_them() {
        let permissions = Permissions::default();
        user(&permissions, "ada", false, false);
        let others = scopes(&[("compute.bob.containers", &["read", "exec"]), ("storage.bob.files", &["read"])]);
        let token = token(&permissions, None, Some(others), None);
        let who = permissions.authenticate(&token, NOW_S).unwrap();
        let web = Resource { owner: "bob", kind: Kind::Containers, id: "web" };
        assert!(!permissions.may(&who, Action::Exec, &web) && !permissions.may(&who, Action::Read, &files("bob", "x")));
        let access = AccessEntry([("user/ada".to_owned(), vec!["exec".to_owned(), "delete".to_owned()])].into());
        set(&permissions, &access_key(Kind::Containers, "bob", "web"), Entry::Access(access));
        assert!(permissions.may(&who, Action::Exec, &web));
        // Shared, and not within the token's scopes; within them, and not shared; another one.
        assert!(!permissions.may(&who, Action::Delete, &web) && !permissions.may(&who, Action::Read, &web));
        assert!(!permissions.may(&who, Action::Exec, &Resource { id: "web2", ..web }));
        user(&permissions, "ada", true, false);
        let who = permissions.authenticate(&token, NOW_S).unwrap();
        assert!(permissions.may(&who, Action::Read, &web), "an administrator holds it");
        assert!(!permissions.may(&who, Action::Delete, &Resource { id: "", ..web }), "and no more by this token");
    }

    #[test]
    fn what_cannot_be_read_grants_nothing() {
        let permissions = Permissions::default();
        user(&permissions, "ada", false, false);
        let token = token(&permissions, None, None, None);
        for bytes in [&b"{"[..], b"", b"null", b"\xff", br#"{"user":"ada"}"#] {
            permissions.set(&token_key(token.id()), Some(bytes));
            assert_eq!(permissions.authenticate(&token, NOW_S), Err(Refused::Unknown));
        }
        permissions.set("wand.x", Some(b"{}"));
        permissions.set("user.", Some(b"{}"));
        permissions.replace([("wand.x", &b"{}"[..]), ("user.bob", b"{}"), ("user.eve", b"no")]);
        assert_eq!((permissions.len(), permissions.is_user("bob"), permissions.is_user("ada")), (1, true, false));
    }
}

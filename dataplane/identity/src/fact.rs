//! What one object says of permissions.

use eddy_authz::{
    AccessEntry, AccountEntry, Action, Entry, Kind, Scope, Scopes, SubjectEntry, TokenEntry, TokenHash, UserEntry, access_key,
    account_key, subject_digest, subject_key, token_key, user_key,
};
use eddy_crds::{Container, ServiceAccount, Token, TokenSecret, User};
use jiff::Timestamp;
use kube::{Resource, ResourceExt};

/// What one object says: entries of the permission store, if its owner is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fact {
    /// When the object was made.
    pub(crate) made: Option<Timestamp>,
    pub(crate) entries: Vec<(String, Entry)>,
}

/// A kind that says something of permissions.
pub(crate) trait Says: Resource<DynamicType = ()> {
    /// The kind's name among all facts.
    const KIND: &'static str;

    /// The entries that the object is, where it is this user's.
    fn entries(&self, owner: &str) -> Vec<(String, Entry)>;
}

impl Fact {
    /// What an object of a user says; nothing once it is on its way out.
    pub(crate) fn of<K: Says>(object: &K, owner: &str) -> Self {
        let made = object.meta().creation_timestamp.as_ref().map(|time| time.0);
        let is_there = object.meta().deletion_timestamp.is_none();
        Self { made, entries: if is_there { object.entries(owner) } else { Vec::new() } }
    }
}

impl Says for User {
    const KIND: &'static str = "User";

    fn entries(&self, owner: &str) -> Vec<(String, Entry)> {
        let since_s = self.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
        let user = Entry::User(UserEntry { admin: self.spec.admin, suspended: self.spec.suspended, since_s });
        let subjects = self.spec.oidc_subjects.iter().map(|known| {
            let entry = SubjectEntry { user: owner.into() };
            (subject_key(&subject_digest(&known.issuer, &known.subject)), Entry::Subject(entry))
        });
        std::iter::once((user_key(owner), user)).chain(subjects).collect()
    }
}

impl Says for ServiceAccount {
    const KIND: &'static str = "ServiceAccount";

    fn entries(&self, owner: &str) -> Vec<(String, Entry)> {
        let entry = AccountEntry { suspended: self.spec.suspended, scopes: scopes(&self.spec.scopes) };
        vec![(account_key(owner, &self.name_any()), Entry::Account(entry))]
    }
}

impl Says for Token {
    const KIND: &'static str = "Token";

    fn entries(&self, owner: &str) -> Vec<(String, Entry)> {
        let secrets = self.status.iter().flat_map(|status| &status.secrets);
        secrets.filter_map(|secret| Some((token_key(&secret.id), Entry::Token(token_entry(owner, self, secret)?)))).collect()
    }
}

impl Says for Container {
    const KIND: &'static str = "Container";

    fn entries(&self, owner: &str) -> Vec<(String, Entry)> {
        let access = access(self);
        let key = access_key(Kind::Containers, owner, &self.name_any());
        if access.0.is_empty() { Vec::new() } else { vec![(key, Entry::Access(access))] }
    }
}

/// What of scopes are any: whoever wrote the others is told so in the object's status.
fn scopes(written: &[eddy_crds::Scope]) -> Scopes {
    written.iter().filter_map(|one| Scope::parse(&one.scope, one.actions.iter().map(String::as_str)).ok()).collect()
}

fn token_entry(owner: &str, token: &Token, secret: &TokenSecret) -> Option<TokenEntry> {
    let ends = [token.spec.expires_at.as_ref(), secret.expires_at.as_ref()];
    Some(TokenEntry {
        user: owner.into(),
        name: token.name_any().into(),
        account: token.spec.service_account.as_deref().map(Into::into),
        // None of them may be any: that is no token without limits.
        scopes: (!token.spec.scopes.is_empty()).then(|| scopes(&token.spec.scopes)),
        hash: TokenHash::parse(&secret.hash)?,
        expires_s: ends.into_iter().flatten().map(|end| end.0.as_second()).min(),
    })
}

fn access(container: &Container) -> AccessEntry {
    let mut entry = AccessEntry::default();
    let Some(access) = &container.spec.access else { return entry };
    let manage = [Action::Read, Action::Update, Action::Delete];
    for (principals, actions) in [
        (&access.ssh, &[Action::Ssh][..]),
        (&access.logs, &[Action::Logs]),
        (&access.exec, &[Action::Exec]),
        (&access.manage, &manage),
    ] {
        for principal in principals {
            let held = entry.0.entry(principal.clone()).or_default();
            held.extend(actions.iter().map(|action| action.as_str().to_owned()));
        }
    }
    entry
}

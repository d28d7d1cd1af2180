//! What identity says of users and of what stands for them: the entries of the permission store, each under a key of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::catalog::{Action, Kind};
use crate::scopes::Scopes;
use crate::token::TokenHash;

/// A user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEntry {
    /// They manage every tenant.
    #[serde(default)]
    pub admin: bool,
    /// Nothing that stands for them is accepted.
    #[serde(default)]
    pub suspended: bool,
    /// When they became a user, in seconds since 1970: what is older was of another of the same name.
    #[serde(default)]
    pub since_s: i64,
}

/// A ServiceAccount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountEntry {
    /// Its tokens are refused.
    #[serde(default)]
    pub suspended: bool,
    /// What it may, of what its user may.
    pub scopes: Scopes,
}

/// One secret of a Token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenEntry {
    /// Whose it is.
    pub user: Arc<str>,
    /// The Token's name.
    pub name: Arc<str>,
    /// The ServiceAccount that it stands for; its user if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Arc<str>>,
    /// What it may, of what its principal may; all of that if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Scopes>,
    /// The hash of its secret.
    pub hash: TokenHash,
    /// When it ends, in seconds since 1970; never if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<i64>,
}

/// Somebody who has signed in, and shows a secret of the form of a token for as long as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionEntry {
    /// Who.
    pub user: Arc<str>,
    /// The hash of the secret.
    pub hash: TokenHash,
    /// When it ends, in seconds since 1970.
    pub expires_s: i64,
    /// They manage every tenant in it, since whoever signed them in says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
}

/// Who somebody is at a provider that may sign them in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectEntry {
    /// Who that is here.
    pub user: Arc<str>,
}

/// With whom an object is shared: actions, by principal, as `user/ada` or `serviceaccount/ada/ci`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessEntry(pub BTreeMap<String, Vec<String>>);

/// Something identity says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Of a user, `user.<name>`.
    User(UserEntry),
    /// Of a ServiceAccount, `account.<user>.<name>`.
    Account(AccountEntry),
    /// Of a token, `token.<id>`.
    Token(TokenEntry),
    /// Of somebody who has signed in, `session.<id>`.
    Session(SessionEntry),
    /// Of somebody at a provider, `subject.<digest>`.
    Subject(SubjectEntry),
    /// Of an object, `access.<resource>.<owner>.<id>`.
    Access(AccessEntry),
}

/// Of what an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Users.
    Users,
    /// ServiceAccounts.
    Accounts,
    /// Tokens.
    Tokens,
    /// Those who have signed in.
    Sessions,
    /// Users at providers.
    Subjects,
    /// Objects that are shared.
    Access,
}

impl Table {
    /// The table that a key of the store is of, and the key in it; none if this version knows no such table.
    pub fn of_key(key: &str) -> Option<(Self, &str)> {
        let (table, rest) = key.split_once('.').filter(|(_, rest)| !rest.is_empty())?;
        let table = match table {
            "user" => Self::Users,
            "account" => Self::Accounts,
            "token" => Self::Tokens,
            "session" => Self::Sessions,
            "subject" => Self::Subjects,
            "access" => Self::Access,
            _ => return None,
        };
        Some((table, rest))
    }
}

/// The key of a user's entry.
pub fn user_key(name: &str) -> String {
    format!("user.{name}")
}

/// The key of a ServiceAccount's entry.
pub fn account_key(user: &str, name: &str) -> String {
    format!("account.{}", account_of(user, name))
}

/// The key of a token's entry.
pub fn token_key(id: &str) -> String {
    format!("token.{id}")
}

/// The key of a session's entry.
pub fn session_key(id: &str) -> String {
    format!("session.{id}")
}

/// The key of the entry of somebody at a provider, by the digest that [`subject_digest`] says.
pub fn subject_key(digest: &str) -> String {
    format!("subject.{digest}")
}

/// Somebody at a provider, in one word: what providers call people is for nobody else to know.
pub fn subject_digest(issuer: &str, subject: &str) -> String {
    let digest = Sha256::new().chain_update(issuer).chain_update([0]).chain_update(subject).finalize();
    URL_SAFE_NO_PAD.encode(digest)
}

/// The key of the entry that says with whom an object is shared.
pub fn access_key(kind: Kind, owner: &str, id: &str) -> String {
    format!("access.{}", object_of(kind, owner, id))
}

/// A ServiceAccount among those of all users.
pub(super) fn account_of(user: &str, name: &str) -> String {
    format!("{user}.{name}")
}

/// An object among those of all kinds and users.
pub(super) fn object_of(kind: Kind, owner: &str, id: &str) -> String {
    format!("{}.{owner}.{id}", kind.as_str())
}

impl Entry {
    /// An entry as the store has it.
    ///
    /// # Errors
    /// That it is none of its table.
    pub fn parse(table: Table, bytes: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(match table {
            Table::Users => Self::User(serde_json::from_slice(bytes)?),
            Table::Accounts => Self::Account(serde_json::from_slice(bytes)?),
            Table::Tokens => Self::Token(serde_json::from_slice(bytes)?),
            Table::Sessions => Self::Session(serde_json::from_slice(bytes)?),
            Table::Subjects => Self::Subject(serde_json::from_slice(bytes)?),
            Table::Access => Self::Access(serde_json::from_slice(bytes)?),
        })
    }

    /// As the store has it.
    ///
    /// # Errors
    /// None that is known: all of it is text and numbers.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::User(entry) => serde_json::to_vec(entry),
            Self::Account(entry) => serde_json::to_vec(entry),
            Self::Token(entry) => serde_json::to_vec(entry),
            Self::Session(entry) => serde_json::to_vec(entry),
            Self::Subject(entry) => serde_json::to_vec(entry),
            Self::Access(entry) => serde_json::to_vec(entry),
        }
    }
}

impl AccessEntry {
    /// Whether a principal may.
    pub(super) fn allows(&self, principal: &str, action: Action) -> bool {
        self.0.get(principal).is_some_and(|actions| actions.iter().any(|word| word == action.as_str()))
    }
}

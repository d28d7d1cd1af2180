//! Who asks, and whether they may: the one library that decides it everywhere.
//!
//! [`catalog`] names everything that may be done to anything, [`Scope`] and [`Scopes`] what somebody may of it. [`Permissions`] is all
//! that identity says, in memory: it tells whom a [`Token`] stands for, a [`Principal`]. They may do everything with what is theirs,
//! and what its owner shares, by a [`Grant`] on the thing or by a [`policy`], both within the limits of what they showed.

mod authenticator;
pub mod catalog;
mod credential;
pub mod feed;
mod grants;
mod key_file;
mod keys;
mod permissions;
pub mod policy;
mod principal;
mod scope;
mod scopes;
mod signing;
mod token;

pub use self::authenticator::{Authenticator, Signer};
pub use self::catalog::{Action, Actions, Kind, Service};
pub use self::credential::{Credential, SESSION_COOKIE, Secret, session_of_cookies};
pub use self::grants::{Grant, Grantee, Permission};
pub use self::key_file::{KeyError, long_enough, read_key};
pub use self::keys::{Keys, KeysError};
pub use self::permissions::{
    AccessEntry, AccountEntry, Entry, Permissions, Refused, SessionEntry, SubjectEntry, Table, TokenEntry, UserEntry, access_key,
    account_key, session_key, subject_digest, subject_key, token_key, user_key,
};
pub use self::principal::Principal;
pub use self::scope::{Resource, SCOPE_BYTES_MAX, Scope, ScopeError, is_user_name};
pub use self::scopes::Scopes;
pub use self::signing::SigningKey;
pub use self::token::{NoRandomness, Token, TokenHash};

//! Somebody who has signed in.

use std::net::IpAddr;

use eddy_authz::{NoRandomness, Token, TokenHash};
use serde::{Deserialize, Serialize};

/// A longer name of a client is cut off.
const CLIENT_BYTES_MAX: usize = 200;

/// How somebody signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Way {
    /// By a password.
    Password,
    /// By a code for when everything else is lost.
    RecoveryCode,
    /// By an invitation of an administrator.
    Invitation,
    /// By letting a program in, from another session.
    Device,
    /// By another provider.
    Provider,
    /// By a passkey.
    Passkey,
}

/// What a provider said of somebody who signed in by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Provided {
    /// Which, as it is called here.
    pub(crate) name: String,
    /// Who they are there (see `eddy_authz::subject_digest`).
    pub(crate) subject: String,
    /// They manage every tenant as long as they are signed in by it.
    pub(crate) admin: bool,
    /// They showed there who they are just then, and not long before.
    pub(crate) anew: bool,
}

/// A session, as the store has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) hash: TokenHash,
    pub(crate) way: Way,
    /// When they showed who they are, in seconds since 1970.
    pub(crate) began_s: i64,
    /// When it ends.
    pub(crate) expires_s: i64,
    /// Where from.
    pub(crate) address: Option<IpAddr>,
    /// By what, as it says of itself.
    pub(crate) client: String,
    /// Of who signed in by a provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<Provided>,
    /// Of who signed in by a passkey: which, as its authenticator calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) passkey: Option<String>,
}

/// Who signs in, how and from where.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) way: Way,
    pub(crate) address: Option<IpAddr>,
    pub(crate) client: String,
    pub(crate) provider: Option<Provided>,
    pub(crate) passkey: Option<String>,
}

impl Arrival {
    /// Somebody of whom nothing else is known.
    pub(crate) fn by(way: Way) -> Self {
        Self { way, address: None, client: String::new(), provider: None, passkey: None }
    }
}

impl Session {
    /// A new session, and the secret that it is shown by.
    pub(crate) fn begin(user: &str, arrival: Arrival, now_s: i64, lasts_s: i64) -> Result<(Self, Token), NoRandomness> {
        let secret = Token::draw()?;
        let session = Self {
            id: secret.id().to_owned(),
            user: user.to_owned(),
            hash: secret.hash(),
            way: arrival.way,
            began_s: now_s,
            expires_s: now_s.saturating_add(lasts_s),
            address: arrival.address,
            client: arrival.client.chars().filter(|letter| !letter.is_control()).take(CLIENT_BYTES_MAX).collect(),
            provider: arrival.provider,
            passkey: arrival.passkey,
        };
        Ok((session, secret))
    }

    /// Whether a provider says that they manage every tenant.
    pub(crate) fn is_admin(&self) -> bool {
        self.provider.as_ref().is_some_and(|provider| provider.admin)
    }

    /// Whether it was begun by whom a provider knows so (see `eddy_authz::subject_digest`).
    pub(crate) fn is_of(&self, subject: &str) -> bool {
        self.provider.as_ref().is_some_and(|provider| provider.subject == subject)
    }

    /// Whether this secret is its own, and it goes on.
    pub(crate) fn is_shown_by(&self, secret: &Token, now_s: i64) -> bool {
        self.hash.is(&secret.hash()) && now_s < self.expires_s
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_shown_by_its_secret_until_it_ends() {
        let client = format!("Firefox\n{}", "x".repeat(300));
        let arrival = Arrival { client, ..Arrival::by(Way::Password) };
        let (session, secret) = Session::begin("ada", arrival, 100, 50).unwrap();
        assert!(session.is_shown_by(&secret, 149) && !session.is_shown_by(&secret, 150));
        assert!(!session.is_shown_by(&Token::draw().unwrap(), 100));
        assert!(session.client.starts_with("Firefoxx") && session.client.len() == CLIENT_BYTES_MAX);
        let written = serde_json::to_string(&session).unwrap();
        assert!(!written.contains(secret.expose()), "only a hash is kept");
        assert_eq!(serde_json::from_str::<Session>(&written).unwrap(), session);
    }
}

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
}

/// Who signs in, how and from where.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) way: Way,
    pub(crate) address: Option<IpAddr>,
    pub(crate) client: String,
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
        };
        Ok((session, secret))
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
        let arrival = Arrival { way: Way::Password, address: None, client };
        let (session, secret) = Session::begin("ada", arrival, 100, 50).unwrap();
        assert!(session.is_shown_by(&secret, 149) && !session.is_shown_by(&secret, 150));
        assert!(!session.is_shown_by(&Token::draw().unwrap(), 100));
        assert!(session.client.starts_with("Firefoxx") && session.client.len() == CLIENT_BYTES_MAX);
        let written = serde_json::to_string(&session).unwrap();
        assert!(!written.contains(secret.expose()), "only a hash is kept");
        assert_eq!(serde_json::from_str::<Session>(&written).unwrap(), session);
    }
}

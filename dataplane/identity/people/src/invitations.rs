//! Invitations: how somebody first signs in, or does again who has lost everything. An administrator hands one out.

use bytes::Bytes;
use eddy_kv::{KvError, Transaction};
use serde::{Deserialize, Serialize};

use crate::people::{People, UserRef};
use crate::rows::{self, PeopleError};
use crate::secret::{digest, draw_secret};

/// An invitation, as the store has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Invitation {
    /// Whom it lets in.
    pub(crate) user: String,
    /// When that user became one, in seconds since 1970: it is for nobody else of that name.
    pub(crate) user_since_s: i64,
    /// When it ends.
    pub(crate) expires_s: i64,
    /// Who handed it out.
    pub(crate) by: String,
}

/// The link that an invitation is. What is after the # reaches no server, and no log.
pub fn invite_link(platform_url: &str, secret: &str) -> String {
    format!("{platform_url}/auth/invitation#{secret}")
}

impl People {
    /// Hands out an invitation to a user who became one then, in seconds since 1970, for whoever may run this.
    ///
    /// # Errors
    /// That it cannot be written.
    pub async fn invite_by_hand(&self, user: &str, since_s: i64, expires_s: i64) -> Result<String, PeopleError> {
        self.invite(UserRef { name: user, since_s }, "", expires_s).await
    }

    /// Hands out an invitation, and says its secret.
    pub(crate) async fn invite(&self, user: UserRef<'_>, by: &str, expires_s: i64) -> Result<String, PeopleError> {
        let secret = draw_secret()?;
        let invitation = Invitation { user: user.name.into(), user_since_s: user.since_s, expires_s, by: by.into() };
        self.commit(self.put(Transaction::new(), key(&secret), &invitation)?).await?;
        Ok(secret)
    }

    /// An invitation that is still good.
    pub(crate) async fn invitation(&self, secret: &str, now_s: i64) -> Result<Option<Invitation>, PeopleError> {
        let found: Option<Invitation> = self.row(&key(secret)).await?;
        Ok(found.filter(|invitation| now_s < invitation.expires_s))
    }

    /// Takes an invitation, which nobody does again; false if it is gone.
    pub(crate) async fn take_invitation(&self, secret: &str) -> Result<bool, PeopleError> {
        let key = key(secret);
        let Some((_, read)) = self.versioned::<Invitation>(&key).await? else { return Ok(false) };
        match self.commit(Transaction::new().check(key.clone(), Some(&read)).delete(key)).await {
            Ok(()) => Ok(true),
            Err(PeopleError::Store(KvError::Conflict { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn key(secret: &str) -> Bytes {
    rows::invitation(&digest(secret))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::people;

    #[tokio::test]
    async fn an_invitation_is_taken_once_and_in_time() {
        let (people, _folder) = people();
        let secret = people.invite(UserRef { name: "ada", since_s: 7 }, "root", 100).await.unwrap();
        let found = people.invitation(&secret, 99).await.unwrap().unwrap();
        assert_eq!((found.user.as_str(), found.user_since_s, found.by.as_str()), ("ada", 7, "root"));
        assert!(people.invitation(&secret, 100).await.unwrap().is_none());
        assert!(people.invitation("other", 99).await.unwrap().is_none());
        let both = tokio::join!(people.take_invitation(&secret), people.take_invitation(&secret));
        assert_eq!([both.0.unwrap(), both.1.unwrap()].iter().filter(|took| **took).count(), 1);
        assert!(people.invitation(&secret, 99).await.unwrap().is_none());
    }
}

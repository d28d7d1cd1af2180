//! Invitations: how somebody first signs in, or does again who has lost everything. An administrator hands one out; of a user, only the last
//! is good.

use eddy_kv::{Transaction, Value};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::people::{People, UserRef};
use crate::rows::{self, PeopleError};
use crate::secret::{digest, draw_secret};

/// An invitation, as the store has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Invitation {
    /// The digest of its secret.
    digest: String,
    /// Whom it lets in.
    pub(crate) user: String,
    /// When that user became one, in seconds since 1970: it is for nobody else of that name.
    pub(crate) user_since_s: i64,
    /// When it ends.
    pub(crate) expires_s: i64,
    /// Who handed it out; empty for whoever runs the platform.
    pub(crate) by: String,
    /// The session in which they were an administrator since a provider said so, of which no User tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
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
        self.invite(UserRef { name: user, since_s }, ("", None), expires_s).await
    }

    /// Hands out an invitation in the place of the one before, and says its secret, which begins with the user's name.
    pub(crate) async fn invite(
        &self,
        user: UserRef<'_>,
        (by, session): (&str, Option<&str>),
        expires_s: i64,
    ) -> Result<String, PeopleError> {
        let secret = format!("{}~{}", user.name, draw_secret()?);
        let (digest, user_since_s, session) = (digest(&secret), user.since_s, session.map(str::to_owned));
        let invitation = Invitation { digest, user: user.name.into(), user_since_s, expires_s, by: by.into(), session };
        self.commit(self.put(Transaction::new(), rows::invitation(user.name), &invitation)?).await?;
        Ok(secret)
    }

    /// An invitation that is still good, and what it is of.
    pub(crate) async fn invitation(&self, secret: &str, now_s: i64) -> Result<Option<(Invitation, Value)>, PeopleError> {
        let user = secret.split_once('~').map(|(user, _)| user).filter(|user| eddy_authz::is_user_name(user));
        let Some(user) = user else { return Ok(None) };
        let found = self.versioned::<Invitation>(&rows::invitation(user)).await?;
        let is_it = |invitation: &Invitation| bool::from(invitation.digest.as_bytes().ct_eq(digest(secret).as_bytes()));
        Ok(found.filter(|(invitation, _)| now_s < invitation.expires_s && is_it(invitation)))
    }

    /// Withdraws a user's invitation, if there is one.
    pub(crate) async fn withdraw_invitation(&self, user: &str) -> Result<(), PeopleError> {
        self.commit(Transaction::new().delete(rows::invitation(user))).await
    }
}

/// Takes an invitation, as it was read.
pub(crate) fn taken(user: &str, read: &Value) -> Transaction {
    let key = rows::invitation(user);
    Transaction::new().check(key.clone(), Some(read)).delete(key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::session::{Arrival, Way};
    use crate::testing::people;

    const ADA: UserRef<'static> = UserRef { name: "ada", since_s: 7 };

    #[tokio::test]
    async fn an_invitation_is_taken_once_and_in_time() {
        let (people, _folder) = people();
        let secret = people.invite(ADA, ("root", None), 100).await.unwrap();
        let (found, read) = people.invitation(&secret, 99).await.unwrap().unwrap();
        assert_eq!((found.user.as_str(), found.user_since_s, found.by.as_str()), ("ada", 7, "root"));
        assert!(people.invitation(&secret, 100).await.unwrap().is_none());
        for other in ["other", "ada~", "ada~other", "~", "../x~y", &secret[..secret.len() - 1]] {
            assert!(people.invitation(other, 99).await.unwrap().is_none(), "{other}");
        }
        let arrival = || Arrival::by(Way::Invitation);
        let take = async || people.begin(ADA, arrival(), (99, 50), taken("ada", &read), |_| Ok(Some(()))).await;
        let both = tokio::join!(take(), take());
        assert_eq!([both.0, both.1].into_iter().filter(|took| matches!(took, Ok(Some(_)))).count(), 1);
        assert!(people.invitation(&secret, 99).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn only_the_last_is_good_until_it_is_withdrawn() {
        let (people, _folder) = people();
        let first = people.invite(ADA, ("root", None), 100).await.unwrap();
        let second = people.invite(ADA, ("root", None), 100).await.unwrap();
        assert!(people.invitation(&first, 99).await.unwrap().is_none());
        assert!(people.invitation(&second, 99).await.unwrap().is_some());
        people.withdraw_invitation("ada").await.unwrap();
        assert!(people.invitation(&second, 99).await.unwrap().is_none());
    }
}

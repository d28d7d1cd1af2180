//! Who somebody is at providers that may sign them in, as they linked it themselves. What a User's `spec.oidcSubjects` says is not here, and
//! counts first. Whose a link is found by is in `owners`.

use eddy_kv::Transaction;
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::people::{People, UserRef};
use crate::rows::{self, PeopleError};
use crate::secret::digest;

/// Links of one user.
const LINKS_MAX: usize = 8;
/// What somebody came back with from a provider is kept for so long, that it is not shown again.
const ANSWERS_KEPT_S: i64 = 3600;

/// Somebody at a provider, as a user's account has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Link {
    /// Who (see `eddy_authz::subject_digest`).
    pub(crate) digest: String,
    /// By which provider it was linked, as that is called here.
    pub(crate) provider: String,
    /// When, in seconds since 1970.
    pub(crate) since_s: i64,
}

/// What somebody came back with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    expires_s: i64,
}

impl Account {
    /// Links somebody, who may be linked already; false if there are too many.
    pub(crate) fn link(&mut self, link: Link) -> bool {
        let fits = self.is_linked(&link.digest) || self.links.len() < LINKS_MAX;
        if fits {
            self.links.retain(|other| other.digest != link.digest);
            self.links.push(link);
        }
        fits
    }

    pub(crate) fn is_linked(&self, digest: &str) -> bool {
        self.links.iter().any(|link| link.digest == digest)
    }
}

impl People {
    /// Whether a user has linked somebody at a provider.
    pub(crate) async fn is_linked(&self, user: UserRef<'_>, digest: &str) -> Result<bool, PeopleError> {
        Ok(self.account(user).await?.is_linked(digest))
    }

    /// Forgets a link of a user; false if there is none.
    pub(crate) async fn unlink(&self, user: UserRef<'_>, digest: &str) -> Result<bool, PeopleError> {
        let also = self.owning_no_more(rows::subject(digest), user.name).await?;
        let change = |account: &mut Account| {
            let before = account.links.len();
            account.links.retain(|link| link.digest != digest);
            Ok((account.links.len() < before).then_some(()))
        };
        Ok(self.change_account_with(user, also, change).await?.is_some())
    }

    /// That what somebody came back with is shown for the first time.
    pub(crate) fn once(&self, state: &str, now_s: i64) -> Result<Transaction, PeopleError> {
        let key = rows::answer(&digest(state));
        self.put(Transaction::new().check(key.clone(), None), key, &Answered { expires_s: now_s.saturating_add(ANSWERS_KEPT_S) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::session::{Arrival, Way};
    use crate::testing::people;

    const ADA: UserRef<'static> = UserRef { name: "ada", since_s: 7 };

    async fn link(people: &People, user: UserRef<'_>, digest: &str) {
        let link = || Link { digest: digest.into(), provider: "id".into(), since_s: 100 };
        let arrival = Arrival::by(Way::Provider);
        let also = people.owning(Transaction::new(), rows::subject(digest), user.name).await.unwrap();
        let begun = people.begin(user, arrival, (100, 50), also, |account| Ok(account.link(link()).then_some(()))).await;
        assert!(begun.unwrap().is_some());
    }

    #[tokio::test]
    async fn somebody_is_found_until_they_are_unlinked() {
        let (people, _folder) = people();
        link(&people, ADA, "d").await;
        assert_eq!(people.owner(&rows::subject("d")).await.unwrap().as_deref(), Some("ada"));
        assert_eq!(people.owner(&rows::subject("other")).await.unwrap(), None);
        let is_linked = async |user| people.is_linked(user, "d").await.unwrap();
        assert!(is_linked(ADA).await && !is_linked(UserRef { since_s: 8, ..ADA }).await, "that is another ada");
        assert!(people.unlink(ADA, "d").await.unwrap() && !people.unlink(ADA, "d").await.unwrap());
        assert!(!is_linked(ADA).await && people.owner(&rows::subject("d")).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn whoever_is_named_again_is_not_taken_for_who_was_before() {
        let (people, _folder) = people();
        link(&people, ADA, "d").await;
        // The row says where to look, and who looks there finds nothing.
        let eve = UserRef { name: "eve", since_s: 1 };
        people.commit(people.owning(Transaction::new(), rows::subject("d"), "eve").await.unwrap()).await.unwrap();
        assert_eq!(people.owner(&rows::subject("d")).await.unwrap().as_deref(), Some("eve"));
        assert!(!people.is_linked(eve, "d").await.unwrap());
        // What is another's by now is not taken away with one's own.
        assert!(people.unlink(ADA, "d").await.unwrap());
        assert_eq!(people.owner(&rows::subject("d")).await.unwrap().as_deref(), Some("eve"));
    }

    #[tokio::test]
    async fn what_somebody_came_back_with_counts_once() {
        let (people, _folder) = people();
        people.commit(people.once("state", 100).unwrap()).await.unwrap();
        assert!(people.commit(people.once("state", 101).unwrap()).await.unwrap_err().is_conflict());
        people.commit(people.once("other", 100).unwrap()).await.unwrap();
        assert_eq!(people.sweep(100 + ANSWERS_KEPT_S).await.unwrap(), 2);
    }

    #[test]
    fn an_account_has_so_many_links() {
        let mut account = Account::default();
        let link = |number: usize| Link { digest: number.to_string(), provider: "id".into(), since_s: 0 };
        assert!((0..LINKS_MAX).all(|number| account.link(link(number))));
        assert!(!account.link(link(LINKS_MAX)) && account.link(link(0)), "who is linked already, is");
        account.links.pop();
        assert!(account.link(link(LINKS_MAX)));
        account.begin_anew();
        assert!(account.links.is_empty());
    }
}

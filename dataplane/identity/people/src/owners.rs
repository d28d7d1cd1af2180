//! Whose account to look in for what somebody shows who says no name: somebody at a provider, or a passkey. It is only where to look: what
//! counts is in the account. A row whose account has it no more leads nowhere.

use bytes::Bytes;
use eddy_kv::Transaction;
use serde::{Deserialize, Serialize};

use crate::people::People;
use crate::rows::PeopleError;

/// Whose account to look in.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    user: String,
}

impl People {
    /// The name that the user has, or had, in whose account to look for what this row is of.
    pub(crate) async fn owner(&self, row: &Bytes) -> Result<Option<String>, PeopleError> {
        Ok(self.row::<Owner>(row).await?.map(|owner| owner.user))
    }

    /// What makes somebody found by [`People::owner`], together with what puts it into the account, where nobody else does so meanwhile.
    pub(crate) async fn owning(&self, also: Transaction, row: Bytes, user: &str) -> Result<Transaction, PeopleError> {
        let read = self.versioned::<Owner>(&row).await?.map(|(_, read)| read);
        self.put(also.check(row.clone(), read.as_ref()), row, &Owner { user: user.to_owned() })
    }

    /// What makes them found no more; nothing where it is another's by now.
    pub(crate) async fn owning_no_more(&self, row: Bytes, user: &str) -> Result<Transaction, PeopleError> {
        Ok(match self.versioned::<Owner>(&row).await? {
            Some((owner, read)) if owner.user == user => Transaction::new().check(row.clone(), Some(&read)).delete(row),
            _ => Transaction::new(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rows;
    use crate::testing::people;

    #[tokio::test]
    async fn of_two_who_own_the_same_at_once_one_does() {
        let (people, _folder) = people();
        let row = rows::subject("d");
        let owning = async |user| people.owning(Transaction::new(), row.clone(), user).await.unwrap();
        let (ada, bob) = (owning("ada").await, owning("bob").await);
        people.commit(ada).await.unwrap();
        assert!(people.commit(bob).await.unwrap_err().is_conflict());
        assert_eq!(people.owner(&row).await.unwrap().as_deref(), Some("ada"));
        // What is another's is not taken away.
        people.commit(people.owning_no_more(row.clone(), "bob").await.unwrap()).await.unwrap();
        assert_eq!(people.owner(&row).await.unwrap().as_deref(), Some("ada"));
        people.commit(people.owning_no_more(row.clone(), "ada").await.unwrap()).await.unwrap();
        assert_eq!(people.owner(&row).await.unwrap(), None);
    }
}

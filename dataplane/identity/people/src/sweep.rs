//! Removing what has ended: it lets nobody in any more, and takes room.

use bytes::Bytes;
use eddy_kv::{KvError, Transaction};
use serde::Deserialize;

use crate::people::People;
use crate::rows::{self, PeopleError};

/// What ends by itself, as far as that goes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ending {
    expires_s: i64,
    /// Of a session.
    user: Option<String>,
    /// Of a program that waits.
    code: Option<String>,
}

impl People {
    /// Removes every row that has ended, and says how many there were. What is not ours stays: nothing is known of it.
    pub async fn sweep(&self, now_s: i64) -> Result<usize, PeopleError> {
        let mut not_ours: usize = 0;
        let mut ended: Vec<(Bytes, eddy_kv::Value, Ending)> = Vec::new();
        for prefix in rows::that_end() {
            for row in self.rows(prefix).await? {
                match self.opened::<Ending>(&row.key, &row.value) {
                    Ok(ending) if ending.expires_s <= now_s => ended.push((row.key, row.value, ending)),
                    Ok(_) => {}
                    Err(_) => not_ours += 1,
                }
            }
        }
        if not_ours > 0 {
            tracing::warn!(rows = not_ours, "rows of people are not ours, or of another version, and stay");
        }
        let mut count = 0;
        for (key, read, ending) in ended {
            let is_session = key.starts_with(&rows::sessions());
            let mut transaction = Transaction::new().check(key.clone(), Some(&read)).delete(key.clone());
            if let Some(user) = ending.user.filter(|_| is_session) {
                transaction = transaction.delete(rows::session_of(&user, rows::name_of(&key)));
            }
            if let Some(code) = ending.code {
                transaction = transaction.delete(rows::device_code(&code)).add(rows::devices_waiting(), -1, None);
            }
            match self.commit(transaction).await {
                Ok(()) => count += 1,
                // It is gone already, or goes on after all.
                Err(PeopleError::Store(KvError::Conflict { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::people::UserRef;
    use crate::session::{Arrival, Way};
    use crate::testing::people;

    #[tokio::test]
    async fn what_has_ended_goes_and_what_goes_on_stays() {
        let (people, _folder) = people();
        let (ada, bob) = (UserRef { name: "ada", since_s: 1 }, UserRef { name: "bob", since_s: 1 });
        let begin = async |lasts_s| {
            let arrival = Arrival::by(Way::Password);
            people.begin(ada, arrival, (100, lasts_s), Transaction::new(), |_| Ok(Some(()))).await.unwrap().unwrap().0
        };
        let (short, long) = (begin(10).await, begin(1000).await);
        let invitations =
            [people.invite(ada, ("root", None), 110).await.unwrap(), people.invite(bob, ("root", None), 2000).await.unwrap()];
        let (_, code) = people.begin_device("x", None, 100 - crate::devices::WAITS_S).await.unwrap().unwrap();
        assert_eq!(people.sweep(110).await.unwrap(), 3);
        assert_eq!(people.sweep(110).await.unwrap(), 0);
        assert!(people.session(&short.id).await.unwrap().is_none());
        assert_eq!(people.sessions_of("ada").await.unwrap(), [long]);
        assert!(people.invitation(&invitations[0], 0).await.unwrap().is_none());
        assert!(people.invitation(&invitations[1], 0).await.unwrap().is_some());
        assert!(people.device(&code, 0).await.unwrap().is_none());
        // All that waited is counted out again.
        let waiting = people.counter(&rows::devices_waiting()).await.unwrap();
        assert_eq!(waiting, 0);
    }
}

//! What is kept of people: their accounts, and their sessions.

use std::sync::Arc;

use bytes::Bytes;
use eddy_authz::Token;
use eddy_kv::{KeyRange, KvError, Read, ReadResult, Row, Scan, Store, Transaction, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::account::Account;
use crate::rows::{self, PeopleError};
use crate::sealed::SealingKey;
use crate::session::{Arrival, Session};

/// Sessions of one user; the oldest gives way.
pub(crate) const SESSIONS_A_USER: usize = 100;
/// As many give way at once: a transaction has room for so many.
const GIVE_WAY_MAX: usize = 20;
/// Tries to change what others change at the same moment.
const TRIES: usize = 8;
/// Rows that are read, and removed, at once.
const PAGE: usize = 50;

/// What is kept of people. Clones share the store.
#[derive(Clone)]
pub struct People {
    store: Arc<dyn Store>,
    sealing: Arc<SealingKey>,
}

/// Whose an account is: a user of the same name who was made at another time is somebody else.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owned {
    user_since_s: i64,
    account: Account,
}

#[cfg(test)]
impl People {
    /// What a counter holds.
    pub(crate) async fn counter(&self, key: &Bytes) -> Result<i64, PeopleError> {
        let value = self.store.get(key.clone()).await?;
        Ok(value.map_or(0, |value| eddy_kv::model::decode_counter(key, &value.bytes).expect("a counter")))
    }
}

/// A user, and when they became one, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserRef<'a> {
    pub(crate) name: &'a str,
    pub(crate) since_s: i64,
}

impl People {
    /// What a store holds of people, sealed with this key.
    pub fn new(store: Arc<dyn Store>, sealing: SealingKey) -> Self {
        Self { store, sealing: Arc::new(sealing) }
    }

    /// A user's account; an empty one where there is none.
    pub(crate) async fn account(&self, user: UserRef<'_>) -> Result<Account, PeopleError> {
        Ok(self.owned(user).await?.0)
    }

    async fn owned(&self, user: UserRef<'_>) -> Result<(Account, Option<Value>), PeopleError> {
        let key = rows::account(user.name);
        let Some(value) = self.store.get(key.clone()).await? else { return Ok((Account::default(), None)) };
        let owned: Owned = rows::read(&self.sealing, &key, &value)?;
        let account = if owned.user_since_s == user.since_s { owned.account } else { Account::default() };
        Ok((account, Some(value)))
    }

    /// Changes a user's account; `change` may be asked more than once. Nothing is written where it says none.
    pub(crate) async fn change_account<T>(
        &self,
        user: UserRef<'_>,
        change: impl Fn(&mut Account) -> Result<Option<T>, PeopleError>,
    ) -> Result<Option<T>, PeopleError> {
        let key = rows::account(user.name);
        for _ in 0..TRIES {
            let (mut account, read) = self.owned(user).await?;
            let Some(said) = change(&mut account)? else { return Ok(None) };
            let row = rows::write(&self.sealing, &key, &Owned { user_since_s: user.since_s, account })?;
            let transaction = Transaction::new().check(key.clone(), read.as_ref()).put(key.clone(), row);
            match self.store.commit(transaction).await {
                Ok(_) => return Ok(Some(said)),
                Err(KvError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(PeopleError::Contended)
    }

    /// Begins a session of a user, and says the secret that it is shown by.
    pub(crate) async fn begin(
        &self,
        user: &str,
        arrival: Arrival,
        now_s: i64,
        lasts_s: i64,
    ) -> Result<(Session, Token), PeopleError> {
        self.begin_with(user, arrival, now_s, lasts_s, Transaction::new()).await
    }

    /// The same, together with something else, which must hold.
    pub(crate) async fn begin_with(
        &self,
        user: &str,
        arrival: Arrival,
        now_s: i64,
        lasts_s: i64,
        also: Transaction,
    ) -> Result<(Session, Token), PeopleError> {
        let (session, secret) = Session::begin(user, arrival, now_s, lasts_s)?;
        let mut before = self.sessions_of(user).await?;
        before.sort_by_key(|session| session.began_s);
        let too_many = (before.len() + 1).saturating_sub(SESSIONS_A_USER);
        let mut transaction = also;
        for oldest in before.iter().take(too_many.min(GIVE_WAY_MAX)) {
            transaction = without(transaction, oldest);
        }
        let key = rows::session(&session.id);
        let row = rows::write(&self.sealing, &key, &session)?;
        let transaction = transaction.put(key, row).put(rows::session_of(user, &session.id), Bytes::new());
        self.store.commit(transaction).await?;
        Ok((session, secret))
    }

    /// A session, whether it goes on or not.
    pub(crate) async fn session(&self, id: &str) -> Result<Option<Session>, PeopleError> {
        self.row(&rows::session(id)).await
    }

    /// The sessions of a user.
    pub(crate) async fn sessions_of(&self, user: &str) -> Result<Vec<Session>, PeopleError> {
        let mut sessions = Vec::new();
        let index = self.store.scan(Scan::new(KeyRange::prefix(rows::session_of(user, "")), SESSIONS_A_USER * 2)).await?;
        for ids in index.rows.chunks(PAGE) {
            let keys: Vec<Bytes> = ids.iter().map(|row| rows::session(rows::name_of(&row.key))).collect();
            let found = self.store.read(keys.iter().cloned().map(Read::Get).collect()).await?;
            for (key, found) in keys.iter().zip(found) {
                let ReadResult::Value(Some(value)) = found else { continue };
                let session: Session = rows::read(&self.sealing, key, &value)?;
                // The index is not sealed: what it says is what it leads to.
                sessions.extend(Some(session).filter(|session| session.user == user));
            }
        }
        Ok(sessions)
    }

    /// Ends a session of a user; false if there is none of this id.
    pub(crate) async fn end(&self, user: &str, id: &str) -> Result<bool, PeopleError> {
        let Some(session) = self.session(id).await?.filter(|session| session.user == user) else { return Ok(false) };
        self.store.commit(without(Transaction::new(), &session)).await?;
        Ok(true)
    }

    /// Ends all sessions of a user but one, and says which.
    pub(crate) async fn end_all(&self, user: &str, but: Option<&str>) -> Result<Vec<String>, PeopleError> {
        let sessions: Vec<Session> = self.sessions_of(user).await?;
        let ended: Vec<&Session> = sessions.iter().filter(|session| Some(&*session.id) != but).collect();
        for some in ended.chunks(PAGE / 2) {
            let transaction = some.iter().fold(Transaction::new(), |transaction, session| without(transaction, session));
            self.store.commit(transaction).await?;
        }
        Ok(ended.into_iter().map(|session| session.id.clone()).collect())
    }

    /// All sessions that there are, for whoever tells others of them. What is not ours is left out.
    ///
    /// # Errors
    /// That the store cannot be read.
    pub(crate) async fn all_sessions(&self) -> Result<Vec<Session>, PeopleError> {
        let mut sessions = Vec::new();
        for row in self.rows(rows::sessions()).await? {
            match self.opened::<Session>(&row.key, &row.value) {
                Ok(session) if rows::session(&session.id) == row.key => sessions.push(session),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "a session is not ours, and lets nobody in"),
            }
        }
        Ok(sessions)
    }

    /// Every row whose key begins so.
    pub(crate) async fn rows(&self, prefix: Bytes) -> Result<Vec<Row>, PeopleError> {
        let (mut range, mut rows) = (KeyRange::prefix(prefix), Vec::new());
        loop {
            let page = self.store.scan(Scan::new(range.clone(), 1000)).await?;
            rows.extend(page.rows);
            match rows.last() {
                Some(last) if page.more => range.start = [&last.key[..], &[0]].concat().into(),
                _ => return Ok(rows),
            }
        }
    }

    /// One row.
    pub(crate) async fn row<T: DeserializeOwned>(&self, key: &Bytes) -> Result<Option<T>, PeopleError> {
        Ok(self.versioned(key).await?.map(|(row, _)| row))
    }

    /// One row, and what it is of.
    pub(crate) async fn versioned<T: DeserializeOwned>(&self, key: &Bytes) -> Result<Option<(T, Value)>, PeopleError> {
        let Some(value) = self.store.get(key.clone()).await? else { return Ok(None) };
        Ok(Some((rows::read(&self.sealing, key, &value)?, value)))
    }

    /// What a row holds.
    pub(crate) fn opened<T: DeserializeOwned>(&self, key: &Bytes, value: &Value) -> Result<T, PeopleError> {
        rows::read(&self.sealing, key, value)
    }

    /// A write of a row.
    pub(crate) fn put<T: Serialize>(&self, transaction: Transaction, key: Bytes, row: &T) -> Result<Transaction, PeopleError> {
        let row = rows::write(&self.sealing, &key, row)?;
        Ok(transaction.put(key, row))
    }

    /// Does it all, or nothing.
    pub(crate) async fn commit(&self, transaction: Transaction) -> Result<(), PeopleError> {
        self.store.commit(transaction).await?;
        Ok(())
    }
}

fn without(transaction: Transaction, session: &Session) -> Transaction {
    transaction.delete(rows::session(&session.id)).delete(rows::session_of(&session.user, &session.id))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::session::Way;
    use crate::testing::people;

    fn arrival() -> Arrival {
        Arrival { way: Way::Password, address: None, client: "test".into() }
    }

    const ADA: UserRef<'static> = UserRef { name: "ada", since_s: 7 };

    #[tokio::test]
    async fn an_account_is_its_users_and_not_of_the_next_of_that_name() {
        let (people, _folder) = people();
        let set = async |user| {
            let change = |account: &mut Account| {
                account.password = Some("hash".into());
                Ok(Some(()))
            };
            people.change_account(user, change).await.unwrap()
        };
        assert_eq!(people.account(ADA).await.unwrap(), Account::default());
        set(ADA).await.unwrap();
        assert_eq!(people.account(ADA).await.unwrap().password.as_deref(), Some("hash"));
        let next = UserRef { since_s: 8, ..ADA };
        assert_eq!(people.account(next).await.unwrap(), Account::default());
        set(next).await.unwrap();
        assert_eq!(people.account(ADA).await.unwrap(), Account::default());
    }

    #[tokio::test]
    async fn two_who_use_one_code_at_once_use_it_once() {
        let (people, _folder) = people();
        let draw = |account: &mut Account| Ok(Some(account.draw_recovery_codes()?));
        let codes = people.change_account(ADA, draw).await.unwrap().unwrap();
        let used = async || people.change_account(ADA, |account| Ok(account.use_recovery_code(&codes[0]).then_some(()))).await;
        let both = tokio::join!(used(), used());
        assert_eq!([both.0.unwrap(), both.1.unwrap()].iter().flatten().count(), 1);
    }

    #[tokio::test]
    async fn sessions_are_their_users_to_list_and_to_end() {
        let (people, _folder) = people();
        let (first, secret) = people.begin("ada", arrival(), 100, 50).await.unwrap();
        let (second, _) = people.begin("ada", arrival(), 101, 50).await.unwrap();
        let (other, _) = people.begin("adam", arrival(), 102, 50).await.unwrap();
        assert!(people.session(&first.id).await.unwrap().unwrap().is_shown_by(&secret, 120));
        let ids = async |user| {
            let mut ids: Vec<String> = people.sessions_of(user).await.unwrap().into_iter().map(|session| session.id).collect();
            ids.sort();
            ids
        };
        let mut both = vec![first.id.clone(), second.id.clone()];
        both.sort();
        assert_eq!((ids("ada").await, ids("adam").await), (both, vec![other.id.clone()]));
        assert!(!people.end("ada", &other.id).await.unwrap(), "that is another's");
        assert_eq!(people.end_all("ada", Some(&second.id)).await.unwrap(), std::slice::from_ref(&first.id));
        assert!(people.session(&first.id).await.unwrap().is_none());
        assert!(people.end("ada", &second.id).await.unwrap() && !people.end("ada", &second.id).await.unwrap());
        assert_eq!(people.all_sessions().await.unwrap(), [other]);
    }

    #[tokio::test]
    async fn a_user_has_so_many_sessions_and_the_oldest_gives_way() {
        let (people, _folder) = people();
        let (first, _) = people.begin("ada", arrival(), 1, 50).await.unwrap();
        for second in 2..=i64::try_from(SESSIONS_A_USER).unwrap() + 1 {
            people.begin("ada", arrival(), second, 50).await.unwrap();
        }
        let sessions = people.sessions_of("ada").await.unwrap();
        assert_eq!((sessions.len(), sessions.contains(&first)), (SESSIONS_A_USER, false));
    }

    #[tokio::test]
    async fn nobody_else_writes_a_session() {
        let (people, _folder) = people();
        let (session, _) = people.begin("ada", arrival(), 1, 50).await.unwrap();
        let forged = Session { id: "forged".into(), user: "root".into(), ..session.clone() };
        let key = rows::session("forged");
        people.store.commit(Transaction::new().put(key.clone(), serde_json::to_vec(&forged).unwrap())).await.unwrap();
        assert!(people.session("forged").await.is_err());
        assert_eq!(people.all_sessions().await.unwrap(), std::slice::from_ref(&session));
        // Nor does another's take its place.
        let sealed = people.store.get(rows::session(&session.id)).await.unwrap().unwrap();
        people.store.commit(Transaction::new().put(key, sealed.bytes)).await.unwrap();
        assert!(people.session("forged").await.is_err());
    }
}

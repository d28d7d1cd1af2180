//! What is kept of people: their accounts, and their sessions.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use eddy_authz::Token;
use eddy_kv::{KeyRange, Read, ReadResult, Row, Scan, Store, Transaction, Value, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::account::Account;
use crate::rows::{self, PeopleError};
use crate::sealed::{SealError, SealingKey};
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
        let account = match self.opened::<Owned>(&key, &value) {
            Ok(owned) if owned.user_since_s == user.since_s => owned.account,
            Ok(_) => Account::default(),
            // Written with a key that is lost: who had this account is invited anew.
            Err(PeopleError::Seal(SealError::NotOurs)) => {
                tracing::warn!(user = user.name, "an account is not ours, and taken for none");
                Account::default()
            }
            Err(error) => return Err(error),
        };
        Ok((account, Some(value)))
    }

    /// Changes a user's account; `change` may be asked more than once. Nothing is written where it says none.
    pub(crate) async fn change_account<T>(
        &self,
        user: UserRef<'_>,
        change: impl FnMut(&mut Account) -> Result<Option<T>, PeopleError>,
    ) -> Result<Option<T>, PeopleError> {
        self.change_account_with(user, Transaction::new(), change).await
    }

    /// The same, together with something else, which must hold and happens with it.
    pub(crate) async fn change_account_with<T>(
        &self,
        user: UserRef<'_>,
        also: Transaction,
        mut change: impl FnMut(&mut Account) -> Result<Option<T>, PeopleError>,
    ) -> Result<Option<T>, PeopleError> {
        for _ in 0..TRIES {
            let (mut account, read) = self.owned(user).await?;
            let Some(said) = change(&mut account)? else { return Ok(None) };
            match self.commit(self.put_account(also.clone(), user, account, read.as_ref())?).await {
                Err(error) if error.is_conflict_of(&rows::account(user.name)) => {}
                done => return done.map(|()| Some(said)),
            }
        }
        Err(PeopleError::Contended)
    }

    /// Puts an account in the place of the one that was read.
    fn put_account(
        &self,
        transaction: Transaction,
        user: UserRef<'_>,
        account: Account,
        read: Option<&Value>,
    ) -> Result<Transaction, PeopleError> {
        let key = rows::account(user.name);
        self.put(transaction.check(key.clone(), read), key, &Owned { user_since_s: user.since_s, account })
    }

    /// Begins a session of a user, and says the secret that it is shown by, where `proof` finds in their account that it is them, and changes
    /// of it what that takes; none where it does not. `also` must hold, and happens with it.
    ///
    /// All of it is one transaction on the account: nobody comes in by what is no longer so, and of many at once each counts the others.
    pub(crate) async fn begin<T>(
        &self,
        user: UserRef<'_>,
        arrival: Arrival,
        (now_s, lasts_s): (i64, i64),
        also: Transaction,
        mut proof: impl FnMut(&mut Account) -> Result<Option<T>, PeopleError>,
    ) -> Result<Option<(Session, Token, T)>, PeopleError> {
        for _ in 0..TRIES {
            let (mut account, read) = self.owned(user).await?;
            let Some(said) = proof(&mut account)? else { return Ok(None) };
            account.signed_in_s = now_s;
            let (session, secret) = Session::begin(user.name, arrival.clone(), now_s, lasts_s)?;
            let mut before = self.sessions_of(user.name).await?;
            before.sort_by_key(|session| session.began_s);
            let too_many = (before.len() + 1).saturating_sub(SESSIONS_A_USER).min(GIVE_WAY_MAX);
            let transaction = before.iter().take(too_many).fold(also.clone(), without);
            let transaction = self.put_account(transaction, user, account, read.as_ref())?;
            let transaction = self.put(transaction, rows::session(&session.id), &session)?;
            let transaction = transaction.put(rows::session_of(user.name, &session.id), Bytes::new());
            let transaction = transaction.put(rows::sessions_changed(), Bytes::new());
            match self.commit(transaction).await {
                Err(error) if error.is_conflict_of(&rows::account(user.name)) => {}
                done => return done.map(|()| Some((session, secret, said))),
            }
        }
        Err(PeopleError::Contended)
    }

    /// A session, whether it goes on or not.
    pub(crate) async fn session(&self, id: &str) -> Result<Option<Session>, PeopleError> {
        self.row(&rows::session(id)).await
    }

    /// When any session was changed last, as the store counts; none if none ever was.
    pub(crate) async fn sessions_changed(&self) -> Result<Option<Version>, PeopleError> {
        Ok(self.store.get(rows::sessions_changed()).await?.map(|value| value.version))
    }

    /// The sessions of a user. What is not ours is left out.
    pub(crate) async fn sessions_of(&self, user: &str) -> Result<Vec<Session>, PeopleError> {
        let mut sessions = Vec::new();
        let index = self.rows(rows::session_of(user, "")).await?;
        for ids in index.chunks(PAGE) {
            let keys: Vec<Bytes> = ids.iter().map(|row| rows::session(rows::name_of(&row.key))).collect();
            let found = self.store.read(keys.iter().cloned().map(Read::Get).collect()).await?;
            for (key, found) in keys.iter().zip(found) {
                let ReadResult::Value(Some(value)) = found else { continue };
                match self.opened::<Session>(key, &value) {
                    // The index is not sealed: what it says is what it leads to.
                    Ok(session) => sessions.extend(Some(session).filter(|session| session.user == user)),
                    Err(error) => tracing::warn!(%error, user, "a session is not ours, and lets nobody in"),
                }
            }
        }
        Ok(sessions)
    }

    /// Ends a session of a user; false if there is none of this id.
    pub(crate) async fn end(&self, user: &str, id: &str) -> Result<bool, PeopleError> {
        let Some(session) = self.session(id).await?.filter(|session| session.user == user) else { return Ok(false) };
        self.store.commit(without(changing(), &session)).await?;
        Ok(true)
    }

    /// Ends all sessions of a user but one, and says which.
    pub(crate) async fn end_all(&self, user: &str, but: Option<&str>) -> Result<Vec<String>, PeopleError> {
        let mut ended = Vec::new();
        // Until none is left: one may begin meanwhile by another that has not ended yet.
        for _ in 0..TRIES {
            let sessions: Vec<Session> = self.sessions_of(user).await?;
            let rest: Vec<&Session> = sessions.iter().filter(|session| Some(&*session.id) != but).collect();
            if rest.is_empty() {
                break;
            }
            for some in rest.chunks(PAGE / 2) {
                let transaction = some.iter().fold(changing(), |transaction, session| without(transaction, session));
                self.store.commit(transaction).await?;
            }
            ended.extend(rest.into_iter().map(|session| session.id.clone()));
        }
        Ok(ended)
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

    /// Something that others keep for us, and can neither read nor change, for this purpose: as text of base64url.
    pub(crate) fn seal<T: Serialize>(&self, purpose: &'static str, what: &T) -> Result<String, PeopleError> {
        Ok(URL_SAFE_NO_PAD.encode(rows::write(&self.sealing, &kept_elsewhere(purpose), what)?))
    }

    /// The same, when it is shown; none if it is not ours.
    pub(crate) fn open<T: DeserializeOwned>(&self, purpose: &'static str, sealed: &str) -> Option<T> {
        let plain = self.sealing.open(&kept_elsewhere(purpose), &URL_SAFE_NO_PAD.decode(sealed).ok()?).ok()?;
        serde_json::from_slice(&plain).ok()
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

/// What is kept elsewhere takes no row's place.
fn kept_elsewhere(purpose: &'static str) -> Bytes {
    format!("elsewhere/{purpose}").into()
}

/// Changes sessions.
fn changing() -> Transaction {
    Transaction::new().put(rows::sessions_changed(), Bytes::new())
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
        Arrival { client: "test".into(), ..Arrival::by(Way::Password) }
    }

    const ADA: UserRef<'static> = UserRef { name: "ada", since_s: 7 };

    async fn begin(people: &People, name: &str, now_s: i64) -> (Session, Token) {
        let begun = people.begin(UserRef { name, since_s: 7 }, arrival(), (now_s, 50), Transaction::new(), |_| Ok(Some(())));
        let (session, secret, ()) = begun.await.unwrap().unwrap();
        (session, secret)
    }

    #[tokio::test]
    async fn what_begins_or_ends_sessions_leaves_a_mark() {
        let (people, _folder) = people();
        let mut marks = vec![people.sessions_changed().await.unwrap()];
        let (first, _) = begin(&people, "ada", 1).await;
        marks.push(people.sessions_changed().await.unwrap());
        begin(&people, "ada", 2).await;
        marks.push(people.sessions_changed().await.unwrap());
        people.end("ada", &first.id).await.unwrap();
        marks.push(people.sessions_changed().await.unwrap());
        people.end_all("ada", None).await.unwrap();
        marks.push(people.sessions_changed().await.unwrap());
        assert!(marks.is_sorted_by(|before, after| before < after), "{marks:?}");
        people.end_all("ada", None).await.unwrap();
        assert_eq!(people.sessions_changed().await.unwrap(), marks[4], "nothing was changed");
    }

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
        let (first, secret) = begin(&people, "ada", 100).await;
        let (second, _) = begin(&people, "ada", 101).await;
        let (other, _) = begin(&people, "adam", 102).await;
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
        let (first, _) = begin(&people, "ada", 1).await;
        for second in 2..=i64::try_from(SESSIONS_A_USER).unwrap() + 1 {
            begin(&people, "ada", second).await;
        }
        let sessions = people.sessions_of("ada").await.unwrap();
        assert_eq!((sessions.len(), sessions.contains(&first)), (SESSIONS_A_USER, false));
    }

    #[tokio::test]
    async fn of_many_who_sign_in_at_once_each_counts_the_others() {
        let (people, _folder) = people();
        for second in 1..=i64::try_from(SESSIONS_A_USER).unwrap() {
            begin(&people, "ada", second).await;
        }
        let many = (0..6).map(|number| {
            let people = people.clone();
            async move { people.begin(ADA, arrival(), (1000 + number, 50), Transaction::new(), |_| Ok(Some(()))).await }
        });
        let begun = futures::future::join_all(many).await;
        let begun = begun.into_iter().filter(|begun| matches!(begun, Ok(Some(_)))).count();
        let sessions = people.sessions_of("ada").await.unwrap();
        assert_eq!(sessions.len(), SESSIONS_A_USER);
        assert_eq!(sessions.iter().filter(|session| session.began_s >= 1000).count(), begun);
    }

    #[tokio::test]
    async fn nobody_comes_in_by_what_is_no_longer_so() {
        let (people, _folder) = people();
        let refused = people.begin(ADA, arrival(), (1, 50), Transaction::new(), |account| Ok(account.password.clone())).await;
        assert!(refused.unwrap().is_none());
        // What must hold besides does not.
        let also = Transaction::new().check(rows::account("eve"), None).put(rows::invitation("x"), Bytes::new());
        let also = Transaction {
            checks: [also.checks, vec![eddy_kv::Check { key: rows::session("x"), version: Some(1) }]].concat(),
            ..also
        };
        let failed = people.begin(ADA, arrival(), (1, 50), also, |_| Ok(Some(()))).await;
        assert!(failed.unwrap_err().is_conflict() && people.sessions_of("ada").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn with_another_key_everybody_begins_anew() {
        let (people, _folder) = people();
        begin(&people, "ada", 1).await;
        let set = |account: &mut Account| {
            account.password = Some("hash".into());
            Ok(Some(()))
        };
        people.change_account(ADA, set).await.unwrap();
        let other = People { sealing: Arc::new(SealingKey::new(&[8; 32]).unwrap()), ..people.clone() };
        assert_eq!(other.account(ADA).await.unwrap(), Account::default());
        let (session, _) = begin(&other, "ada", 2).await;
        assert_eq!(other.sessions_of("ada").await.unwrap(), [session]);
    }

    #[tokio::test]
    async fn nobody_else_writes_a_session() {
        let (people, _folder) = people();
        let (session, _) = begin(&people, "ada", 1).await;
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

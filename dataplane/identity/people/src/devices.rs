//! Programs that are let in from elsewhere, as the CLI is (RFC 8628): the program shows its user a code, who types it where they have
//! signed in, and asks meanwhile whether they have.

use std::net::IpAddr;

use bytes::Bytes;
use eddy_authz::Token;
use eddy_kv::{KvError, Transaction, Value};
use serde::{Deserialize, Serialize};

use crate::people::{People, UserRef};
use crate::rows::{self, PeopleError};
use crate::secret::{digest, draw_code, draw_secret, normal_code};
use crate::session::{Arrival, Session, Way};

/// A program waits for so long.
pub(crate) const WAITS_S: i64 = 10 * 60;
/// Between two times that it asks, in seconds.
pub(crate) const ASKS_EVERY_S: i64 = 5;
/// Letters of the code that is typed: 34 bits, and few tries.
const CODE_LETTERS: usize = 8;
/// Programs that wait at once, of everybody: whoever makes them up fills no disk.
const WAITING_MAX: i64 = 10_000;

/// A program that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Device {
    code: String,
    /// What it says of itself.
    pub(crate) client: String,
    /// Where it asks from.
    pub(crate) address: Option<IpAddr>,
    pub(crate) expires_s: i64,
    said: Said,
}

/// What its user has said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Said {
    Nothing,
    Yes(Allowed),
    No,
}

/// Who let a program in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Allowed {
    pub(crate) user: String,
    /// When that user became one: nobody else of that name let it in.
    pub(crate) user_since_s: i64,
    /// The session that they did it in, which must go on until the program is in.
    pub(crate) session: String,
}

/// A program that is to be let in.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) by: Allowed,
    key: Bytes,
    read: Value,
    arrival: Arrival,
}

/// What a program is told.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Nothing was said yet.
    Wait,
    /// It is to be let in.
    LetIn(Box<Waiting>),
    /// Its user does not want it.
    Denied,
    /// There is no such program, or not any more.
    Gone,
}

impl People {
    /// A program begins to wait: its secret, and the code for its user. None if too many wait.
    pub(crate) async fn begin_device(
        &self,
        client: &str,
        address: Option<IpAddr>,
        now_s: i64,
    ) -> Result<Option<(String, String)>, PeopleError> {
        let (secret, code) = (draw_secret()?, draw_code(CODE_LETTERS)?);
        let device = Device {
            code: normal_code(&code),
            client: client.chars().filter(|letter| !letter.is_control()).take(200).collect(),
            address,
            expires_s: now_s.saturating_add(WAITS_S),
            said: Said::Nothing,
        };
        let (key, by_code) = (rows::device(&digest(&secret)), rows::device_code(&device.code));
        let transaction = Transaction::new().check(by_code.clone(), None).add(rows::devices_waiting(), 1, Some(WAITING_MAX));
        let transaction = self.put(self.put(transaction, key.clone(), &device)?, by_code, &rows::name_of(&key))?;
        match self.commit(transaction).await {
            Ok(()) => Ok(Some((secret, code))),
            Err(PeopleError::Store(KvError::Exceeded { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The program whose user types this, if it waits.
    pub(crate) async fn device(&self, typed: &str, now_s: i64) -> Result<Option<Device>, PeopleError> {
        Ok(self.waiting(typed, now_s).await?.map(|(_, device, _)| device))
    }

    async fn waiting(&self, typed: &str, now_s: i64) -> Result<Option<(Bytes, Device, Value)>, PeopleError> {
        let Some(name) = self.row::<String>(&rows::device_code(&normal_code(typed))).await? else { return Ok(None) };
        let key = rows::device(&name);
        let found = self.versioned::<Device>(&key).await?;
        let waits = |device: &Device| device.said == Said::Nothing && now_s < device.expires_s;
        Ok(found.filter(|(device, _)| waits(device)).map(|(device, value)| (key, device, value)))
    }

    /// Lets a program in, or does not; false if it does not wait.
    pub(crate) async fn decide_device(&self, typed: &str, by: Option<Allowed>, now_s: i64) -> Result<bool, PeopleError> {
        let Some((key, device, read)) = self.waiting(typed, now_s).await? else { return Ok(false) };
        let transaction = Transaction::new().check(key.clone(), Some(&read)).delete(rows::device_code(&device.code));
        let device = Device { said: by.map_or(Said::No, Said::Yes), ..device };
        match self.commit(self.put(transaction, key, &device)?).await {
            Err(error) if error.is_conflict() => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// What became of a program that waits. Where it is not wanted, it waits no more.
    pub(crate) async fn ask_device(&self, secret: &str, now_s: i64) -> Result<Answer, PeopleError> {
        let key = rows::device(&digest(secret));
        let Some((device, read)) = self.versioned::<Device>(&key).await? else { return Ok(Answer::Gone) };
        if now_s >= device.expires_s {
            return Ok(Answer::Gone);
        }
        match device.said {
            Said::Nothing => Ok(Answer::Wait),
            Said::No => match self.commit(done(&key, &read)).await {
                // Somebody asked at the same moment.
                Err(error) if !error.is_conflict() => Err(error),
                _ => Ok(Answer::Denied),
            },
            Said::Yes(by) => {
                let arrival = Arrival { address: device.address, client: device.client, ..Arrival::by(Way::Device) };
                Ok(Answer::LetIn(Box::new(Waiting { by, key, read, arrival })))
            }
        }
    }

    /// Lets a program in that is to be, and says its session; none if who let it in is no longer signed in, or it is in already.
    pub(crate) async fn let_in(
        &self,
        Waiting { by, key, read, arrival }: Waiting,
        now_s: i64,
        lasts_s: i64,
    ) -> Result<Option<(Session, Token)>, PeopleError> {
        let of_theirs = rows::session(&by.session);
        let theirs = self.versioned::<Session>(&of_theirs).await?;
        let Some((_, still)) = theirs.filter(|(session, _)| session.user == by.user && now_s < session.expires_s) else {
            return self.commit(done(&key, &read)).await.map(|()| None);
        };
        let also = done(&key, &read).check(of_theirs, Some(&still));
        let user = UserRef { name: &by.user, since_s: by.user_since_s };
        match self.begin(user, arrival, (now_s, lasts_s), also, |_| Ok(Some(()))).await {
            Err(error) if error.is_conflict() => Ok(None),
            begun => Ok(begun?.map(|(session, secret, ())| (session, secret))),
        }
    }
}

/// It waits no more.
fn done(key: &Bytes, read: &Value) -> Transaction {
    Transaction::new().check(key.clone(), Some(read)).delete(key.clone()).add(rows::devices_waiting(), -1, None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::people;

    const ADA: UserRef<'static> = UserRef { name: "ada", since_s: 7 };

    /// Somebody who has signed in, and lets programs in.
    async fn ada(people: &People) -> Allowed {
        let arrival = Arrival::by(Way::Password);
        let begun = people.begin(ADA, arrival, (50, 1000), Transaction::new(), |_| Ok(Some(()))).await;
        let (session, ..) = begun.unwrap().unwrap();
        Allowed { user: "ada".into(), user_since_s: 7, session: session.id }
    }

    async fn let_in(people: &People, secret: &str, now_s: i64) -> Option<(Session, Token)> {
        let Answer::LetIn(waiting) = people.ask_device(secret, now_s).await.unwrap() else { return None };
        people.let_in(*waiting, now_s, 50).await.unwrap()
    }

    #[tokio::test]
    async fn a_program_is_let_in_once_as_whoever_typed_its_code() {
        let (people, _folder) = people();
        let (secret, code) = people.begin_device("eddy on laptop", None, 100).await.unwrap().unwrap();
        assert!(matches!(people.ask_device(&secret, 101).await.unwrap(), Answer::Wait));
        assert_eq!(people.device(&code.to_uppercase(), 101).await.unwrap().unwrap().client, "eddy on laptop");
        assert!(people.device("bcdf-bcdf", 101).await.unwrap().is_none());
        let ada = ada(&people).await;
        assert!(people.decide_device(&code, Some(ada.clone()), 102).await.unwrap());
        let eve = Allowed { user: "eve".into(), ..ada };
        assert!(!people.decide_device(&code, Some(eve), 102).await.unwrap(), "it was decided");
        let both = tokio::join!(let_in(&people, &secret, 103), let_in(&people, &secret, 103));
        let begun: Vec<_> = [both.0, both.1].into_iter().flatten().collect();
        let [(session, token)] = &*begun else { panic!("it is let in once") };
        assert_eq!((session.user.as_str(), session.way, session.expires_s), ("ada", Way::Device, 153));
        assert!(people.session(token.id()).await.unwrap().unwrap().is_shown_by(token, 104));
        assert!(matches!(people.ask_device(&secret, 104).await.unwrap(), Answer::Gone));
        assert_eq!(people.counter(&rows::devices_waiting()).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn whoever_is_signed_out_meanwhile_lets_nothing_in() {
        let (people, _folder) = people();
        let (secret, code) = people.begin_device("x", None, 100).await.unwrap().unwrap();
        let ada = ada(&people).await;
        assert!(people.decide_device(&code, Some(ada), 101).await.unwrap());
        people.end_all("ada", None).await.unwrap();
        assert!(let_in(&people, &secret, 102).await.is_none());
        assert!(matches!(people.ask_device(&secret, 103).await.unwrap(), Answer::Gone));
        assert!(people.sessions_of("ada").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_program_that_is_not_wanted_or_late_is_not_let_in() {
        let (people, _folder) = people();
        let (secret, code) = people.begin_device("x", None, 100).await.unwrap().unwrap();
        assert!(people.decide_device(&code, None, 101).await.unwrap());
        assert!(matches!(people.ask_device(&secret, 102).await.unwrap(), Answer::Denied));
        let (secret, code) = people.begin_device("x", None, 100).await.unwrap().unwrap();
        let ada = ada(&people).await;
        assert!(!people.decide_device(&code, Some(ada.clone()), 100 + WAITS_S).await.unwrap());
        assert!(people.decide_device(&code, Some(ada), 99 + WAITS_S).await.unwrap());
        assert!(matches!(people.ask_device(&secret, 100 + WAITS_S).await.unwrap(), Answer::Gone));
        assert!(matches!(people.ask_device("other", 101).await.unwrap(), Answer::Gone));
    }
}

//! Programs that are let in from elsewhere, as the CLI is (RFC 8628): the program shows its user a code, who types it where they have
//! signed in, and asks meanwhile whether they have.

use std::net::IpAddr;

use bytes::Bytes;
use eddy_kv::{KvError, Transaction, Value};
use serde::{Deserialize, Serialize};

use crate::people::People;
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
    Yes { user: String },
    No,
}

/// What a program is told.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Nothing was said yet.
    Wait,
    /// It is in.
    In(Box<(Session, eddy_authz::Token)>),
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

    /// Lets a program in as this user, or does not; false if it does not wait.
    pub(crate) async fn decide_device(&self, typed: &str, user: Option<&str>, now_s: i64) -> Result<bool, PeopleError> {
        let Some((key, device, read)) = self.waiting(typed, now_s).await? else { return Ok(false) };
        let said = user.map_or(Said::No, |user| Said::Yes { user: user.to_owned() });
        let transaction = Transaction::new().check(key.clone(), Some(&read)).delete(rows::device_code(&device.code));
        match self.commit(self.put(transaction, key, &Device { said, ..device })?).await {
            Ok(()) => Ok(true),
            Err(PeopleError::Store(KvError::Conflict { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What became of a program that waits. Once it is in, or not wanted, it waits no more.
    pub(crate) async fn ask_device(&self, secret: &str, now_s: i64, lasts_s: i64) -> Result<Answer, PeopleError> {
        let key = rows::device(&digest(secret));
        let Some((device, read)) = self.versioned::<Device>(&key).await? else { return Ok(Answer::Gone) };
        if now_s >= device.expires_s {
            return Ok(Answer::Gone);
        }
        let done = Transaction::new().check(key.clone(), Some(&read)).delete(key).add(rows::devices_waiting(), -1, None);
        let ended = match &device.said {
            Said::Nothing => return Ok(Answer::Wait),
            Said::No => self.commit(done).await.map(|()| Answer::Denied),
            Said::Yes { user } => {
                let arrival = Arrival { way: Way::Device, address: device.address, client: device.client.clone() };
                self.begin_with(user, arrival, now_s, lasts_s, done).await.map(|begun| Answer::In(Box::new(begun)))
            }
        };
        match ended {
            // Somebody asked at the same moment, with the same secret, and is in.
            Err(PeopleError::Store(KvError::Conflict { .. })) => Ok(Answer::Gone),
            ended => ended,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::people;

    #[tokio::test]
    async fn a_program_is_let_in_once_as_whoever_typed_its_code() {
        let (people, _folder) = people();
        let (secret, code) = people.begin_device("eddy on laptop", None, 100).await.unwrap().unwrap();
        assert!(matches!(people.ask_device(&secret, 101, 50).await.unwrap(), Answer::Wait));
        assert_eq!(people.device(&code.to_uppercase(), 101).await.unwrap().unwrap().client, "eddy on laptop");
        assert!(people.device("bcdf-bcdf", 101).await.unwrap().is_none());
        assert!(people.decide_device(&code, Some("ada"), 102).await.unwrap());
        assert!(!people.decide_device(&code, Some("eve"), 102).await.unwrap(), "it was decided");
        let Answer::In(begun) = people.ask_device(&secret, 103, 50).await.unwrap() else { panic!("it is let in") };
        assert_eq!((begun.0.user.as_str(), begun.0.way, begun.0.expires_s), ("ada", Way::Device, 153));
        assert!(people.session(begun.1.id()).await.unwrap().unwrap().is_shown_by(&begun.1, 104));
        assert!(matches!(people.ask_device(&secret, 104, 50).await.unwrap(), Answer::Gone));
    }

    #[tokio::test]
    async fn a_program_that_is_not_wanted_or_late_is_not_let_in() {
        let (people, _folder) = people();
        let (secret, code) = people.begin_device("x", None, 100).await.unwrap().unwrap();
        assert!(people.decide_device(&code, None, 101).await.unwrap());
        assert!(matches!(people.ask_device(&secret, 102, 50).await.unwrap(), Answer::Denied));
        let (secret, code) = people.begin_device("x", None, 100).await.unwrap().unwrap();
        assert!(!people.decide_device(&code, Some("ada"), 100 + WAITS_S).await.unwrap());
        assert!(people.decide_device(&code, Some("ada"), 99 + WAITS_S).await.unwrap());
        assert!(matches!(people.ask_device(&secret, 100 + WAITS_S, 50).await.unwrap(), Answer::Gone));
        assert!(matches!(people.ask_device("other", 101, 50).await.unwrap(), Answer::Gone));
    }
}

//! Who has signed in, for whoever tells it to every process.

use std::collections::BTreeMap;

use eddy_authz::SessionEntry;
use eddy_kv::Version;
use jiff::Timestamp;

use crate::people::People;
use crate::rows::PeopleError;
use crate::session::Session;

/// Somebody who has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// When, in seconds since 1970.
    pub began_s: i64,
    /// What is told of them.
    pub entry: SessionEntry,
}

/// Sessions as they are in the store. Clones share it.
#[derive(Clone)]
pub struct Sessions(People);

impl Sessions {
    /// Those of these people.
    pub fn of(people: People) -> Self {
        Self(people)
    }

    /// All that go on, by their ids.
    ///
    /// # Errors
    /// That the store cannot be read.
    pub async fn all(&self) -> Result<BTreeMap<String, SignedIn>, PeopleError> {
        let now_s = Timestamp::now().as_second();
        let all = self.0.all_sessions().await?.into_iter().filter(|session| now_s < session.expires_s);
        Ok(all.map(|session| (session.id.clone(), signed_in(session))).collect())
    }

    /// Another with each change of any.
    ///
    /// # Errors
    /// That the store cannot be read.
    pub async fn mark(&self) -> Result<Option<Version>, PeopleError> {
        self.0.sessions_changed().await
    }

    /// The one of this id, if it goes on.
    ///
    /// # Errors
    /// That the store cannot be read.
    pub async fn one(&self, id: &str) -> Result<Option<SignedIn>, PeopleError> {
        let now_s = Timestamp::now().as_second();
        Ok(self.0.session(id).await?.filter(|session| now_s < session.expires_s).map(signed_in))
    }
}

fn signed_in(session: Session) -> SignedIn {
    let admin = session.is_admin();
    let entry = SessionEntry { user: session.user.into(), hash: session.hash, expires_s: session.expires_s, admin };
    SignedIn { began_s: session.began_s, entry }
}

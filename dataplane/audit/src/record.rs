//! One thing that somebody did, or tried to.

use std::net::IpAddr;

use eddy_authz::Principal;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::origin::Origin;

/// Longer texts are cut off.
const TEXT_BYTES_MAX: usize = 256;

/// Who did it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// The user; empty where nobody is known to be.
    pub user: String,
    /// The ServiceAccount in whose name, if in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// The Token that was shown, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What Kubernetes calls them, where it is no user of Eddy's who did it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_user: Option<String>,
    /// The session that they had, or had signed in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub session: bool,
}

impl Actor {
    /// Whoever showed what stands for this; nobody in particular if for nobody.
    pub fn of(principal: Option<&Principal>) -> Self {
        principal.map_or_else(Self::default, |who| Self {
            user: who.user().to_owned(),
            service_account: who.account().map(str::to_owned),
            token: who.token().map(str::to_owned),
            session: who.is_session(),
            kubernetes_user: None,
        })
    }
}

impl Actor {
    fn cut(self) -> Self {
        let [user, service_account, token, kubernetes_user] =
            [Some(self.user), self.service_account, self.token, self.kubernetes_user].map(|name| name.map(|name| cut(&name)));
        Self { user: user.unwrap_or_default(), service_account, token, kubernetes_user, session: self.session }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It was done.
    Done,
    /// They may not.
    Denied,
    /// It was not done for another reason.
    Failed,
}

/// One thing that somebody did, or tried to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// When.
    pub time: Timestamp,
    /// Names the request, in logs and spans, too; empty where it has no name.
    pub request: String,
    /// Who.
    pub actor: Actor,
    /// Where from: who connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Where from, as whoever connected says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub forwarded_for: String,
    /// In whose place; empty for nobody's.
    pub tenant: String,
    /// What was done, as in `containers.create`.
    pub action: String,
    /// To what, as in `web`; empty where it has no name.
    pub object: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why not, in one word; empty if it was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How often: in the minute before its time, where it is more than once.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub count: u64,
}

fn once() -> u64 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_once(count: &u64) -> bool {
    *count == 1
}

impl Record {
    /// A record of now.
    pub fn now(actor: Actor, action: impl Into<String>, tenant: &str, object: &str, outcome: Outcome) -> Self {
        Self {
            time: Timestamp::now(),
            request: String::new(),
            actor: actor.cut(),
            address: None,
            forwarded_for: String::new(),
            tenant: cut(tenant),
            action: cut(&action.into()),
            object: cut(object),
            outcome,
            reason: String::new(),
            count: 1,
        }
    }

    /// Done so often.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { count, ..self }
    }

    /// To this instead.
    #[must_use]
    pub(crate) fn to(self, object: &str) -> Self {
        Self { object: cut(object), ..self }
    }

    /// By a request that came from there.
    #[must_use]
    pub fn came(self, origin: &Origin) -> Self {
        self.of_request(&origin.request).from(origin.address, &origin.forwarded_for)
    }

    /// By a request of this name.
    #[must_use]
    pub fn of_request(self, request: &str) -> Self {
        Self { request: cut(request), ..self }
    }

    /// From there: who connected, and what they say.
    #[must_use]
    pub fn from(self, address: Option<IpAddr>, forwarded_for: &str) -> Self {
        Self { address, forwarded_for: cut(forwarded_for), ..self }
    }

    /// For this reason.
    #[must_use]
    pub fn because(self, reason: &str) -> Self {
        Self { reason: cut(reason), ..self }
    }

    /// The subjects that it goes to: that of whose place it was done in, and, if they did it elsewhere, that of who did it.
    pub(crate) fn subjects(&self) -> Vec<String> {
        // Each has room of its own, so that nothing that is done often, or tried by strangers, pushes out what is done seldom.
        let what = match self.outcome {
            Outcome::Denied | Outcome::Failed => NOT_DONE,
            Outcome::Done if self.action.starts_with("files.") => FILES,
            Outcome::Done => DONE,
        };
        let mut subjects = vec![format!("eddy.audit.{}.{what}", token(&self.tenant))];
        if self.actor.user != self.tenant && !self.actor.user.is_empty() {
            subjects.push(done_by(&self.actor.user));
        }
        subjects
    }
}

/// What was done in a tenant's place,
const DONE: &str = "in";
/// what was done to files there,
const FILES: &str = "files";
/// and what was not done.
const NOT_DONE: &str = "not";

/// What somebody did elsewhere.
fn done_by(user: &str) -> String {
    format!("eddy.audit.{}.by", token(user))
}

/// Both of a user.
pub(crate) fn of(user: &str) -> String {
    format!("eddy.audit.{}.*", token(user))
}

/// All that was done, once each.
pub(crate) const ALL: [&str; 3] = ["eddy.audit.*.in", "eddy.audit.*.files", "eddy.audit.*.not"];

/// A name as a part of a subject. What is no name of a user, and may be anything, is nobody's.
fn token(name: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.is_empty() && name.len() <= 63 && name.bytes().all(plain) { name } else { "-" }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record(user: &str, tenant: &str) -> Record {
        let actor = Actor { user: user.into(), ..Actor::default() };
        Record::now(actor, "containers.create", tenant, "web", Outcome::Done)
    }

    #[test]
    fn a_record_is_found_by_whose_place_and_by_who() {
        assert_eq!(record("ada", "ada").subjects(), ["eddy.audit.ada.in"]);
        assert_eq!(record("root", "ada").subjects(), ["eddy.audit.ada.in", "eddy.audit.root.by"]);
        assert_eq!(record("", "ada").subjects(), ["eddy.audit.ada.in"]);
        let not_done = Record { outcome: Outcome::Denied, ..record("root", "ada") };
        assert_eq!(not_done.subjects(), ["eddy.audit.ada.not", "eddy.audit.root.by"]);
        let file = Record { action: "files.write".into(), ..record("ada", "ada") };
        assert_eq!(file.subjects(), ["eddy.audit.ada.files"]);
        for wrong in ["", "a.b", ">", "*", "Ä", "a b", &"a".repeat(64)] {
            assert_eq!(record("", wrong).subjects(), ["eddy.audit.-.in"], "{wrong:?}");
        }
    }

    #[test]
    fn no_record_is_too_large_for_the_stream() {
        let long = "\u{1}ä".repeat(20_000);
        let actor = Actor {
            user: long.clone(),
            service_account: Some(long.clone()),
            token: Some(long.clone()),
            kubernetes_user: Some(long.clone()),
            session: true,
        };
        let record = Record::now(actor, long.clone(), &long, &long, Outcome::Failed);
        let record = record.because(&long).from(None, &long).of_request(&long).to(&long);
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.len() < 8 * 1024 && !text.contains("\\u0001"), "{}", text.len());
    }

    #[test]
    fn what_strangers_say_is_short_and_one_line() {
        let said = record("ada", "ada").because(&"ä".repeat(300)).from(None, "1.2.3.4\r\nx").of_request("r");
        assert_eq!((said.reason.len(), said.forwarded_for.as_str()), (TEXT_BYTES_MAX, "1.2.3.4x"));
        let text = serde_json::to_string(&said).unwrap();
        assert!(text.contains(r#""outcome":"done""#) && !text.contains("serviceAccount") && !text.contains("count"), "{text}");
        assert!(serde_json::to_string(&said.clone().times(2)).unwrap().contains(r#""count":2"#));
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), said);
    }
}

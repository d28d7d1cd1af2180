//! Scopes: what a principal may do, to what. `<service>.<user>.<resource>[.<id>]` and a list of actions.
//!
//! The user is the owner of what the scope is about, whoever holds it. A broader scope grants the narrower: one without an id is
//! about all of that resource, and one with the id `photos/2026` about `photos/2026/june`, too, not about `photos/20261`.

use std::fmt;

use crate::catalog::{Action, Actions, Kind, Service};

/// Longer scopes are refused, as in the schema.
pub const SCOPE_BYTES_MAX: usize = 512;
/// Longer names of users are no users', as in the schema.
const OWNER_BYTES_MAX: usize = 40;

/// Of what something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The user whose it is.
    pub owner: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// Which of them; empty for all.
    pub id: &'a str,
}

/// What may be done to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Of which kind.
    pub kind: Kind,
    /// Whose.
    pub owner: Box<str>,
    /// Which of them, and what is below it; all of them if none.
    pub id: Option<Box<str>>,
    /// What may be done.
    pub actions: Actions,
}

/// Why something is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// It has not the form of one.
    #[error("{0:?} is not <service>.<user>.<resource>[.<id>], as in storage.ada.files or compute.ada.containers.web")]
    Form(String),
    /// It is too long.
    #[error("a scope has at most {SCOPE_BYTES_MAX} bytes")]
    Long,
    /// There is no such service.
    #[error("there is no service {0:?}; there are {list}", list = words(Service::ALL))]
    Service(String),
    /// The service has no such resource.
    #[error("{service} has no resource {word:?}; it has {list}", list = kinds(*.service))]
    Kind {
        /// The service.
        service: Service,
        /// What was asked for.
        word: String,
    },
    /// No user has such a name.
    #[error("{0:?} is no user's name: those are lower-case letters, digits and dashes, and start with a letter")]
    Owner(String),
    /// It is no id.
    #[error(
        "{0:?} is no id: those are parts between slashes, none of them empty, . or .., without spaces and control characters"
    )]
    Id(String),
    /// Nobody can do that to it.
    #[error("nothing called {word:?} can be done to {service}'s {kind}; there are {list}", service = .kind.service(),
        kind = .kind.as_str(), list = words(.kind.actions()))]
    Action {
        /// To what.
        kind: Kind,
        /// What was asked for.
        word: String,
    },
    /// It grants nothing.
    #[error("a scope has at least one action")]
    NoAction,
}

fn words<Word: fmt::Display>(words: &[Word]) -> String {
    words.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn kinds(service: Service) -> String {
    words(&Kind::ALL.iter().filter(|kind| kind.service() == service).map(|kind| kind.as_str()).collect::<Vec<_>>())
}

/// A word of somebody's, as it may be shown to them again.
fn shown(word: &str) -> String {
    word.chars().take(64).collect()
}

impl Scope {
    /// A scope as it is written.
    ///
    /// # Errors
    /// See [`ScopeError`].
    pub fn parse<'a>(text: &str, actions: impl IntoIterator<Item = &'a str>) -> Result<Self, ScopeError> {
        if text.len() > SCOPE_BYTES_MAX {
            return Err(ScopeError::Long);
        }
        let mut parts = text.splitn(4, '.');
        let mut next = || parts.next().filter(|part| !part.is_empty()).ok_or_else(|| ScopeError::Form(shown(text)));
        let (service, owner, resource) = (next()?, next()?, next()?);
        let service = Service::of(service).ok_or_else(|| ScopeError::Service(shown(service)))?;
        if !is_user_name(owner) {
            return Err(ScopeError::Owner(shown(owner)));
        }
        let kind = Kind::of(service, resource).ok_or_else(|| ScopeError::Kind { service, word: shown(resource) })?;
        let id = parts.next();
        if let Some(id) = id.filter(|id| !is_id(id)) {
            return Err(ScopeError::Id(shown(id)));
        }
        let action = |word: &str| {
            let known = Action::of(word).filter(|action| kind.actions().contains(action));
            known.ok_or_else(|| ScopeError::Action { kind, word: shown(word) })
        };
        let actions = actions.into_iter().map(action).collect::<Result<Actions, _>>()?;
        if actions.is_empty() {
            return Err(ScopeError::NoAction);
        }
        Ok(Self { kind, owner: owner.into(), id: id.map(Into::into), actions })
    }

    /// Whether it is about a resource, whatever may be done to it.
    pub fn is_about(&self, resource: &Resource<'_>) -> bool {
        self.kind == resource.kind && *self.owner == *resource.owner && covers(self.id.as_deref(), resource.id)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.kind.service(), self.owner, self.kind.as_str())?;
        self.id.as_ref().map_or(Ok(()), |id| write!(formatter, ".{id}"))
    }
}

/// Whether an id of a scope, or that it has none, is about an id that is asked for.
pub(crate) fn covers(id: Option<&str>, asked: &str) -> bool {
    id.is_none_or(|id| asked.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Whether a User may have this name, as the schema has it.
pub fn is_user_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= OWNER_BYTES_MAX
        && name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name.ends_with(|letter: char| u8::try_from(letter).is_ok_and(plain))
        && name.bytes().all(|byte| plain(byte) || byte == b'-')
}

fn is_id(id: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    id.split('/').all(part) && !id.chars().any(|letter| letter.is_whitespace() || letter.is_control())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        Scope::parse(text, ["read"]).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        for text in ["storage.ada.files", "storage.ada.files.photos", "storage.a-1.files.v1.2/x.y", "compute.ada.vms.m"] {
            assert_eq!(scope(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_scope_is_refused_with_a_sentence() {
        let long = format!("storage.ada.files.{}", "x".repeat(600));
        for (text, said) in [
            ("", "is not <service>"),
            ("storage", "is not <service>"),
            ("storage.ada", "is not <service>"),
            ("storage..files", "is not <service>"),
            ("disk.ada.files", "there is no service \"disk\"; there are compute, storage"),
            ("storage.ada.containers", "storage has no resource \"containers\"; it has namespaces, files"),
            ("storage.Ada.files", "no user's name"),
            ("storage.-a.files", "no user's name"),
            ("storage.a-.files", "no user's name"),
            ("storage.ada.files.", "no id"),
            ("storage.ada.files.a//b", "no id"),
            ("storage.ada.files.a/../b", "no id"),
            ("storage.ada.files.a b", "no id"),
            ("storage.ada.files.a\u{0}", "no id"),
            (long.as_str(), "at most 512 bytes"),
        ] {
            let error = Scope::parse(text, ["read"]).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        let error = Scope::parse("storage.ada.files", ["exec"]).unwrap_err().to_string();
        assert_eq!(error, "nothing called \"exec\" can be done to storage's files; there are list, read, write, delete, share");
        assert_eq!(Scope::parse("storage.ada.files", []), Err(ScopeError::NoAction));
    }

    #[test]
    fn the_broader_is_about_the_narrower_only() {
        let about = |text: &str, id: &str| scope(text).is_about(&Resource { owner: "ada", kind: Kind::Files, id });
        assert!(about("storage.ada.files", "") && about("storage.ada.files", "photos/a"));
        assert!(about("storage.ada.files.photos", "photos") && about("storage.ada.files.photos", "photos/a/b"));
        assert!(!about("storage.ada.files.photos", "") && !about("storage.ada.files.photos", "photos2"));
        assert!(!about("storage.ada.files.photos/a", "photos") && !about("storage.bob.files", "photos"));
        assert!(!about("storage.ada.namespaces", "photos"));
    }
}

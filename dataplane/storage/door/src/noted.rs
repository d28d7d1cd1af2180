//! What a request was let do, or not, noted where that is decided, and written down once it is known what became of it.
//!
//! Only what changes something is noted: reading is not.

use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response;
use eddy_audit::{Actor, Origin, Outcome, Record, Recorder};
use eddy_authz::{Action, Kind, Principal};
use http::StatusCode;

tokio::task_local! {
    static NOTES: Arc<Mutex<Vec<Note>>>;
}

/// What somebody wanted to do.
#[derive(Debug, PartialEq)]
pub(crate) struct Note {
    actor: Actor,
    what: (Kind, Action),
    /// Whose namespace it is.
    owner: String,
    namespace: String,
    /// The object's key; none if it is about the namespace, or about several objects.
    key: Option<String>,
    count: u64,
    /// They may.
    is_allowed: bool,
}

/// What one request was let do, to be written down when it ends, also where its client does not wait for the end.
pub(crate) struct Noting {
    recorder: Recorder,
    origin: Origin,
    notes: Arc<Mutex<Vec<Note>>>,
}

impl Noting {
    /// Of a request that came from there.
    pub(crate) fn new(recorder: Recorder, origin: Origin) -> Self {
        Self { recorder, origin, notes: Arc::default() }
    }

    /// Answers the request, and writes down what it was let do.
    pub(crate) async fn answer<E>(self, answer: impl Future<Output = Result<Response, E>>) -> Result<Response, E> {
        let answered = NOTES.scope(self.notes.clone(), answer).await;
        if let Ok(response) = &answered {
            self.write(Some(response.status()));
        }
        answered
    }

    fn write(&self, status: Option<StatusCode>) {
        for note in std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner)) {
            let record = note.record(status).came(&self.origin);
            self.recorder.record_often(record, &note.namespace);
        }
    }
}

impl Drop for Noting {
    /// Whatever was done of it until its client went.
    fn drop(&mut self) {
        self.write(None);
    }
}

/// Notes that somebody wants to do something to a namespace of this owner, or to what is under a key of it, and whether they may.
pub(crate) fn note(
    who: Option<&Principal>,
    what: (Kind, Action),
    owner: &str,
    (namespace, key): (&str, Option<&str>),
    is_allowed: bool,
) {
    if matches!(what.1, Action::Read | Action::List) {
        return;
    }
    // Without a request, as in tests of parts, nobody asks what it did.
    let _ = NOTES.try_with(|notes| {
        let key = key.map(str::to_owned);
        let (owner, namespace) = (owner.to_owned(), namespace.to_owned());
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut notes, Note { actor: Actor::of(who), what, owner, namespace, key, count: 1, is_allowed });
    });
}

/// One request that does the same to many is one note.
fn add(notes: &mut Vec<Note>, note: Note) {
    let same = |before: &&mut Note| {
        before.what == note.what && before.namespace == note.namespace && before.is_allowed == note.is_allowed
    };
    match notes.iter_mut().find(same) {
        None => notes.push(note),
        // It was asked before, if only in general.
        Some(before) if before.key == note.key || note.key.is_none() => {}
        Some(before) if before.key.is_none() && before.count == 1 => before.key = note.key,
        Some(before) => {
            before.key = None;
            before.count += 1;
        }
    }
}

impl Note {
    /// The record of it, where the request was answered so; not at all, if its client went before.
    fn record(&self, status: Option<StatusCode>) -> Record {
        let (outcome, reason) = match status {
            _ if !self.is_allowed => (Outcome::Denied, "Forbidden"),
            Some(status) if status.is_success() => (Outcome::Done, ""),
            Some(status) => (Outcome::Failed, status.canonical_reason().unwrap_or_default()),
            None => (Outcome::Failed, "CutOff"),
        };
        let object = match &self.key {
            Some(key) => format!("{}/{key}", self.namespace),
            None => self.namespace.clone(),
        };
        let action = format!("{}.{}", self.what.0.as_str(), self.what.1);
        let reason = reason.replace(' ', "");
        Record::now(self.actor.clone(), action, &self.owner, &object, outcome).because(&reason).times(self.count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WRITE: (Kind, Action) = (Kind::Files, Action::Write);

    async fn noted(asks: impl Future<Output = ()>) -> Vec<Note> {
        let notes = Arc::<Mutex<Vec<Note>>>::default();
        NOTES.scope(notes.clone(), asks).await;
        std::mem::take(&mut *notes.lock().unwrap())
    }

    async fn said(asked: &[((Kind, Action), Option<&str>, bool)]) -> Vec<(String, u64, Outcome)> {
        let asks = async {
            for (what, key, is_allowed) in asked {
                note(None, *what, "ada", ("photos", *key), *is_allowed);
            }
        };
        let notes = noted(asks).await;
        let records = notes.iter().map(|note| note.record(Some(StatusCode::OK)));
        records.map(|record| (format!("{} {}", record.action, record.object), record.count, record.outcome)).collect()
    }

    #[tokio::test]
    async fn what_changes_something_is_noted_once_a_request() {
        let one = || ("files.write photos/a".to_owned(), 1, Outcome::Done);
        assert_eq!(said(&[(WRITE, None, true), (WRITE, Some("a"), true), (WRITE, Some("a"), true)]).await, [one()]);
        let read = [((Kind::Files, Action::Read), Some("a"), true), ((Kind::Files, Action::List), None, false)];
        assert!(said(&read).await.is_empty());
        let delete = (Kind::Files, Action::Delete);
        let moved = [(delete, Some("b"), true), (WRITE, Some("a"), true)];
        assert_eq!(said(&moved).await, [("files.delete photos/b".to_owned(), 1, Outcome::Done), one()]);
        let many = [(delete, Some("a"), true), (delete, Some("b"), true), (delete, Some("c"), false), (delete, Some("d"), true)];
        let expected =
            [("files.delete photos".to_owned(), 3, Outcome::Done), ("files.delete photos/c".to_owned(), 1, Outcome::Denied)];
        assert_eq!(said(&many).await, expected);
    }

    #[tokio::test]
    async fn what_became_of_it_is_told_in_one_word() {
        let notes = noted(async { note(None, WRITE, "ada", ("photos", Some("a")), true) }).await;
        let record = notes[0].record(Some(StatusCode::PRECONDITION_FAILED));
        assert_eq!((record.outcome, record.reason.as_str()), (Outcome::Failed, "PreconditionFailed"));
        assert_eq!((record.tenant.as_str(), record.actor.user.as_str()), ("ada", ""));
        let cut_off = notes[0].record(None);
        assert_eq!((cut_off.outcome, cut_off.reason.as_str()), (Outcome::Failed, "CutOff"));
        // Nobody asks.
        note(None, WRITE, "ada", ("photos", None), true);
    }
}

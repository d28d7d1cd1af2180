//! What is recorded of people, and who reads it.

use std::time::Instant;

use axum::Json;
use axum::extract::{Query, State};
use eddy_audit::{Actor, Asked, Outcome, Page, Record};
use eddy_http::Problem;
use eddy_telemetry::error_chain;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::SignIn;
use super::arrival::From;
use super::sessions::administrator;
use super::signed::Signed;
use crate::people::UserRef;

/// Without another word, records of so many days.
const DAYS: i64 = 7;
/// Records of a page, unless fewer are asked for.
const PAGE: usize = 200;

impl SignIn {
    /// Records what somebody did who is known: to themselves, or to another user.
    pub(super) fn did(&self, signed: &Signed, from: &From, action: &str, user: &str) {
        self.record(&signed.session.user, from, action, user, Outcome::Done, "");
    }

    /// Records that somebody was wrong about who they are. Names that nobody has are not kept: there would be no end of them.
    pub(super) fn failed_to_sign_in(&self, asked: UserRef<'_>, from: &From) {
        let user = if asked.since_s == i64::MIN { "" } else { asked.name };
        if !self.0.attempts.is_recorded(user, Instant::now()) {
            return;
        }
        self.record("", from, "session.begin", user, Outcome::Failed, "Wrong");
    }

    /// Records what a user did, or somebody tried to in their name.
    pub(super) fn record(&self, actor: &str, from: &From, action: &str, user: &str, outcome: Outcome, reason: &str) {
        let actor = Actor { user: actor.to_owned(), session: !actor.is_empty(), ..Actor::default() };
        let record = Record::now(actor, action, user, "", outcome).because(reason).of_request(&from.request);
        self.0.recorder.record(record.from(Some(from.address), ""));
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Whose; of all with `*`; one's own if nobody is said.
    user: Option<String>,
    since: Option<Timestamp>,
    after: Option<u64>,
    limit: Option<usize>,
}

/// Records: one's own, and for administrators those of others.
pub(super) async fn list(
    State(state): State<SignIn>,
    signed: Signed,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Page>, Problem> {
    let user = match wanted.user.as_deref() {
        None => Some(signed.session.user.clone()),
        Some("*") if signed.is_admin => None,
        Some(user) if user == signed.session.user => Some(user.to_owned()),
        Some(user) => {
            administrator(&signed, user)?;
            Some(user.to_owned())
        }
    };
    let since = wanted.since.or_else(|| Timestamp::now().checked_sub(SignedDuration::from_hours(DAYS * 24)).ok());
    let (since, limit) = (since.unwrap_or(Timestamp::UNIX_EPOCH), wanted.limit.unwrap_or(PAGE));
    let trail = state.0.trail.as_ref().ok_or_else(|| Problem::unavailable("nothing is recorded here"))?;
    // What is older than they are was of another of the same name.
    let is_theirs = |record: &Record| signed.is_admin || record.time.as_second() >= signed.since_s;
    let page = trail.read(&Asked { user, since, after: wanted.after, limit }).await;
    page.map(|page| Json(Page { items: page.items.into_iter().filter(is_theirs).collect(), ..page })).map_err(|error| {
        tracing::warn!(error = error_chain(&error), "failed to read records");
        Problem::unavailable("records cannot be read now: try again in a few seconds")
    })
}

//! Conditions as the Gateway API has them: each says what it was seen of, and since when it is so.

use eddy_gateway_api::Problem;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Longer messages are refused.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Conditions of one object, or of a part of it.
pub(super) struct Conditions<'a> {
    before: &'a [Condition],
    generation: Option<i64>,
    now: Timestamp,
    all: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    pub(super) fn new(before: &'a [Condition], generation: Option<i64>, now: Timestamp) -> Self {
        Self { before, generation, now, all: Vec::new() }
    }

    pub(super) fn put(&mut self, kind: &str, is_true: bool, reason: &str, message: &str) -> &mut Self {
        let status = if is_true { "True" } else { "False" };
        let since = self.before.iter().find(|before| before.type_ == kind && before.status == status);
        let end = (0..=message.len().min(MESSAGE_BYTES_MAX)).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        self.all.push(Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message[..end].to_owned(),
            observed_generation: self.generation,
            last_transition_time: since.map_or(Time(self.now), |before| before.last_transition_time.clone()),
        });
        self
    }

    /// All of them, and those that others wrote.
    pub(super) fn end(mut self) -> Vec<Condition> {
        let ours = ["Accepted", "Programmed", "Conflicted", "ResolvedRefs", "PartiallyInvalid", "InsecureFrontendValidationMode"];
        self.all.extend(self.before.iter().filter(|before| !ours.contains(&before.type_.as_str())).cloned());
        self.all
    }

    /// One that is true unless there is a problem.
    pub(super) fn unless(&mut self, problem: Option<&Problem>, kind: &str, good: (&str, &str)) -> &mut Self {
        match problem {
            None => self.put(kind, true, good.0, good.1),
            Some(problem) => self.put(kind, false, problem.reason, &problem.message),
        }
    }
}

//! Conditions as `kubectl wait`, Flux, Argo CD and Helm read them (kstatus): `Ready` always, `Reconciling` while
//! work is under way, `Stalled` while only a user can help.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::reason::{Outcome, Verdict};

const READY: &str = "Ready";
const RECONCILING: &str = "Reconciling";
const STALLED: &str = "Stalled";

/// The conditions that follow from a verdict. Times move only when a status flips; conditions of others stay.
pub(crate) fn conditions(previous: &[Condition], verdict: &Verdict, generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    let outcome = verdict.reason.outcome();
    let ready = match outcome {
        Outcome::Unknown => "Unknown",
        Outcome::Ready | Outcome::Impaired => "True",
        Outcome::Working | Outcome::Failed | Outcome::Stalled => "False",
    };
    let condition = |kind: &str, status: &str| {
        let since = previous.iter().find(|condition| condition.type_ == kind && condition.status == status);
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.as_str().to_owned(),
            message: verdict.message.clone(),
            observed_generation: generation,
            last_transition_time: since.map_or(Time(now), |condition| condition.last_transition_time.clone()),
        }
    };
    let mut conditions = vec![condition(READY, ready)];
    match outcome {
        Outcome::Unknown | Outcome::Working | Outcome::Failed => conditions.push(condition(RECONCILING, "True")),
        Outcome::Stalled => conditions.push(condition(STALLED, "True")),
        Outcome::Ready | Outcome::Impaired => {}
    }
    conditions
}

/// For how long it has not been ready, in seconds; 0 if it is, or was never said to be anything.
pub(crate) fn since_s(conditions: &[Condition], now: Timestamp) -> u64 {
    let unready = conditions.iter().find(|condition| condition.type_ == READY && condition.status != "True");
    let since_s = unready.map_or(0, |condition| now.as_second().saturating_sub(condition.last_transition_time.0.as_second()));
    u64::try_from(since_s).unwrap_or(0)
}

/// Whether a verdict is news for whoever follows the object's events.
pub(crate) fn is_transition(previous: &[Condition], verdict: &Verdict) -> bool {
    !previous.iter().any(|condition| condition.type_ == READY && condition.reason == verdict.reason.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }
    fn types(conditions: &[Condition]) -> Vec<(&str, &str)> {
        conditions.iter().map(|condition| (condition.type_.as_str(), condition.status.as_str())).collect()
    }

    #[test]
    fn the_first_status_is_unknown_so_that_nothing_reads_it_as_healthy() {
        let first = conditions(&[], &Verdict::new(Reason::Reconciling, "x"), Some(1), at(1));
        assert_eq!(types(&first), [("Ready", "Unknown"), ("Reconciling", "True")]);
        assert_eq!(first[0].observed_generation, Some(1));
    }

    #[test]
    fn what_only_a_user_can_mend_is_stalled_and_nothing_else_is() {
        let stalled = conditions(&[], &Verdict::new(Reason::QuotaExceeded, "x"), Some(1), at(1));
        assert_eq!(types(&stalled), [("Ready", "False"), ("Stalled", "True")]);
        let failed = conditions(&[], &Verdict::new(Reason::CrashLooping, "x"), Some(1), at(1));
        assert_eq!(types(&failed), [("Ready", "False"), ("Reconciling", "True")]);
        let ready = conditions(&failed, &Verdict::new(Reason::Running, "x"), Some(1), at(1));
        assert_eq!(types(&ready), [("Ready", "True")]);
    }

    #[test]
    fn the_time_moves_only_when_the_status_flips() {
        let first = conditions(&[], &Verdict::new(Reason::Progressing, "one of two"), Some(1), at(1));
        let second = conditions(&first, &Verdict::new(Reason::NotReady, "two of two"), Some(2), at(2));
        assert_eq!(second[0].last_transition_time.0, at(1));
        let third = conditions(&second, &Verdict::new(Reason::Running, "all"), Some(2), at(3));
        assert_eq!(third[0].last_transition_time.0, at(3));
    }

    #[test]
    fn an_event_is_worth_it_only_when_the_reason_changes() {
        let first = conditions(&[], &Verdict::new(Reason::Progressing, "one of two"), Some(1), at(1));
        assert!(!is_transition(&first, &Verdict::new(Reason::Progressing, "two of three")));
        assert!(is_transition(&first, &Verdict::new(Reason::Running, "all")));
    }
}

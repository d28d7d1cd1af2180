//! Which secrets of a Token are good, and whether it needs another, from what is known of it alone.

use std::time::Duration;

use eddy_crds::{TokenRotation, TokenSecret, TokenSpec};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// How a Token stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    /// The secrets that go on being good, the newest first.
    pub(super) keep: Vec<TokenSecret>,
    /// Whether another takes the place of the newest.
    pub(super) draws: bool,
    /// When something of this changes by itself.
    pub(super) next: Option<Timestamp>,
}

/// What is to be done with the secrets that are known.
pub(super) fn plan(spec: &TokenSpec, known: &[TokenSecret], now: Timestamp) -> Plan {
    let is_good = |secret: &&TokenSecret| secret.expires_at.as_ref().is_none_or(|end| end.0 > now);
    let keep: Vec<TokenSecret> = known.iter().filter(is_good).cloned().collect();
    // Of the newest nobody has said that it ends.
    let newest = keep.first().filter(|newest| newest.expires_at.is_none());
    let due = newest.zip(spec.rotation.as_ref()).and_then(|(newest, rotation)| rotates_at(newest, rotation));
    let draws = newest.is_none() || due.is_some_and(|due| due <= now);
    let ends = keep.iter().filter_map(|secret| secret.expires_at.as_ref().map(|end| end.0));
    let next = ends.chain(due).chain(spec.expires_at.as_ref().map(|end| end.0)).filter(|time| *time > now).min();
    Plan { keep, draws, next }
}

/// The secrets after another was drawn: the last newest stays good for the overlap.
pub(super) fn with_new(keep: &[TokenSecret], new: TokenSecret, rotation: Option<&TokenRotation>) -> Vec<TokenSecret> {
    let overlap = SignedDuration::from_hours(rotation.map_or(0, |rotation| i64::from(rotation.overlap_hours)));
    let end = new.issued_at.0.checked_add(overlap).unwrap_or(Timestamp::MAX);
    let now = new.issued_at.0;
    let earlier = keep.iter().cloned().map(|mut secret| {
        secret.expires_at.get_or_insert(Time(end));
        secret
    });
    let earlier: Vec<_> = earlier.filter(|secret| secret.expires_at.as_ref().is_some_and(|end| end.0 > now)).collect();
    [vec![new], earlier].concat()
}

/// How long to wait for a time.
pub(super) fn until(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(now)).unwrap_or_default()
}

fn rotates_at(newest: &TokenSecret, rotation: &TokenRotation) -> Option<Timestamp> {
    newest.issued_at.0.checked_add(SignedDuration::from_hours(24 * i64::from(rotation.every_days))).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HOUR_S: i64 = 3600;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * HOUR_S).unwrap()
    }

    fn secret(id: &str, issued: i64, ends: Option<i64>) -> TokenSecret {
        let expires_at = ends.map(|hour| Time(at(hour)));
        TokenSecret { id: id.into(), hash: String::new(), issued_at: Time(at(issued)), expires_at }
    }

    fn ids(secrets: &[TokenSecret]) -> Vec<&str> {
        secrets.iter().map(|secret| secret.id.as_str()).collect()
    }

    #[test]
    fn a_token_gets_one_secret_and_keeps_it() {
        let spec = TokenSpec::default();
        assert!(plan(&spec, &[], at(0)).draws);
        let new = with_new(&[], secret("a", 0, None), None);
        for hour in [0, 1, 100_000] {
            assert_eq!(plan(&spec, &new, at(hour)), Plan { keep: new.clone(), draws: false, next: None });
        }
    }

    #[test]
    fn a_secret_is_replaced_when_it_is_due_and_goes_on_being_good_for_the_overlap() {
        let rotation = TokenRotation { every_days: 2, overlap_hours: 5 };
        let spec = TokenSpec { rotation: Some(rotation.clone()), ..TokenSpec::default() };
        let first = [secret("a", 0, None)];
        let before = plan(&spec, &first, at(47));
        assert_eq!((before.draws, before.next), (false, Some(at(48))));
        let due = plan(&spec, &first, at(48));
        assert!(due.draws);
        let both = with_new(&due.keep, secret("b", 48, None), Some(&rotation));
        assert_eq!((ids(&both), both[1].expires_at.clone()), (vec!["b", "a"], Some(Time(at(53)))));
        let meanwhile = plan(&spec, &both, at(52));
        assert_eq!((meanwhile.draws, ids(&meanwhile.keep), meanwhile.next), (false, vec!["b", "a"], Some(at(53))));
        let after = plan(&spec, &both, at(53));
        assert_eq!((after.draws, ids(&after.keep), after.next), (false, vec!["b"], Some(at(96))));
    }

    #[test]
    fn without_an_overlap_the_last_secret_ends_at_once() {
        let rotation = TokenRotation { every_days: 1, overlap_hours: 0 };
        assert_eq!(ids(&with_new(&[secret("a", 0, None)], secret("b", 24, None), Some(&rotation))), ["b"]);
    }

    #[test]
    fn a_long_absence_draws_once() {
        let rotation = TokenRotation { every_days: 1, overlap_hours: 1 };
        let spec = TokenSpec { rotation: Some(rotation.clone()), ..TokenSpec::default() };
        let known = [secret("b", 24, None), secret("a", 0, Some(25))];
        let plan = plan(&spec, &known, at(1000));
        assert_eq!((plan.draws, ids(&plan.keep)), (true, vec!["b"]));
        let new = with_new(&plan.keep, secret("c", 1000, None), Some(&rotation));
        assert!(!super::plan(&spec, &new, at(1000)).draws);
    }

    #[test]
    fn the_end_of_all_is_waited_for() {
        let spec = TokenSpec { expires_at: Some(Time(at(10))), ..TokenSpec::default() };
        let known = [secret("a", 0, None)];
        assert_eq!((plan(&spec, &known, at(1)).next, until(at(10), at(1))), (Some(at(10)), Duration::from_secs(9 * 3600)));
        assert_eq!((plan(&spec, &known, at(10)).next, until(at(1), at(2))), (None, Duration::ZERO));
    }
}

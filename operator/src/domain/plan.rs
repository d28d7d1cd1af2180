//! When a certificate is obtained, renewed, and tried again.

use eddy_crds::DomainFailure;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// From when to when a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) not_before_s: i64,
    pub(super) not_after_s: i64,
    /// It is of the authority that there is now.
    pub(super) is_current: bool,
}

impl Lifetime {
    /// It is renewed from then on: a third of its time is left for tries, as authorities advise.
    fn renewed_from_s(self) -> i64 {
        self.not_before_s + (self.not_after_s - self.not_before_s) / 3 * 2
    }

    pub(super) fn is_valid(self, now: Timestamp) -> bool {
        (self.not_before_s..self.not_after_s).contains(&now.as_second())
    }
}

/// What is to be done about a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Todo {
    /// Nothing before this.
    Keep(Timestamp),
    /// It is tried again then, since it failed.
    Wait(Timestamp),
    /// One is obtained now.
    Obtain,
}

/// What is to be done, where a certificate for the host is there, or none.
pub(super) fn plan(certificate: Option<Lifetime>, failure: Option<&DomainFailure>, now: Timestamp) -> Todo {
    if let Some(certificate) = certificate.filter(|certificate| certificate.is_valid(now)) {
        let from = Timestamp::from_second(certificate.renewed_from_s()).unwrap_or(now);
        if now < from && certificate.is_current {
            return Todo::Keep(from);
        }
    }
    match failure {
        Some(failure) if failure.next_attempt_at.0 > now => Todo::Wait(failure.next_attempt_at.0),
        _ => Todo::Obtain,
    }
}

/// What was in the way of asking, which counts for nothing: it is tried again in a minute.
pub(super) fn hindered(before: Option<&DomainFailure>, message: String, now: Timestamp) -> DomainFailure {
    let next = now.saturating_add(SignedDuration::from_secs(60)).unwrap_or(now);
    DomainFailure { message, count: before.map_or(0, |before| before.count), next_attempt_at: Time(next) }
}

/// One failure more. Authorities count failures, five an hour and host being the least that is known, and refuse whoever has more.
pub(super) fn failed(before: Option<&DomainFailure>, message: String, least_s: i64, now: Timestamp) -> DomainFailure {
    let count = before.map_or(0, |before| before.count).saturating_add(1);
    let pause_s = match count {
        ..=1 => 60,
        2 => 300,
        3 => 900,
        _ => 3600,
    };
    let next = now.saturating_add(SignedDuration::from_secs(pause_s.max(least_s))).unwrap_or(now);
    DomainFailure { message, count, next_attempt_at: Time(next) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_certificate_is_renewed_in_its_last_third() {
        let certificate = Some(Lifetime { not_before_s: 0, not_after_s: 90, is_current: true });
        assert_eq!(plan(certificate, None, at(59)), Todo::Keep(at(60)));
        assert_eq!(plan(certificate, None, at(60)), Todo::Obtain);
        assert_eq!(plan(certificate, None, at(90)), Todo::Obtain);
        assert_eq!(plan(None, None, at(0)), Todo::Obtain);
        let of_another = Lifetime { not_before_s: 0, not_after_s: 90, is_current: false };
        assert_eq!(plan(Some(of_another), None, at(1)), Todo::Obtain, "as of one for trying");
    }

    #[test]
    fn what_failed_is_tried_less_and_less_and_no_more_than_five_times_in_the_first_hour() {
        let (mut now, mut failure, mut tries) = (at(0), None, 0);
        while now < at(3600) {
            assert_eq!(plan(None, failure.as_ref(), now), Todo::Obtain);
            let new = failed(failure.as_ref(), "x".to_owned(), 0, now);
            assert_eq!(plan(None, Some(&new), now), Todo::Wait(new.next_attempt_at.0));
            (now, failure, tries) = (new.next_attempt_at.0, Some(new), tries + 1);
        }
        assert!((3..=5).contains(&tries), "{tries}");
        assert_eq!(failed(None, "x".to_owned(), 7200, at(0)).next_attempt_at.0, at(7200));
    }
}

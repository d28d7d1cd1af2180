//! Whether what is watched has been failing for so long that something may have changed unseen.

use std::collections::BTreeMap;
use std::time::Duration;

use eddy_watch::PAUSE_MAX;
use tokio::time::Instant;

/// A watch that goes on failing fails again within this.
const GAP_MAX: Duration = PAUSE_MAX.saturating_mul(3);
/// Failures for less are a restart of the Kubernetes API, during which nothing can change.
const LASTS_FROM: Duration = Duration::from_secs(15);

/// Watches that fail.
#[derive(Debug, Default)]
pub(crate) struct Outages(BTreeMap<&'static str, Outage>);

#[derive(Clone, Copy, Debug)]
struct Outage {
    began: Instant,
    last: Instant,
}

impl Outages {
    /// The watch of this kind failed.
    pub(crate) fn failed(&mut self, kind: &'static str, now: Instant) {
        let outage = self.0.entry(kind).or_insert(Outage { began: now, last: now });
        // One that works again says nothing until something changes.
        if now.duration_since(outage.last) > GAP_MAX {
            outage.began = now;
        }
        outage.last = now;
    }

    /// A kind whose watch has been failing for a while, and goes on to.
    pub(crate) fn lasting(&self, now: Instant) -> Option<&'static str> {
        let lasts = |outage: &Outage| {
            outage.last.duration_since(outage.began) >= LASTS_FROM && now.duration_since(outage.last) <= GAP_MAX
        };
        self.0.iter().find(|(_, outage)| lasts(outage)).map(|(kind, _)| *kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_failing_lasts_and_what_works_again_does_not() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut outages = Outages::default();
        for second in [0, 4, 9, 14] {
            outages.failed("Token", at(second));
            assert_eq!(outages.lasting(at(second)), None, "{second}");
        }
        outages.failed("User", at(15));
        outages.failed("Token", at(19));
        assert_eq!(outages.lasting(at(19)), Some("Token"));
        assert_eq!((outages.lasting(at(31)), outages.lasting(at(32))), (Some("Token"), None));
        // Much later, it is another.
        outages.failed("Token", at(100));
        assert_eq!(outages.lasting(at(101)), None);
    }
}

//! Versions that must not be removed for a while (write once, read many).

use serde::{Deserialize, Serialize};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Why a version must stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// It must stay until then.
    pub retention: Option<Retention>,
    /// It must stay until its owner says otherwise.
    pub hold: bool,
}

/// Until when a version must stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// For whom it holds.
    pub mode: LockMode,
    /// Until when, in milliseconds since 1970.
    pub until_ms: u64,
}

/// For whom a retention holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockMode {
    /// For whoever does not say that they know of it and may ignore it.
    Governance,
    /// For everyone.
    Compliance,
}

/// A namespace whose versions may be locked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRule {
    /// How long new versions stay, unless their writer says otherwise.
    pub default: Option<(LockMode, Period)>,
}

/// How long new versions stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Period {
    /// So many days.
    Days(u32),
    /// So many years, of 365 days.
    Years(u32),
}

impl LockRule {
    /// Until when a version that is written now must stay, if its writer does not say.
    pub fn retention(&self, now_ms: u64) -> Option<Retention> {
        let (mode, period) = self.default?;
        let days = match period {
            Period::Days(days) => u64::from(days),
            Period::Years(years) => u64::from(years) * 365,
        };
        Some(Retention { mode, until_ms: now_ms + days * DAY_MS })
    }
}

impl Lock {
    /// Whether the version must stay now, even where whoever wants it gone bypasses governance.
    pub fn holds(&self, now_ms: u64, bypasses: bool) -> bool {
        let retained = self
            .retention
            .is_some_and(|retention| retention.until_ms > now_ms && !(bypasses && retention.mode == LockMode::Governance));
        self.hold || retained
    }

    /// Whether a retention may come in the place of the one that there is.
    pub fn may_become(&self, retention: Option<Retention>, now_ms: u64, bypasses: bool) -> bool {
        let Some(before) = self.retention.filter(|before| before.until_ms > now_ms) else { return true };
        let longer = retention.is_some_and(|retention| retention.until_ms >= before.until_ms && retention.mode == before.mode);
        longer || bypasses && before.mode == LockMode::Governance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(mode: LockMode, until_ms: u64) -> Option<Retention> {
        Some(Retention { mode, until_ms })
    }

    #[test]
    fn a_version_stays_until_its_time() {
        use LockMode::{Compliance, Governance};
        let lock = |retention, hold| Lock { retention, hold };
        assert!(!Lock::default().holds(5, false) && lock(None, true).holds(5, true));
        assert!(lock(until(Governance, 6), false).holds(5, false) && !lock(until(Governance, 6), false).holds(5, true));
        assert!(lock(until(Compliance, 6), false).holds(5, true) && !lock(until(Compliance, 6), false).holds(6, false));
    }

    #[test]
    fn a_retention_grows() {
        use LockMode::{Compliance, Governance};
        let may = |before, after, bypasses| Lock { retention: before, hold: false }.may_become(after, 5, bypasses);
        assert!(may(None, until(Governance, 1), false) && may(until(Compliance, 4), None, false));
        assert!(may(until(Governance, 9), until(Governance, 10), false) && may(until(Governance, 9), until(Compliance, 9), true));
        assert!(!may(until(Governance, 9), until(Governance, 8), false) && may(until(Governance, 9), until(Governance, 8), true));
        assert!(!may(until(Compliance, 9), until(Governance, 10), true) && !may(until(Compliance, 9), None, true));
        assert!(!may(until(Governance, 9), until(Compliance, 9), false));
        assert!(!may(until(Governance, 9), None, false) && may(until(Governance, 9), None, true));
    }

    #[test]
    fn a_rule_is_for_what_is_written_now() {
        let rule = LockRule { default: Some((LockMode::Compliance, Period::Years(1))) };
        assert_eq!(rule.retention(7), until(LockMode::Compliance, 7 + 365 * DAY_MS));
        assert_eq!(LockRule::default().retention(7), None);
    }
}

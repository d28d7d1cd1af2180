//! Who proves that a host is theirs: whoever puts what only they are told to put there into its DNS.

use std::cmp::Reverse;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// The TXT record that proves a host, or all names below one.
pub(super) fn record(host: &str) -> String {
    format!("_eddy.{}", base(host))
}

/// The host itself, or the one whose names a wildcard is for.
pub(super) fn base(host: &str) -> &str {
    host.strip_prefix("*.").unwrap_or(host)
}

/// What the record holds for a User, by its uid: another of the same name later has another.
pub(super) fn value(user: &str, host: &str) -> String {
    let digest = Sha256::new().chain_update(user).chain_update([0]).chain_update(host).finalize();
    format!("eddy-domain={}", BASE64_URL_SAFE_NO_PAD.encode(digest))
}

/// A proof: when it was given, in seconds since 1970, and in which core namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) at_s: i64,
    pub(super) namespace: String,
}

impl Proof {
    /// Whether it counts rather than another of the same host, as claims do: the later, since a host may be sold.
    pub(super) fn outdoes(&self, other: &Self) -> bool {
        (Reverse(self.at_s), &self.namespace) < (Reverse(other.at_s), &other.namespace)
    }
}

/// What the records say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The host is this tenant's.
    Proven,
    /// This tenant's record is not there.
    Missing,
    /// Another tenant's record is there as well, who proved it first.
    Kept,
}

/// What these records say, where the host is to be the one's whose value `own` is, and may be held by somebody of the value `holder`.
pub(super) fn judge(records: &[String], own: &str, holder: Option<&str>) -> Said {
    let has = |value: &str| records.iter().any(|record| record.trim() == value);
    match (has(own), holder.is_some_and(has)) {
        (false, _) => Said::Missing,
        (true, true) => Said::Kept,
        (true, false) => Said::Proven,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_a_value_for_each_host() {
        assert_eq!(
            (record("www.example.com").as_str(), record("*.example.com").as_str()),
            ("_eddy.www.example.com", "_eddy.example.com")
        );
        let value = value("uid", "www.example.com");
        assert!(value.starts_with("eddy-domain=") && value.len() == 55, "{value}");
        assert_ne!(value, super::value("other", "www.example.com"));
        assert_ne!(value, super::value("uid", "*.example.com"));
    }

    #[test]
    fn a_host_is_whose_record_is_there_and_of_two_the_first_ones() {
        let records = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        assert_eq!(judge(&records(&["v=spf1", " own "]), "own", None), Said::Proven);
        assert_eq!(judge(&records(&["other"]), "own", None), Said::Missing);
        assert_eq!(judge(&records(&["own", "other"]), "own", Some("other")), Said::Kept);
        assert_eq!(judge(&records(&["own"]), "own", Some("other")), Said::Proven, "it was sold");
    }

    #[test]
    fn the_later_proof_counts() {
        let proof = |at_s, namespace: &str| Proof { at_s, namespace: namespace.to_owned() };
        assert!(proof(2, "u-b").outdoes(&proof(1, "u-a")) && !proof(1, "u-a").outdoes(&proof(2, "u-b")));
        assert!(proof(1, "u-a").outdoes(&proof(1, "u-b")), "as claims are ordered");
    }
}

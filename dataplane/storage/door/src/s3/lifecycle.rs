//! Rules for how long things stay in a bucket.

use std::collections::BTreeSet;

use s3s::S3ErrorCode;
use s3s::dto::{ExpirationStatus, LifecycleRule, Timestamp};

use super::error::Failure;

/// Rules of a bucket, and bytes of a rule's name, as in S3.
const RULES_MAX: usize = 1000;
const ID_BYTES_MAX: usize = 255;

/// Checks rules, and names those that have no name.
pub(super) fn complete(rules: &mut [LifecycleRule]) -> Result<(), Failure> {
    if rules.is_empty() || rules.len() > RULES_MAX {
        return Err(malformed(&format!("a bucket has 1 to {RULES_MAX} rules")));
    }
    let mut ids = BTreeSet::new();
    for rule in rules {
        check(rule)?;
        let id = rule.id.get_or_insert_with(|| format!("{:016x}", fastrand::u64(..)));
        if id.len() > ID_BYTES_MAX {
            return Err(Failure::bad(format!("a rule's ID has at most {ID_BYTES_MAX} bytes")));
        }
        if !ids.insert(id.clone()) {
            return Err(Failure::bad(format!("two rules have the ID {id:?}")));
        }
    }
    Ok(())
}

fn malformed(message: &str) -> Failure {
    Failure::new(S3ErrorCode::MalformedXML, message)
}

fn is_midnight(date: &Timestamp) -> bool {
    super::attributes::seconds(date).is_some_and(|seconds| seconds.is_multiple_of(86_400))
}

fn check(rule: &LifecycleRule) -> Result<(), Failure> {
    if ![ExpirationStatus::ENABLED, ExpirationStatus::DISABLED].contains(&rule.status.as_str()) {
        return Err(malformed("a rule's status is Enabled or Disabled"));
    }
    if rule.prefix.is_some() && rule.filter.is_some() {
        return Err(malformed("a rule has a Prefix or a Filter, not both"));
    }
    if rule.transitions.as_ref().is_some_and(|all| !all.is_empty())
        || rule.noncurrent_version_transitions.as_ref().is_some_and(|all| !all.is_empty())
    {
        let dates = rule.transitions.iter().flatten().filter_map(|transition| transition.date.as_ref());
        if dates.into_iter().any(|date| !is_midnight(date)) {
            return Err(malformed("a transition's Date is midnight UTC"));
        }
        return Err(Failure::not_built("a transition to another storage class"));
    }
    let expiration = rule.expiration.as_ref();
    let older = rule.noncurrent_version_expiration.as_ref();
    let parts = rule.abort_incomplete_multipart_upload.as_ref();
    if expiration.is_none() && older.is_none() && parts.is_none() {
        return Err(malformed("a rule says what expires"));
    }
    if let Some(expiration) = expiration {
        let markers = expiration.expired_object_delete_marker == Some(true);
        let said = [expiration.days.is_some(), expiration.date.is_some(), expiration.expired_object_delete_marker.is_some()];
        if said.iter().filter(|said| **said).count() != 1 {
            return Err(malformed("an expiration has Days, a Date or ExpiredObjectDeleteMarker"));
        }
        if expiration.date.as_ref().is_some_and(|date| !is_midnight(date)) {
            return Err(Failure::bad("an expiration's Date is midnight UTC"));
        }
        let tagged = rule.filter.as_ref().is_some_and(|filter| {
            filter.tag.is_some() || filter.and.as_ref().is_some_and(|and| and.tags.as_ref().is_some_and(|tags| !tags.is_empty()))
        });
        if markers && tagged {
            return Err(malformed("what says that an object was deleted has no tags"));
        }
    }
    let days = [
        expiration.and_then(|expiration| expiration.days),
        older.and_then(|older| older.noncurrent_days),
        parts.and_then(|parts| parts.days_after_initiation),
    ];
    if days.into_iter().flatten().any(|days| days <= 0) {
        return Err(Failure::bad("days are above 0"));
    }
    if older.is_some_and(|older| older.noncurrent_days.is_none()) {
        return Err(malformed("older versions expire after NoncurrentDays"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use s3s::dto::{BucketLifecycleConfiguration, LifecycleExpiration};
    use s3s::xml::{Deserialize, Deserializer};

    use super::*;

    fn rule(inside: &str) -> Result<Vec<LifecycleRule>, Failure> {
        let text = format!("<LifecycleConfiguration><Rule>{inside}</Rule></LifecycleConfiguration>");
        let mut rules = BucketLifecycleConfiguration::deserialize(&mut Deserializer::new(text.as_bytes())).unwrap().rules;
        complete(&mut rules).map(|()| rules)
    }

    #[test]
    fn rules_are_named_and_wrong_ones_refused() {
        let days = "<Status>Enabled</Status><Filter><Prefix>a</Prefix></Filter><Expiration><Days>1</Days></Expiration>";
        assert!(rule(days).unwrap()[0].id.as_ref().is_some_and(|id| id.len() == 16));
        assert!(rule(&format!("<ID>x</ID>{days}")).is_ok());
        for bad in [
            "<Status>enabled</Status><Expiration><Days>1</Days></Expiration>",
            "<Status>Enabled</Status>",
            "<Status>Enabled</Status><Expiration><Days>0</Days></Expiration>",
            "<Status>Enabled</Status><Expiration></Expiration>",
            "<Status>Enabled</Status><Expiration><Date>2030-01-01T12:00:00Z</Date></Expiration>",
            "<Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>-1</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
            "<Status>Enabled</Status><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>",
        ] {
            assert!(rule(bad).is_err(), "{bad}");
        }
        assert!(rule("<Status>Enabled</Status><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>").is_ok());
        let named = || LifecycleRule {
            id: Some("same".into()),
            status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
            expiration: Some(LifecycleExpiration { days: Some(1), ..LifecycleExpiration::default() }),
            abort_incomplete_multipart_upload: None,
            filter: None,
            noncurrent_version_expiration: None,
            noncurrent_version_transitions: None,
            prefix: None,
            transitions: None,
        };
        assert!(complete(&mut [named(), named()]).is_err() && complete(&mut []).is_err());
    }
}

//! Rules for how long things stay in a bucket, between S3's documents and rows.

use std::collections::BTreeSet;

use eddy_object::schema::{
    Expire, ExpireOlder, FilterForm, LIFECYCLE, LifecycleFilter, LifecycleRule, LifecycleRules, decode, encode,
};
use s3s::S3ErrorCode;
use s3s::dto::{
    self, AbortIncompleteMultipartUpload, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput, ExpirationStatus,
    GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput, LifecycleExpiration, LifecycleRuleAndOperator,
    LifecycleRuleFilter, NoncurrentVersionExpiration, PutBucketLifecycleConfigurationInput,
    PutBucketLifecycleConfigurationOutput, Timestamp,
};

use super::asking::Asking;
use super::attributes::{milliseconds, tag_set, time};
use super::error::Failure;
use crate::access::Right;

/// Rules of a bucket, and bytes of a rule's name, as in S3.
const RULES_MAX: usize = 1000;
const ID_BYTES_MAX: usize = 255;
const DAY_MS: u64 = 86_400_000;

pub(super) async fn get(
    asking: Asking,
    input: GetBucketLifecycleConfigurationInput,
) -> Result<GetBucketLifecycleConfigurationOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::GetConfiguration("s3:GetLifecycleConfiguration")).await?;
    let none = || Failure::new(S3ErrorCode::NoSuchLifecycleConfiguration, "the bucket has no rules for how long things stay");
    let found = asking.door.metadata().configuration(bucket.space.id, LIFECYCLE).await?.ok_or_else(none)?;
    let LifecycleRules(rules) = decode(&found)?;
    Ok(GetBucketLifecycleConfigurationOutput {
        rules: Some(rules.into_iter().map(answered).collect()),
        ..GetBucketLifecycleConfigurationOutput::default()
    })
}

pub(super) async fn set(
    asking: Asking,
    input: PutBucketLifecycleConfigurationInput,
) -> Result<PutBucketLifecycleConfigurationOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::PutConfiguration("s3:PutLifecycleConfiguration")).await?;
    let rules = input.lifecycle_configuration.ok_or_else(|| malformed("the rules are missing"))?.rules;
    let row = encode(&rules_of(rules)?)?;
    asking.door.metadata().set_configuration(&bucket.name, LIFECYCLE, Some(row)).await?;
    Ok(PutBucketLifecycleConfigurationOutput::default())
}

pub(super) async fn delete(asking: Asking, input: DeleteBucketLifecycleInput) -> Result<DeleteBucketLifecycleOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::PutConfiguration("s3:PutLifecycleConfiguration")).await?;
    asking.door.metadata().set_configuration(&bucket.name, LIFECYCLE, None).await?;
    Ok(DeleteBucketLifecycleOutput::default())
}

fn malformed(message: &str) -> Failure {
    Failure::new(S3ErrorCode::MalformedXML, message)
}

/// Rules as they are kept. Those that have no name get one.
fn rules_of(rules: Vec<dto::LifecycleRule>) -> Result<LifecycleRules, Failure> {
    if rules.is_empty() || rules.len() > RULES_MAX {
        return Err(malformed(&format!("a bucket has 1 to {RULES_MAX} rules")));
    }
    let rules: Vec<LifecycleRule> = rules.into_iter().map(rule_of).collect::<Result<_, _>>()?;
    let mut ids = BTreeSet::new();
    for rule in &rules {
        if rule.id.len() > ID_BYTES_MAX {
            return Err(Failure::bad(format!("a rule's ID has at most {ID_BYTES_MAX} bytes")));
        }
        if !ids.insert(rule.id.as_str()) {
            return Err(Failure::bad(format!("two rules have the ID {:?}", rule.id)));
        }
    }
    Ok(LifecycleRules(rules))
}

fn rule_of(rule: dto::LifecycleRule) -> Result<LifecycleRule, Failure> {
    let enabled = match rule.status.as_str() {
        ExpirationStatus::ENABLED => true,
        ExpirationStatus::DISABLED => false,
        _ => return Err(malformed("a rule's status is Enabled or Disabled")),
    };
    if rule.prefix.is_some() && rule.filter.is_some() {
        return Err(malformed("a rule has a Prefix or a Filter, not both"));
    }
    let moves = rule.transitions.iter().flatten();
    if moves.clone().filter_map(|transition| transition.date.as_ref()).any(|date| midnight(date).is_none()) {
        return Err(malformed("a transition's Date is midnight UTC"));
    }
    if moves.count() > 0 || rule.noncurrent_version_transitions.iter().flatten().count() > 0 {
        return Err(Failure::not_built("a transition to another storage class"));
    }
    let filter = filter_of(rule.prefix, rule.filter)?;
    let expire = rule.expiration.map(expire_of).transpose()?;
    if expire == Some(Expire::LoneMarkers) && !filter.tags.is_empty() {
        return Err(malformed("what says that an object was deleted has no tags"));
    }
    let older = rule.noncurrent_version_expiration.map(older_of).transpose()?;
    let parts_days = rule
        .abort_incomplete_multipart_upload
        .map(|parts| days(parts.days_after_initiation.ok_or_else(|| malformed("parts are given up after DaysAfterInitiation"))?));
    let parts_days = parts_days.transpose()?;
    if expire.is_none() && older.is_none() && parts_days.is_none() {
        return Err(malformed("a rule says what expires"));
    }
    let id = rule.id.unwrap_or_else(|| format!("{:016x}", fastrand::u64(..)));
    Ok(LifecycleRule { id, enabled, filter, expire, older, parts_days })
}

fn filter_of(prefix: Option<String>, filter: Option<LifecycleRuleFilter>) -> Result<LifecycleFilter, Failure> {
    let Some(filter) = filter else { return Ok(LifecycleFilter { prefix, ..LifecycleFilter::default() }) };
    let bytes =
        |number: Option<i64>| number.map(|number| u64::try_from(number).map_err(|_| Failure::bad("a size is not below 0")));
    let pair = |tag: dto::Tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
    let bare = filter.prefix.is_some()
        || filter.tag.is_some()
        || filter.object_size_greater_than.is_some()
        || filter.object_size_less_than.is_some();
    if bare && filter.and.is_some() {
        return Err(malformed("a filter has its conditions in And, or beside each other"));
    }
    Ok(match filter.and {
        Some(and) => LifecycleFilter {
            prefix: and.prefix,
            tags: and.tags.unwrap_or_default().into_iter().map(pair).collect(),
            longer_than: bytes(and.object_size_greater_than).transpose()?,
            shorter_than: bytes(and.object_size_less_than).transpose()?,
            form: FilterForm::And,
        },
        None => LifecycleFilter {
            prefix: filter.prefix,
            tags: filter.tag.into_iter().map(pair).collect(),
            longer_than: bytes(filter.object_size_greater_than).transpose()?,
            shorter_than: bytes(filter.object_size_less_than).transpose()?,
            form: FilterForm::Filter,
        },
    })
}

fn expire_of(expiration: LifecycleExpiration) -> Result<Expire, Failure> {
    match (expiration.days, expiration.date, expiration.expired_object_delete_marker) {
        (Some(after), None, None) => Ok(Expire::AfterDays(days(after)?)),
        (None, Some(date), None) => {
            midnight(&date).map(Expire::On).ok_or_else(|| Failure::bad("an expiration's Date is midnight UTC"))
        }
        (None, None, Some(true)) => Ok(Expire::LoneMarkers),
        _ => Err(malformed("an expiration has Days, a Date or ExpiredObjectDeleteMarker")),
    }
}

fn older_of(older: NoncurrentVersionExpiration) -> Result<ExpireOlder, Failure> {
    let after = older.noncurrent_days.ok_or_else(|| malformed("older versions expire after NoncurrentDays"))?;
    let keep = older.newer_noncurrent_versions.map(days).transpose()?;
    Ok(ExpireOlder { days: days(after)?, keep })
}

fn days(number: i32) -> Result<u32, Failure> {
    let number = u32::try_from(number).ok().filter(|number| *number > 0);
    number.ok_or_else(|| Failure::bad("days, and versions that stay, are above 0"))
}

/// A day, in milliseconds since 1970.
fn midnight(date: &Timestamp) -> Option<u64> {
    milliseconds(date).filter(|milliseconds| milliseconds.is_multiple_of(DAY_MS))
}

/// A rule as answers have it.
fn answered(rule: LifecycleRule) -> dto::LifecycleRule {
    let number = |number: u32| i32::try_from(number).ok();
    let expiration = rule.expire.map(|expire| match expire {
        Expire::AfterDays(days) => LifecycleExpiration { days: number(days), ..LifecycleExpiration::default() },
        Expire::On(date_ms) => LifecycleExpiration { date: Some(time(date_ms)), ..LifecycleExpiration::default() },
        Expire::LoneMarkers => LifecycleExpiration { expired_object_delete_marker: Some(true), ..LifecycleExpiration::default() },
    });
    let LifecycleFilter { prefix, tags, longer_than, shorter_than, form } = rule.filter;
    let bytes = |number: Option<u64>| number.and_then(|number| i64::try_from(number).ok());
    let (longer, shorter) = (bytes(longer_than), bytes(shorter_than));
    let (prefix, filter) = match form {
        FilterForm::Bare => (prefix, None),
        FilterForm::Filter => {
            let tag = tag_set(&tags).pop();
            let one =
                LifecycleRuleFilter { and: None, object_size_greater_than: longer, object_size_less_than: shorter, prefix, tag };
            (None, Some(one))
        }
        FilterForm::And => {
            let and = LifecycleRuleAndOperator {
                object_size_greater_than: longer,
                object_size_less_than: shorter,
                prefix,
                tags: Some(tag_set(&tags)).filter(|tags| !tags.is_empty()),
            };
            (None, Some(LifecycleRuleFilter { and: Some(and), ..LifecycleRuleFilter::default() }))
        }
    };
    let older = rule.older.map(|older| NoncurrentVersionExpiration {
        newer_noncurrent_versions: older.keep.and_then(number),
        noncurrent_days: number(older.days),
    });
    let parts = rule.parts_days.map(|days| AbortIncompleteMultipartUpload { days_after_initiation: number(days) });
    let status = if rule.enabled { ExpirationStatus::ENABLED } else { ExpirationStatus::DISABLED };
    dto::LifecycleRule {
        abort_incomplete_multipart_upload: parts,
        expiration,
        filter,
        id: Some(rule.id),
        noncurrent_version_expiration: older,
        noncurrent_version_transitions: None,
        prefix,
        status: ExpirationStatus::from_static(status),
        transitions: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use s3s::dto::BucketLifecycleConfiguration;
    use s3s::xml::{Deserialize, Deserializer};

    use super::*;

    fn parsed(inside: &str) -> Vec<dto::LifecycleRule> {
        let text = format!("<LifecycleConfiguration>{inside}</LifecycleConfiguration>");
        BucketLifecycleConfiguration::deserialize(&mut Deserializer::new(text.as_bytes())).unwrap().rules
    }

    fn rule(inside: &str) -> Result<LifecycleRules, Failure> {
        rules_of(parsed(&format!("<Rule>{inside}</Rule>")))
    }

    #[test]
    fn rules_come_back_as_they_were_written() {
        for inside in [
            "<ID>a</ID><Status>Enabled</Status><Prefix>x</Prefix><Expiration><Days>1</Days></Expiration>",
            "<ID>a</ID><Status>Disabled</Status><Filter><Prefix>x</Prefix></Filter><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>",
            "<ID>a</ID><Status>Enabled</Status><Filter></Filter><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
            "<ID>a</ID><Status>Enabled</Status><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>\
             <NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays><NewerNoncurrentVersions>3</NewerNoncurrentVersions></NoncurrentVersionExpiration>",
            "<ID>a</ID><Status>Enabled</Status><Filter><And><Prefix>x</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>\
             <ObjectSizeGreaterThan>5</ObjectSizeGreaterThan></And></Filter>\
             <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
        ] {
            let LifecycleRules(rules) = rule(inside).unwrap();
            let back: Vec<_> = rules.into_iter().map(answered).collect();
            assert_eq!(back, parsed(&format!("<Rule>{inside}</Rule>")), "{inside}");
        }
    }

    #[test]
    fn rules_are_named_and_wrong_ones_refused() {
        let days = "<Status>Enabled</Status><Filter><Prefix>a</Prefix></Filter><Expiration><Days>1</Days></Expiration>";
        assert_eq!(rule(days).unwrap().0[0].id.len(), 16);
        for bad in [
            "<Status>enabled</Status><Expiration><Days>1</Days></Expiration>",
            "<Status>Enabled</Status>",
            "<Status>Enabled</Status><Expiration><Days>0</Days></Expiration>",
            "<Status>Enabled</Status><Expiration></Expiration>",
            "<Status>Enabled</Status><Expiration><Date>2030-01-01T12:00:00Z</Date></Expiration>",
            "<Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>-1</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
            "<Status>Enabled</Status><Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>",
            "<Status>Enabled</Status><Filter><Prefix>a</Prefix><And><Prefix>b</Prefix></And></Filter><Expiration><Days>1</Days></Expiration>",
        ] {
            assert!(rule(bad).is_err(), "{bad}");
        }
        let named = format!("<Rule><ID>same</ID>{days}</Rule>");
        assert!(rules_of(parsed(&named)).is_ok() && rules_of(parsed(&format!("{named}{named}"))).is_err());
        assert!(rules_of(Vec::new()).is_err());
    }
}

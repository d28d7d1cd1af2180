//! Object lock: versions that must not be removed for a while.

use eddy_object::schema::{Lock, LockMode, LockRule, NamespaceSettings, ObjectRow, Period, Retention, Versioning};
use eddy_object::{ObjectError, now_ms};
use s3s::S3ErrorCode;
use s3s::dto::{
    DefaultRetention, GetObjectLegalHoldInput, GetObjectLegalHoldOutput, GetObjectLockConfigurationInput,
    GetObjectLockConfigurationOutput, GetObjectRetentionInput, GetObjectRetentionOutput, ObjectLockConfiguration,
    ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode,
    ObjectLockRule, PutObjectLegalHoldInput, PutObjectLegalHoldOutput, PutObjectLockConfigurationInput,
    PutObjectLockConfigurationOutput, PutObjectRetentionInput, PutObjectRetentionOutput, Timestamp,
};

use super::asking::{Asking, Bucket};
use super::attributes::{milliseconds, time};
use super::error::Failure;
use crate::access::Right;

/// Longest default, in days.
const DAYS_MAX: i32 = 36_500;

/// What a request says of the lock of what it writes.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) mode: Option<String>,
    pub(super) until: Option<Timestamp>,
    pub(super) hold: Option<String>,
}

/// Takes what a request says of a lock out of it.
macro_rules! wanted_lock {
    ($input:ident) => {
        $crate::s3::lock::Wanted {
            mode: $input.object_lock_mode.take().map(|mode| mode.as_str().to_owned()),
            until: $input.object_lock_retain_until_date.take(),
            hold: $input.object_lock_legal_hold_status.take().map(|hold| hold.as_str().to_owned()),
        }
    };
}
pub(super) use wanted_lock;

impl Wanted {
    /// The lock of what is written to a bucket, where whoever writes may lock it, too.
    pub(super) async fn of_new(self, asking: &Asking, bucket: &Bucket, key: &str) -> Result<Lock, Failure> {
        if self.mode.is_some() || self.until.is_some() {
            asking.check(bucket, Some(key), None, Right::PutObjectRetention).await?;
        }
        if self.hold.is_some() {
            asking.check(bucket, Some(key), None, Right::PutObjectLegalHold).await?;
        }
        self.lock(bucket)
    }

    fn lock(self, bucket: &Bucket) -> Result<Lock, Failure> {
        if self.mode.is_none() && self.until.is_none() && self.hold.is_none() {
            return Ok(Lock::default());
        }
        rule_of(bucket)?;
        let retention = match (self.mode, self.until) {
            (None, None) => None,
            (Some(mode), Some(until)) => Some(retention(&mode, &until)?),
            _ => return Err(Failure::bad("a retention has a mode and a date")),
        };
        let hold = self.hold.map(|hold| hold_of(&hold)).transpose()?.unwrap_or(false);
        Ok(Lock { retention, hold })
    }
}

fn retention(mode: &str, until: &Timestamp) -> Result<Retention, Failure> {
    let mode = mode_of(mode).ok_or_else(|| Failure::bad("a retention's mode is GOVERNANCE or COMPLIANCE"))?;
    let until_ms = milliseconds(until).filter(|until_ms| *until_ms > now_ms());
    let until_ms = until_ms.ok_or_else(|| Failure::bad("a retention ends in the future"))?;
    Ok(Retention { mode, until_ms })
}

fn mode_of(name: &str) -> Option<LockMode> {
    match name {
        ObjectLockRetentionMode::GOVERNANCE => Some(LockMode::Governance),
        ObjectLockRetentionMode::COMPLIANCE => Some(LockMode::Compliance),
        _ => None,
    }
}

/// What a mode is called.
pub(super) fn mode_name(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => ObjectLockRetentionMode::GOVERNANCE,
        LockMode::Compliance => ObjectLockRetentionMode::COMPLIANCE,
    }
}

fn hold_of(status: &str) -> Result<bool, Failure> {
    match status {
        ObjectLockLegalHoldStatus::ON => Ok(true),
        ObjectLockLegalHoldStatus::OFF => Ok(false),
        _ => Err(Failure::new(S3ErrorCode::MalformedXML, "a legal hold is ON or OFF")),
    }
}

/// What a hold is called.
pub(super) fn hold_name(hold: bool) -> &'static str {
    if hold { ObjectLockLegalHoldStatus::ON } else { ObjectLockLegalHoldStatus::OFF }
}

fn rule_of(bucket: &Bucket) -> Result<LockRule, Failure> {
    let none = || Failure::new(S3ErrorCode::InvalidRequest, "the bucket was not made for object lock");
    bucket.space.settings.lock.ok_or_else(none)
}

pub(super) async fn configuration(
    asking: Asking,
    input: GetObjectLockConfigurationInput,
) -> Result<GetObjectLockConfigurationOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::GetConfiguration("s3:GetBucketObjectLockConfiguration")).await?;
    let none = || Failure::new(S3ErrorCode::ObjectLockConfigurationNotFoundError, "the bucket was not made for object lock");
    let rule = bucket.space.settings.lock.ok_or_else(none)?.default.map(|(mode, period)| {
        let (days, years) = match period {
            Period::Days(days) => (i32::try_from(days).ok(), None),
            Period::Years(years) => (None, i32::try_from(years).ok()),
        };
        let mode = Some(ObjectLockRetentionMode::from_static(mode_name(mode)));
        ObjectLockRule { default_retention: Some(DefaultRetention { days, mode, years }) }
    });
    let object_lock_enabled = Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED));
    Ok(GetObjectLockConfigurationOutput {
        object_lock_configuration: Some(ObjectLockConfiguration { object_lock_enabled, rule }),
    })
}

pub(super) async fn set_configuration(
    asking: Asking,
    input: PutObjectLockConfigurationInput,
) -> Result<PutObjectLockConfigurationOutput, Failure> {
    let bucket = asking.bucket(&input.bucket, Right::PutConfiguration("s3:PutBucketObjectLockConfiguration")).await?;
    let malformed = |message: &str| Failure::new(S3ErrorCode::MalformedXML, message);
    let wanted = input.object_lock_configuration.ok_or_else(|| malformed("the configuration is missing"))?;
    if wanted.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str) != Some(ObjectLockEnabled::ENABLED) {
        return Err(malformed("object lock is Enabled, and stays so"));
    }
    if bucket.space.settings.lock.is_none() && bucket.space.settings.versioning != Versioning::On {
        return Err(Failure::new(S3ErrorCode::InvalidBucketState, "turn versioning on first: locks are on versions"));
    }
    let rule = LockRule { default: wanted.rule.and_then(|rule| rule.default_retention).map(default_of).transpose()? };
    let change = |settings: &mut NamespaceSettings| settings.lock = Some(rule);
    asking.door.metadata().change_namespace(&bucket.name, change).await?;
    Ok(PutObjectLockConfigurationOutput::default())
}

fn default_of(retention: DefaultRetention) -> Result<(LockMode, Period), Failure> {
    let malformed = |message: &str| Failure::new(S3ErrorCode::MalformedXML, message);
    let mode = retention.mode.as_ref().and_then(|mode| mode_of(mode.as_str()));
    let mode = mode.ok_or_else(|| malformed("a default's mode is GOVERNANCE or COMPLIANCE"))?;
    let number = |number: i32, at_most: i32| {
        let fits = u32::try_from(number).ok().filter(|_| (1..=at_most).contains(&number));
        fits.ok_or_else(|| {
            let message = format!("a default is 1 to {at_most} long");
            Failure::with_status("InvalidRetentionPeriod", http::StatusCode::BAD_REQUEST, message)
        })
    };
    let period = match (retention.days, retention.years) {
        (Some(days), None) => Period::Days(number(days, DAYS_MAX)?),
        (None, Some(years)) => Period::Years(number(years, DAYS_MAX / 365)?),
        _ => return Err(malformed("a default has Days or Years")),
    };
    Ok((mode, period))
}

/// Whether whoever asks may remove, or change the lock of, what governance wants to stay, and says that they want to.
pub(super) async fn bypasses(asking: &Asking, bucket: &Bucket, key: &str, says: Option<bool>) -> Result<bool, Failure> {
    let right = Right::BypassGovernanceRetention;
    let does = says == Some(true) && asking.may(bucket, Some(key), None, right).await?;
    if does {
        asking.note(bucket, Some(key), right, true);
    }
    Ok(does)
}

pub(super) async fn retention_of(asking: Asking, input: GetObjectRetentionInput) -> Result<GetObjectRetentionOutput, Failure> {
    let version = input.version_id.as_deref();
    let (bucket, row) = asking.object(&input.bucket, &input.key, version, Right::GetObjectRetention).await?;
    rule_of(&bucket)?;
    let none = || Failure::new(S3ErrorCode::NoSuchObjectLockConfiguration, "the version has no retention");
    let retention = row.attributes.lock.retention.ok_or_else(none)?;
    let mode = Some(ObjectLockRetentionMode::from_static(mode_name(retention.mode)));
    let retain_until_date = Some(time(retention.until_ms));
    Ok(GetObjectRetentionOutput { retention: Some(ObjectLockRetention { mode, retain_until_date }) })
}

pub(super) async fn set_retention(asking: Asking, input: PutObjectRetentionInput) -> Result<PutObjectRetentionOutput, Failure> {
    let version = input.version_id.as_deref();
    let (bucket, row) = asking.object(&input.bucket, &input.key, version, Right::PutObjectRetention).await?;
    rule_of(&bucket)?;
    let malformed = || Failure::new(S3ErrorCode::MalformedXML, "a retention has a Mode and a RetainUntilDate");
    let wanted = match input.retention {
        Some(ObjectLockRetention { mode: Some(mode), retain_until_date: Some(until) }) => {
            if mode_of(mode.as_str()).is_none() {
                return Err(malformed());
            }
            Some(retention(mode.as_str(), &until)?)
        }
        Some(ObjectLockRetention { mode: None, retain_until_date: None }) => None,
        _ => return Err(malformed()),
    };
    let bypasses = bypasses(&asking, &bucket, &input.key, input.bypass_governance_retention).await?;
    let change = |row: &mut ObjectRow| {
        if !row.attributes.lock.may_become(wanted, now_ms(), bypasses) {
            return Err(ObjectError::Locked);
        }
        row.attributes.lock.retention = wanted;
        Ok(())
    };
    asking.change(&bucket, &input.key, version, &row, change).await?;
    Ok(PutObjectRetentionOutput::default())
}

pub(super) async fn hold(asking: Asking, input: GetObjectLegalHoldInput) -> Result<GetObjectLegalHoldOutput, Failure> {
    let version = input.version_id.as_deref();
    let (bucket, row) = asking.object(&input.bucket, &input.key, version, Right::GetObjectLegalHold).await?;
    rule_of(&bucket)?;
    let status = ObjectLockLegalHoldStatus::from_static(hold_name(row.attributes.lock.hold));
    Ok(GetObjectLegalHoldOutput { legal_hold: Some(ObjectLockLegalHold { status: Some(status) }) })
}

pub(super) async fn set_hold(asking: Asking, input: PutObjectLegalHoldInput) -> Result<PutObjectLegalHoldOutput, Failure> {
    let version = input.version_id.as_deref();
    let (bucket, row) = asking.object(&input.bucket, &input.key, version, Right::PutObjectLegalHold).await?;
    rule_of(&bucket)?;
    let status = input.legal_hold.and_then(|hold| hold.status);
    let hold = hold_of(status.as_ref().map(ObjectLockLegalHoldStatus::as_str).unwrap_or_default())?;
    let change = |row: &mut ObjectRow| {
        row.attributes.lock.hold = hold;
        Ok(())
    };
    asking.change(&bucket, &input.key, version, &row, change).await?;
    Ok(PutObjectLegalHoldOutput::default())
}

//! Every reason that a `Ready` condition may give: one closed set for conditions, events and metrics.

/// What a reason means for whoever waits for the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing was tried yet.
    Unknown,
    /// It does what its spec asks for.
    Ready,
    /// It does, and someone should know that it may not for ever.
    Impaired,
    /// It will, without anyone's help, unless something else goes wrong.
    Working,
    /// Something failed and is tried again.
    Failed,
    /// Only a change to this object, or to one that it names, can help.
    Stalled,
}

/// Why an object is ready, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    Reconciling,
    // What users wait for.
    Provisioned,
    Running,
    Stopped,
    Serving,
    Granted,
    Issued,
    Proven,
    // Usable, and something is wrong.
    RenewalFailing,
    // On the way there.
    Progressing,
    TenantMissing,
    AccountMissing,
    NotReady,
    NotProven,
    NoEndpoints,
    NotEmpty,
    Deleting,
    // Tried again.
    ApplyFailed,
    CrashLooping,
    Unschedulable,
    PodsRefused,
    StorageFailed,
    LookupFailed,
    IssuanceFailed,
    // For the user to mend.
    Rejected,
    NotATenant,
    ImageUnavailable,
    SecretMissing,
    QuotaExceeded,
    HostTaken,
    PortTaken,
    PortNotOpen,
    NameTaken,
    BackendNotFound,
    InvalidScope,
    InvalidRoute,
    InvalidCertificate,
    NoAuthority,
    Expired,
    Suspended,
    NotSupported,
}

impl Reason {
    /// The word in the condition, the event and the metric.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Reconciling => "Reconciling",
            Self::Provisioned => "Provisioned",
            Self::Running => "Running",
            Self::Stopped => "Stopped",
            Self::Serving => "Serving",
            Self::Granted => "Granted",
            Self::Issued => "Issued",
            Self::Proven => "Proven",
            Self::RenewalFailing => "RenewalFailing",
            Self::NotProven => "NotProven",
            Self::LookupFailed => "LookupFailed",
            Self::IssuanceFailed => "IssuanceFailed",
            Self::NoAuthority => "NoAuthority",
            Self::AccountMissing => "AccountMissing",
            Self::InvalidScope => "InvalidScope",
            Self::InvalidRoute => "InvalidRoute",
            Self::InvalidCertificate => "InvalidCertificate",
            Self::Expired => "Expired",
            Self::Suspended => "Suspended",
            Self::Progressing => "Progressing",
            Self::TenantMissing => "TenantMissing",
            Self::NotReady => "NotReady",
            Self::NoEndpoints => "NoEndpoints",
            Self::NotEmpty => "NotEmpty",
            Self::Deleting => "Deleting",
            Self::StorageFailed => "StorageFailed",
            Self::NameTaken => "NameTaken",
            Self::ApplyFailed => "ApplyFailed",
            Self::CrashLooping => "CrashLooping",
            Self::Unschedulable => "Unschedulable",
            Self::PodsRefused => "PodsRefused",
            Self::Rejected => "Rejected",
            Self::NotATenant => "NotATenant",
            Self::ImageUnavailable => "ImageUnavailable",
            Self::SecretMissing => "SecretMissing",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::HostTaken => "HostTaken",
            Self::PortTaken => "PortTaken",
            Self::PortNotOpen => "PortNotOpen",
            Self::BackendNotFound => "BackendNotFound",
            Self::NotSupported => "NotSupported",
        }
    }

    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Reconciling => Outcome::Unknown,
            Self::Provisioned | Self::Running | Self::Stopped | Self::Serving | Self::Granted | Self::Issued | Self::Proven => {
                Outcome::Ready
            }
            Self::RenewalFailing => Outcome::Impaired,
            Self::Progressing
            | Self::TenantMissing
            | Self::AccountMissing
            | Self::NotReady
            | Self::NotProven
            | Self::NoEndpoints
            | Self::NotEmpty
            | Self::Deleting => Outcome::Working,
            Self::ApplyFailed
            | Self::CrashLooping
            | Self::Unschedulable
            | Self::PodsRefused
            | Self::StorageFailed
            | Self::LookupFailed
            | Self::IssuanceFailed => Outcome::Failed,
            Self::Rejected
            | Self::NotATenant
            | Self::ImageUnavailable
            | Self::SecretMissing
            | Self::QuotaExceeded
            | Self::HostTaken
            | Self::PortTaken
            | Self::PortNotOpen
            | Self::NameTaken
            | Self::BackendNotFound
            | Self::InvalidScope
            | Self::InvalidRoute
            | Self::InvalidCertificate
            | Self::NoAuthority
            | Self::Expired
            | Self::Suspended
            | Self::NotSupported => Outcome::Stalled,
        }
    }
}

/// A reason with the sentence that a user reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl Verdict {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

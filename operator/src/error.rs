//! What can go wrong in a reconciliation, one variant a step.

use std::time::Duration;

use eddy_authz::NoRandomness;
use eddy_object::ObjectError;

/// Why a reconciliation failed. It is tried again, later each time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    #[error("failed to apply {kind} {name:?}")]
    Apply { kind: &'static str, name: String, source: Box<kube::Error> },
    #[error("failed to ask which {kind}s there are")]
    Ask { kind: &'static str, source: Box<kube::Error> },
    #[error("failed to delete {kind} {name:?}")]
    Delete { kind: &'static str, name: String, source: Box<kube::Error> },
    #[error("failed to write the status")]
    Status(#[source] Box<kube::Error>),
    #[error("failed to hold or let go of the object")]
    Finalizer(#[source] Box<kube::Error>),
    #[error("failed to draw a token")]
    Draw(#[from] NoRandomness),
    #[error("failed to tell storage, or to ask it")]
    Storage(#[source] ObjectError),
    #[error("not done within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("a fault in the operator: {0}")]
    Panicked(String),
}

impl ReconcileError {
    /// The error's name in metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Apply { .. } => "apply",
            Self::Ask { .. } => "ask",
            Self::Delete { .. } => "delete",
            Self::Status(_) => "status",
            Self::Finalizer(_) => "finalizer",
            Self::Draw(_) => "draw",
            Self::Storage(_) => "storage",
            Self::Timeout(_) => "timeout",
            Self::Panicked(_) => "panicked",
        }
    }

    /// The API server's own sentence, where it says that what was sent can never be accepted.
    pub(crate) fn rejection(&self) -> Option<String> {
        match self {
            Self::Apply { source, .. } => match &**source {
                kube::Error::Api(status) if status.is_invalid() || status.code == 400 => Some(status.message.clone()),
                _ => None,
            },
            _ => None,
        }
    }
}

//! What the Kubernetes API tells of what is asked of it: so that what is done by kubectl is in the record of who did what.
//!
//! Its audit webhook (<https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/#webhook-backend>) sends events by the hundred, with a token that
//! only it and Eddy have, and sends them again if they are not taken: they are taken as soon as there is room for all of them.

mod event;
mod record;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use eddy_audit::Recorder;
use eddy_authz::feed::Feed;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::event::{Event, EventList};
use self::record::record;
use crate::metrics::{ApiMetrics, Told};

/// More than comes at once of an API server that is told as the documentation says.
const BYTES_MAX: usize = 10 * 1024 * 1024;
/// So many are read at once.
const AT_ONCE: usize = 4;
/// They come within this.
const WITHIN: Duration = Duration::from_secs(20);
/// A token is no shorter than what cannot be guessed.
const TOKEN_BYTES_MIN: usize = 32;

/// What answers the Kubernetes API. Clones are one.
#[derive(Clone)]
pub(crate) struct Audits(Arc<Shared>);

struct Shared {
    token_file: PathBuf,
    core: String,
    feed: Feed,
    recorder: Recorder,
    metrics: ApiMetrics,
    at_once: Semaphore,
}

impl Audits {
    /// Takes events from whoever shows what is in the file, which is read anew each time. `core` is Eddy's own namespace.
    pub(crate) fn new(token_file: PathBuf, core: String, feed: Feed, recorder: Recorder, metrics: ApiMetrics) -> Self {
        Self(Arc::new(Shared { token_file, core, feed, recorder, metrics, at_once: Semaphore::new(AT_ONCE) }))
    }

    /// All paths.
    pub(crate) fn router(self) -> Router {
        Router::new().route("/audit", post(take)).with_state(self)
    }
}

async fn take(State(Audits(shared)): State<Audits>, headers: HeaderMap, body: Body) -> StatusCode {
    if !is_let_in(&shared.token_file, &headers).await {
        return StatusCode::UNAUTHORIZED;
    }
    // It is not known yet who is a user; it is told again.
    if shared.feed.age().is_none() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let Ok(_turn) = shared.at_once.acquire().await else { return StatusCode::SERVICE_UNAVAILABLE };
    let Ok(Ok(body)) = timeout(WITHIN, axum::body::to_bytes(body, BYTES_MAX)).await else {
        tracing::warn!("events of the Kubernetes API's audit did not come whole: see docs/kubectl.md for what bounds them");
        return StatusCode::PAYLOAD_TOO_LARGE;
    };
    let Ok(events) = serde_json::from_slice::<EventList<'_>>(&body) else {
        tracing::warn!("what the Kubernetes API's audit sends is no EventList of audit.k8s.io/v1");
        return StatusCode::BAD_REQUEST;
    };
    let is_user = |user: &str| shared.feed.permissions().is_user(user);
    let understood: Vec<Event> = events.items.iter().filter_map(|event| serde_json::from_str(event.get()).ok()).collect();
    let records: Vec<_> = understood.iter().filter_map(|event| record(event, &shared.core, is_user)).collect();
    let Ok(recorded) = shared.recorder.record_all(records) else { return StatusCode::SERVICE_UNAVAILABLE };
    let count = |what, count: usize| shared.metrics.told.get_or_create(&Told { what }).inc_by(count as u64);
    count("recorded", recorded);
    count("left_out", understood.len() - recorded);
    count("malformed", events.items.len() - understood.len());
    StatusCode::OK
}

/// Whether the one token is shown.
async fn is_let_in(file: &Path, headers: &HeaderMap) -> bool {
    let token = match tokio::fs::read(file).await {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(%error, file = %file.display(), "failed to read the token of the Kubernetes API's audit");
            return false;
        }
    };
    let token = token.trim_ascii();
    if token.len() < TOKEN_BYTES_MIN {
        tracing::error!(file = %file.display(), "the token of the Kubernetes API's audit is shorter than {TOKEN_BYTES_MIN} bytes");
        return false;
    }
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    shown.is_some_and(|shown| bool::from(shown.ct_eq(token)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[tokio::test]
    async fn only_the_one_token_lets_in_and_only_if_it_cannot_be_guessed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let let_in = async |header: Option<&str>| {
            let headers = header.map(|header| (AUTHORIZATION, HeaderValue::from_str(header).unwrap())).into_iter().collect();
            is_let_in(&file, &headers).await
        };
        let token = "0123456789abcdef0123456789abcdef";
        assert!(!let_in(Some(&format!("Bearer {token}"))).await, "there is no token yet");
        std::fs::write(&file, format!("{token}\n")).unwrap();
        assert!(let_in(Some(&format!("Bearer {token}"))).await);
        for wrong in
            [None, Some(""), Some("Bearer "), Some(token), Some("Bearer 0123456789abcdef0123456789abcdeg"), Some("Basic x")]
        {
            assert!(!let_in(wrong).await, "{wrong:?}");
        }
        std::fs::write(&file, "").unwrap();
        assert!(!let_in(Some("Bearer ")).await);
        std::fs::write(&file, "short").unwrap();
        assert!(!let_in(Some("Bearer short")).await);
    }
}

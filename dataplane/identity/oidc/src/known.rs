//! What a provider says of itself, read when it is needed, and again when that is old or a key is missing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openidconnect::IssuerUrl;
use openidconnect::core::CoreProviderMetadata;
use tokio::sync::Mutex as Turn;

use crate::fetch::{Fetch, FetchError};
use crate::provider::OidcError;

/// It is read again after this.
const FRESH_FOR: Duration = Duration::from_secs(3600);
/// And not used any more after this, if it cannot be.
const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);
/// After it could not be read, nobody tries again before this, where an older one does.
const PAUSE: Duration = Duration::from_secs(30);
/// A key that is missing makes it be read again not more often than this: whoever signs with keys of their own is no reason to ask all the
/// time.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What a provider says of itself.
#[derive(Debug, Default)]
pub(crate) struct Known {
    read: Mutex<Read>,
    /// Whoever reads it holds this.
    reading: Turn<()>,
}

#[derive(Debug, Default)]
struct Read {
    last: Option<(Instant, Arc<CoreProviderMetadata>)>,
    /// When it could not be read last.
    failed: Option<Instant>,
    /// When a key was missing last.
    missed: Option<Instant>,
}

impl Read {
    fn within(&self, age: Duration) -> Option<Arc<CoreProviderMetadata>> {
        self.last.as_ref().filter(|(read, _)| read.elapsed() < age).map(|(_, metadata)| metadata.clone())
    }
}

/// What for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// As always.
    Any,
    /// A key was not in it.
    Key,
}

impl Known {
    /// Where it is, and what it signs with. Of many who need it at once, one asks; the others do with an older one, or wait where there is
    /// none.
    pub(crate) async fn get(
        &self,
        issuer: &IssuerUrl,
        fetch: &Fetch,
        need: Need,
    ) -> Result<Arc<CoreProviderMetadata>, OidcError> {
        let is_missed = need == Need::Key && self.is_missed();
        let known = || self.locked().within(FRESH_FOR).filter(|_| !is_missed);
        if let Some(metadata) = known().or_else(|| self.while_it_is_away()) {
            return Ok(metadata);
        }
        let _turn = match self.reading.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                if let Some(metadata) = self.locked().within(GOOD_FOR) {
                    return Ok(metadata);
                }
                let turn = self.reading.lock().await;
                if let Some(metadata) = self.locked().within(FRESH_FOR) {
                    return Ok(metadata);
                }
                turn
            }
        };
        match CoreProviderMetadata::discover_async(issuer.clone(), fetch).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                let mut read = self.locked();
                (read.last, read.failed) = (Some((Instant::now(), metadata.clone())), None);
                Ok(metadata)
            }
            Err(error) => {
                let why = said(&error);
                let mut read = self.locked();
                read.failed = Some(Instant::now());
                let before = read.within(GOOD_FOR).ok_or_else(|| OidcError::Unreachable(why.clone()))?;
                tracing::warn!(
                    issuer = issuer.as_str(),
                    error = why,
                    "a provider says nothing of itself; what it said before is used"
                );
                Ok(before)
            }
        }
    }

    /// An older one, for a while after none could be read.
    fn while_it_is_away(&self) -> Option<Arc<CoreProviderMetadata>> {
        let read = self.locked();
        read.failed.filter(|failed| failed.elapsed() < PAUSE).and_then(|_| read.within(GOOD_FOR))
    }

    /// Notes that a key is missing; false if that was so just now.
    fn is_missed(&self) -> bool {
        let mut read = self.locked();
        let is_news = read.missed.is_none_or(|missed| missed.elapsed() > AGAIN_AFTER);
        if is_news {
            read.missed = Some(Instant::now());
        }
        is_news
    }

    fn locked(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What went wrong, without what the provider answered, which may be anything.
fn said(error: &openidconnect::DiscoveryError<FetchError>) -> String {
    use openidconnect::DiscoveryError::{Response, Validation};
    match error {
        Response(status, ..) => format!("it answered {status}"),
        Validation(why) => why.clone(),
        other => eddy_telemetry::error_chain(other),
    }
}

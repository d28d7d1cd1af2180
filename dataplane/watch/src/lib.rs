//! Watches of the Kubernetes API that recover within seconds of an outage, and the [`Lease`] that one replica of several holds.
//!
//! kube's own pauses grow to half a minute, and a version that has expired meanwhile, which is how most outages
//! end, counts as one more failure: a minute passes before a change is seen. Here pauses end at [`PAUSE_MAX`],
//! and an expired version is no failure.

mod lease;

use std::fmt::Debug;
use std::time::Duration;

use futures::{Stream, StreamExt, future};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

pub use self::lease::{Bid, Lease, LeaseError, LostLease};

/// The pause after a first failure; it doubles with each further one.
pub const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause, but for up to a quarter more by chance: so long a change may go unseen after an outage.
pub const PAUSE_MAX: Duration = Duration::from_secs(4);

/// A watch that was not told anything for so long asks again, so that one whose server is gone without a word is noticed.
const WATCH_SECONDS: u32 = 30;
/// A server that does not answer within this is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Longer than a watch is silent.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// A client that notices within a minute that the API is gone without a word. Its watches are of [`prompt`].
///
/// # Errors
/// That there is no Kubernetes to ask.
pub async fn client() -> Result<Client, kube::Error> {
    let mut config = kube::Config::infer().await.map_err(kube::Error::InferConfig)?;
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.read_timeout = Some(SILENCE_MAX);
    Client::try_from(config)
}

/// Watches of a [`client`].
pub fn prompt() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

/// What happens to the objects of `api`, for ever. An error is for the log only: what was known stays known until a
/// complete new list ([`Event::Init`] to [`Event::InitDone`]) is there.
pub fn watch<K>(
    api: Api<K>,
    configuration: watcher::Config,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    paced(watcher(api, configuration))
}

/// The same of all objects of a kind, in which one that this version cannot read is skipped instead of stopping all others.
pub fn watch_well_formed<K>(client: &Client) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static + use<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch(Api::<DeserializeGuard<K>>::all(client.clone()), prompt()).filter_map(|event| {
        future::ready(match event {
            Ok(Event::Apply(object)) => well_formed(object).map(|object| Ok(Event::Apply(object))),
            Ok(Event::InitApply(object)) => well_formed(object).map(|object| Ok(Event::InitApply(object))),
            Ok(Event::Delete(object)) => well_formed(object).map(|object| Ok(Event::Delete(object))),
            Ok(Event::Init) => Some(Ok(Event::Init)),
            Ok(Event::InitDone) => Some(Ok(Event::InitDone)),
            Err(error) => Some(Err(error)),
        })
    })
}

fn well_formed<K: Resource<DynamicType = ()>>(object: DeserializeGuard<K>) -> Option<K> {
    object
        .0
        .inspect_err(|invalid| {
            let kind = K::kind(&());
            tracing::warn!(%kind, namespace = ?invalid.metadata.namespace, name = ?invalid.metadata.name, error = invalid.error, "skipped a malformed object");
        })
        .ok()
}

fn paced<T>(events: impl Stream<Item = Result<T, watcher::Error>>) -> impl Stream<Item = Result<T, watcher::Error>> {
    events.filter(|event| future::ready(!expired(event))).backoff(Pauses::default())
}

/// Whether the version that a watch went on from is too old by now: the watcher goes on with a new list.
fn expired<T>(event: &Result<T, watcher::Error>) -> bool {
    match event {
        Err(watcher::Error::WatchError(status)) => status.code == 410,
        _ => false,
    }
}

/// Doubling pauses, with up to a quarter more by chance, so that those who lost the server at once do not all come
/// back at once.
#[derive(Debug, Default)]
struct Pauses {
    failures: u32,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = PAUSE_MIN.saturating_mul(2u32.saturating_pow(self.failures)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        Some(pause.mul_f64(1.0 + fastrand::f64() / 4.0))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use kube::core::Status;

    fn failure(code: u16) -> Result<u8, watcher::Error> {
        Err(watcher::Error::WatchError(Box::new(Status::failure("", "").with_code(code))))
    }

    #[test]
    fn pauses_double_and_end_at_a_few_seconds() {
        let mut pauses = Pauses::default();
        let lengths: Vec<Duration> = pauses.by_ref().take(40).collect();
        assert!(lengths[0] >= PAUSE_MIN && lengths[1] >= PAUSE_MIN * 2);
        assert!(lengths.iter().all(|pause| *pause <= PAUSE_MAX.mul_f64(1.25)));
        pauses.reset();
        assert!(pauses.next().is_some_and(|pause| pause < PAUSE_MIN * 2));
    }

    #[tokio::test]
    async fn an_expired_version_is_no_failure_and_no_pause() {
        let all = |events: Vec<_>| paced(futures::stream::iter(events)).collect::<Vec<_>>().now_or_never();
        assert!(matches!(all(vec![Ok(1), failure(410), Ok(2)]).as_deref(), Some([Ok(1), Ok(2)])));
        assert!(all(vec![failure(500), Ok(2)]).is_none(), "a failure is followed by a pause");
    }
}

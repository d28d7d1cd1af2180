//! Where names lead to, also while the servers of names are away.
//!
//! A machine that fails may take the cluster's only server of names with it, just when others must be found: so what was found
//! before is remembered, and looked up again in time, before anybody needs it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::runtime::Handle;

/// A lookup that takes longer is not waited for where something is remembered.
const PATIENCE: Duration = Duration::from_millis(250);
/// Names are looked up again this often: as long as a server of names in Kubernetes, by default, remembers what it said of one.
const REFRESH_EVERY: Duration = Duration::from_secs(5);

/// Looks up `host:port`.
type Lookup = Box<dyn Fn(String) -> Found + Send + Sync>;
type Found = BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// What names are known. Clones share it.
#[derive(Clone)]
pub(crate) struct Names(Arc<Known>);

struct Known {
    lookup: Lookup,
    names: Mutex<HashMap<String, Name>>,
}

#[derive(Default)]
struct Name {
    /// Where it led to last; nowhere if it was never found.
    addresses: Vec<SocketAddr>,
    /// The one lookup that is on its way: each takes a thread for as long as the servers are silent.
    asked: Option<Asked>,
}

type Asked = Shared<BoxFuture<'static, Result<Vec<SocketAddr>, (io::ErrorKind, String)>>>;

impl Default for Names {
    /// By the system's resolver.
    fn default() -> Self {
        Self::new(|name| async move { Ok(tokio::net::lookup_host(name).await?.collect()) }.boxed())
    }
}

impl Names {
    fn new(lookup: impl Fn(String) -> Found + Send + Sync + 'static) -> Self {
        Self(Arc::new(Known { lookup: Box::new(lookup), names: Mutex::default() }))
    }

    /// Looks up `host:port` from now on, again and again, so that it is known when it is needed.
    pub(crate) fn expect(&self, name: &str) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !is_address(name) && self.0.add(name) {
            runtime.spawn(refresh(Arc::downgrade(&self.0), name.to_owned()));
        }
    }

    /// Where `host:port` leads to, or did when it was last known.
    ///
    /// # Errors
    /// The resolver's, if it was never known.
    pub(crate) async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        self.expect(name);
        let asked = self.0.ask(name);
        if let Ok(Ok(addresses)) = tokio::time::timeout(PATIENCE, asked.clone()).await {
            return Ok(addresses);
        }
        let remembered = self.0.lock().get(name).map(|name| name.addresses.clone()).unwrap_or_default();
        if remembered.is_empty() { asked.await.map_err(|(kind, text)| io::Error::new(kind, text)) } else { Ok(remembered) }
    }
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Name>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was not there before.
    fn add(&self, name: &str) -> bool {
        let mut names = self.lock();
        let is_new = !names.contains_key(name);
        if is_new {
            names.insert(name.to_owned(), Name::default());
        }
        is_new
    }

    fn ask(self: &Arc<Self>, name: &str) -> Asked {
        let mut names = self.lock();
        let entry = names.entry(name.to_owned()).or_default();
        entry.asked.get_or_insert_with(|| self.clone().look_up(name.to_owned())).clone()
    }

    /// A task of its own: what nobody waits for any more is remembered, too.
    fn look_up(self: Arc<Self>, name: String) -> Asked {
        let task = tokio::spawn(async move {
            let found = (self.lookup)(name.clone()).await.map_err(|error| (error.kind(), error.to_string()));
            let found = found.and_then(|addresses| if addresses.is_empty() { Err(nowhere(&name)) } else { Ok(addresses) });
            let mut names = self.lock();
            let entry = names.entry(name).or_default();
            entry.asked = None;
            if let Ok(addresses) = &found {
                entry.addresses.clone_from(addresses);
            }
            found
        });
        task.map(|ended| ended.unwrap_or_else(|error| Err((io::ErrorKind::Other, error.to_string())))).boxed().shared()
    }
}

async fn refresh(known: Weak<Known>, name: String) {
    while let Some(asked) = known.upgrade().map(|known| known.ask(&name)) {
        // Who needs it hears why it failed.
        let _ = asked.await;
        tokio::time::sleep(REFRESH_EVERY).await;
    }
}

fn is_address(name: &str) -> bool {
    name.parse::<SocketAddr>().is_ok()
}

fn nowhere(name: &str) -> (io::ErrorKind, String) {
    (io::ErrorKind::NotFound, format!("the name {name} leads to no address"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicU16, Ordering};

    use super::*;

    /// What the server of names says, if not a port.
    const SILENT: u16 = 0;
    const UNKNOWN: u16 = 1;

    /// Names and what the server of names says.
    fn names() -> (Names, Arc<AtomicU16>) {
        let said = Arc::new(AtomicU16::new(UNKNOWN));
        let says = said.clone();
        let names = Names::new(move |_| {
            let says = says.clone();
            async move {
                match says.load(Ordering::Relaxed) {
                    SILENT => {
                        tokio::time::sleep(Duration::from_secs(40)).await;
                        Err(io::ErrorKind::TimedOut.into())
                    }
                    UNKNOWN => Err(io::ErrorKind::NotFound.into()),
                    port => Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))]),
                }
            }
            .boxed()
        });
        (names, said)
    }

    async fn port(names: &Names) -> io::Result<u16> {
        Ok(names.resolve("kv-0:7400").await?[0].port())
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_known_is_remembered_while_servers_are_silent_or_know_nothing() {
        let (names, says) = names();
        assert_eq!(port(&names).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        says.store(7, Ordering::Relaxed);
        assert_eq!(port(&names).await.unwrap(), 7);
        for silence in [SILENT, UNKNOWN] {
            says.store(silence, Ordering::Relaxed);
            let began = tokio::time::Instant::now();
            assert_eq!(port(&names).await.unwrap(), 7);
            assert!(began.elapsed() <= PATIENCE, "{:?}", began.elapsed());
        }
        // The lookup that waits must end first.
        tokio::time::sleep(Duration::from_secs(60)).await;
        says.store(8, Ordering::Relaxed);
        assert_eq!(port(&names).await.unwrap(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_be_needed_is_known_before_and_stays_fresh() {
        let (names, says) = names();
        says.store(7, Ordering::Relaxed);
        names.expect("kv-0:7400");
        tokio::time::sleep(Duration::from_millis(1)).await;
        says.store(8, Ordering::Relaxed);
        tokio::time::sleep(REFRESH_EVERY).await;
        says.store(SILENT, Ordering::Relaxed);
        assert_eq!(port(&names).await.unwrap(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_make_one_lookup() {
        static LOOKUPS: AtomicU16 = AtomicU16::new(0);
        let names = Names::new(|_| {
            async {
                LOOKUPS.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(20)).await;
                Ok(vec![SocketAddr::from(([10, 0, 0, 1], 7))])
            }
            .boxed()
        });
        let asked = futures::future::join_all((0..100).map(|_| port(&names))).await;
        assert!(asked.into_iter().all(|port| port.unwrap() == 7));
        assert_eq!(LOOKUPS.load(Ordering::Relaxed), 1);
    }
}

//! How what identity says reaches every process: a bucket of keys and values in JetStream, followed by each.
//!
//! Expected flow: a process opens its [`Feed`], which reads the file that an earlier run left, if there is one, and then follows the
//! bucket from the revision that the file is of: first what changed since, then every change as it is made. Identity puts a sign of
//! life into the bucket twice a second; since all entries come in one order, a sign of life that was given since the bucket was asked means
//! that everything before it is here. Only these make what is known younger.
//!
//! Guarantees: no gap. Whoever begins to publish draws an epoch and says it with every sign of life; only as long as nobody else writes,
//! and the bucket is the same, does it go on. Where the epoch differs (another bucket, one that was restored to an older state, another
//! identity), or the bucket's last revision is before ours, or the file is too old for marks of deletions to be there still, everything is
//! read anew and what is not in it is forgotten. Where nothing was heard for a while, the age of what is known says so, and
//! [`Standing`] what that is good for.

mod file;
mod follow;
mod options;
mod standing;
mod used;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::Client;
use eddy_telemetry::prometheus::registry::Registry;
use eddy_telemetry::{Gauges, figure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::permissions::{Permissions, Refused};
use crate::principal::Principal;
use crate::token::{Token, TokenHash};

pub use self::options::{FeedOptions, NatsError, NatsOptions};
pub use self::standing::{Ages, Standing};
pub use self::used::{USED_SUBJECT, used_ids};

/// The bucket's name.
pub const BUCKET: &str = "eddy-permissions";
/// The key of the sign of life.
pub const HEARTBEAT_KEY: &str = "meta.heartbeat";
/// Between two signs of life.
pub const HEARTBEAT_EVERY: Duration = Duration::from_millis(500);
/// A file older than this is not gone on from: marks of deletions may not be there any more.
pub const FILE_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Whoever heard nothing for longer may not know yet whom others know.
const SURE_FOR: Duration = Duration::from_secs(2);

/// Permissions are known by then, or are not to be known just now.
const FILLED_WITHIN: Duration = Duration::from_secs(10);

/// A sign of life of identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// Drawn whenever somebody begins to publish, after which nobody else does until another is drawn.
    pub epoch: u64,
}

impl Heartbeat {
    fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Nothing was ever heard.
const NEVER: i64 = i64::MIN;

/// What identity says, followed while this lives. Clones are of the same.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    permissions: Permissions,
    ages: Ages,
    began: Instant,
    /// When everything was here that had been said, in milliseconds after the beginning; before it, where a file says so.
    heard_ms: AtomicI64,
    revision: AtomicU64,
    /// Whether something is known.
    filled: watch::Sender<bool>,
    used: used::Used,
}

impl Shared {
    fn heard(&self, revision: u64, is_all: bool) {
        self.revision.store(revision, Ordering::Relaxed);
        if is_all {
            let now_ms = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
            self.heard_ms.store(now_ms, Ordering::Relaxed);
            self.filled.send_if_modified(|filled| !std::mem::replace(filled, true));
        }
    }

    fn age(&self) -> Option<Duration> {
        let heard_ms = self.heard_ms.load(Ordering::Relaxed);
        let now_ms = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let age_ms = (heard_ms != NEVER).then(|| now_ms.saturating_sub(heard_ms).max(0));
        age_ms.and_then(|age_ms| u64::try_from(age_ms).ok()).map(Duration::from_millis)
    }
}

impl Feed {
    /// Reads the file of an earlier run, and goes on from there.
    pub fn open(client: Client, file: PathBuf, ages: Ages) -> Self {
        let known = file::read(&file);
        let age_s = known.of.map(|of| follow::age_s(of.heard_s));
        let permissions = Permissions::default();
        permissions.replace(known.rows.iter().map(|(key, value)| (key.as_str(), &value[..])));
        tracing::info!(entries = permissions.len(), age_s, "permissions of an earlier run");
        let shared = Arc::new(Shared {
            permissions,
            ages,
            began: Instant::now(),
            heard_ms: AtomicI64::new(age_s.map_or(NEVER, |age_s| age_s.saturating_mul(-1000))),
            revision: AtomicU64::new(known.of.map_or(0, |of| of.revision)),
            filled: watch::Sender::new(known.of.is_some()),
            used: used::Used::default(),
        });
        tokio::spawn(used::say(Arc::downgrade(&shared), client.clone()));
        tokio::spawn(follow::Follower::new(&shared, client, file, known).run());
        Self(shared)
    }

    /// What is known for good: for tests, and for processes that ask nobody.
    pub fn fixed(permissions: Permissions) -> Self {
        let ages = Ages { writes_max: Duration::MAX, reads_max: Duration::MAX };
        Self::of(permissions, ages, i64::MAX)
    }

    /// What was known so long ago, and nothing since: for tests.
    pub fn fixed_at(permissions: Permissions, ages: Ages, age: Duration) -> Self {
        Self::of(permissions, ages, i64::try_from(age.as_millis()).map_or(NEVER, |age_ms| -age_ms))
    }

    fn of(permissions: Permissions, ages: Ages, heard_ms: i64) -> Self {
        Self(Arc::new(Shared {
            permissions,
            ages,
            began: Instant::now(),
            heard_ms: AtomicI64::new(heard_ms),
            revision: AtomicU64::new(0),
            filled: watch::Sender::new(true),
            used: used::Used::default(),
        }))
    }

    /// Resolves once something is known: what an earlier run knew, or all that identity says.
    pub async fn filled(&self) {
        // An error means that this is gone, which it is not while it is asked.
        let _ = self.0.filled.subscribe().wait_for(|filled| *filled).await;
    }

    /// Resolves then, or soon: whoever starts without knowing anybody refuses whom others know, but without NATS serves what is public
    /// all the same.
    pub async fn filled_soon(&self) {
        if tokio::time::timeout(FILLED_WITHIN, self.filled()).await.is_err() {
            tracing::warn!("nothing is known of permissions yet");
        }
    }

    /// How long ago all that identity had said was here; none if it never was.
    pub fn age(&self) -> Option<Duration> {
        self.0.age()
    }

    /// The revision of the bucket that is here.
    pub fn revision(&self) -> u64 {
        self.0.revision.load(Ordering::Relaxed)
    }

    /// Registers how old what is known is, of which revision, and how much.
    pub fn register(&self, registry: &mut Registry) {
        let shared = self.0.clone();
        let figures = move || {
            vec![
                (
                    "eddy_permissions_age_milliseconds",
                    "Since everything was here that identity had said; -1 if it never was",
                    match shared.age() {
                        Some(age) => figure(age.as_millis()),
                        None => -1,
                    },
                ),
                (
                    "eddy_permissions_revision",
                    "Revision of the bucket that is here",
                    figure(shared.revision.load(Ordering::Relaxed)),
                ),
                ("eddy_permissions_entries", "Entries that are known", figure(shared.permissions.len())),
            ]
        };
        registry.register_collector(Box::new(Gauges(figures)));
    }

    /// What is known is good for this.
    pub fn standing(&self) -> Standing {
        self.0.ages.standing(self.age())
    }

    /// Everything that is known.
    pub fn permissions(&self) -> &Permissions {
        &self.0.permissions
    }

    /// Whom a token stands for now, who may only read where what is known is too old for more.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn authenticate(&self, token: &Token) -> Result<Principal, Refused> {
        let found = self.0.permissions.authenticate(token, Timestamp::now().as_second());
        let whose = self.limited(found, Principal::reading_only)?;
        if whose.token().is_some() {
            self.used(token.id());
        }
        Ok(whose)
    }

    /// Notes that a token of this id, which there is, was used: for whoever found by a signature that it was.
    pub fn used(&self, id: &str) {
        self.0.used.note(id);
    }

    /// The hash of a token of this id, to check a signature with, and whom it stands for now.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn signer(&self, id: &str) -> Result<(TokenHash, Principal), Refused> {
        let signer = self.0.permissions.signer(id, Timestamp::now().as_second());
        self.limited(signer, |(hash, principal)| (hash, principal.reading_only()))
    }

    fn limited<T>(&self, found: Result<T, Refused>, reading_only: impl FnOnce(T) -> T) -> Result<T, Refused> {
        let is_sure = self.age().is_some_and(|age| age <= SURE_FOR);
        match self.standing() {
            // It may have been made since. To be told to come again does no harm, to be sent away does.
            _ if !is_sure && matches!(found, Err(Refused::Unknown)) => Err(Refused::Stale),
            Standing::Fresh => found,
            Standing::ReadsOnly => found.map(reading_only),
            Standing::PublicOnly => Err(Refused::Stale),
        }
    }
}

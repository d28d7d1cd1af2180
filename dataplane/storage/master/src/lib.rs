//! What keeps stored objects whole: repair, the reading of what nobody reads, the collection of what nobody needs, and of what its
//! namespace's rules let go.
//!
//! Nothing here holds state: all of it is in the metadata, so that any process may go on where another one ended, and two at once do no harm.
//! Each round looks at what is so, does some of what follows, and says what it did.

mod chunks;
mod collect;
mod compact;
mod copy;
mod expire;
mod lifecycle;
mod plan;
mod repair;
mod scrub;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use eddy_chunkserver::ChunkClient;
use eddy_object::{Metadata, ObjectError, Objects, Servers};

pub use self::collect::Collected;
pub use self::compact::Compacted;
pub use self::expire::Expired;
pub use self::plan::{Holding, Plan, plan};
pub use self::repair::Repaired;
pub use self::scrub::Scrubbed;

/// How patient the master is.
#[derive(Clone, Copy, Debug)]
pub struct MasterOptions {
    /// What nobody needs is deleted when it has been seen for so long.
    pub grace: Duration,
    /// A server that does not answer may come back with all that it had: for so long, what it has is not copied elsewhere.
    pub patience: Duration,
    /// Chunks that are repaired at once.
    pub repairs_at_once: usize,
}

impl Default for MasterOptions {
    fn default() -> Self {
        Self { grace: Duration::from_secs(3600), patience: Duration::from_secs(300), repairs_at_once: 4 }
    }
}

/// Keeps the objects of one cluster whole.
pub struct Master {
    objects: Objects,
    metadata: Metadata,
    client: ChunkClient,
    servers: Servers,
    options: MasterOptions,
    /// Since when servers have not answered.
    away: Mutex<BTreeMap<u64, Instant>>,
}

impl Master {
    /// A master of these objects, whose bytes are on this client's servers.
    pub fn new(objects: Objects, client: ChunkClient, options: MasterOptions) -> Self {
        let metadata = objects.metadata().clone();
        Self { objects, metadata, client, servers: Servers::new(), options, away: Mutex::default() }
    }

    async fn refresh(&self) -> Result<(), ObjectError> {
        self.servers.refresh(&self.metadata, &self.client).await
    }
}

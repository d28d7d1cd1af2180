//! What keeps stored objects whole: repair, the reading of what nobody reads, the collection of what nobody needs, and of what its
//! namespace's rules let go; what keeps servers alike, and empties those that are to go; and what keeps in less room, or on slower
//! servers, what is not read.
//!
//! Nothing here holds state: all of it is in the metadata, so that any process may go on where another one ended, and two at once do no harm.
//! Each round looks at what is so, does some of what follows, and says what it did.

mod announced;
mod balance;
mod chunks;
mod code;
mod collect;
mod compact;
mod copy;
mod expected;
mod expire;
mod lifecycle;
mod lost;
mod moves;
mod pace;
mod plan;
mod repair;
mod scrub;
mod shards;
mod survey;
mod tier;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Mutex;
use std::time::Duration;

use eddy_chunkserver::ChunkClient;
use eddy_object::{Metadata, ObjectError, Objects, Servers};

pub use self::balance::{Disk, Move, Moves, Placed, Role, count_later, plan_moves};
pub use self::code::Coded;
pub use self::collect::Collected;
pub use self::compact::Compacted;
pub use self::expire::Expired;
pub use self::moves::Balanced;
pub use self::repair::Repaired;
pub use self::scrub::Scrubbed;
pub use self::survey::{Fresh, Survey};
pub use self::tier::Tiered;

use self::pace::Pace;

/// How patient the master is.
#[derive(Clone, Copy, Debug)]
pub struct MasterOptions {
    /// What nobody needs is deleted when it has been seen for so long.
    pub grace: Duration,
    /// A server that does not answer may come back with all that it had: for so long, what it has is not copied elsewhere.
    pub patience: Duration,
    /// Chunks that are repaired at once.
    pub repairs_at_once: usize,
    /// For so long a round begins to repair chunks.
    pub repair_for: Duration,
    /// Bytes that are copied a second to repair chunks; as many as can be if not set.
    pub repair_bytes_per_second: Option<NonZeroU64>,
    /// How long after a server is said to be emptied all who write know of it.
    pub settle: Duration,
    /// Bytes that are copied a second to empty servers, to balance them, and out of wasteful chunks; as many as can be if not set.
    pub move_bytes_per_second: Option<NonZeroU64>,
    /// Bytes that are copied a second to another tier, and coded; as many as can be if not set.
    pub tier_bytes_per_second: Option<NonZeroU64>,
    /// Bytes that are read a second because nobody has read them for long, of all copies; as many as can be if not set.
    pub scrub_bytes_per_second: Option<NonZeroU64>,
    /// Objects, versions and uploads that rules end a second; as many as can be if not set.
    pub expire_per_second: Option<NonZeroU64>,
    /// Files that nobody needs and that are removed a second, from all servers; as many as can be if not set.
    pub collect_per_second: Option<NonZeroU64>,
}

impl Default for MasterOptions {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(3600),
            patience: Duration::from_secs(300),
            repairs_at_once: 4,
            repair_for: Duration::from_secs(60),
            repair_bytes_per_second: None,
            settle: Duration::from_secs(60),
            move_bytes_per_second: None,
            tier_bytes_per_second: None,
            scrub_bytes_per_second: None,
            expire_per_second: None,
            collect_per_second: None,
        }
    }
}

/// Keeps the objects of one cluster whole.
pub struct Master {
    objects: Objects,
    metadata: Metadata,
    client: ChunkClient,
    servers: Servers,
    options: MasterOptions,
    /// Servers that have not answered for too long, as last seen.
    lost: Mutex<BTreeSet<u64>>,
    /// Chunks that a round of repair could do nothing for.
    stuck: Mutex<BTreeMap<u64, Stuck>>,
    repair_pace: Pace,
    move_pace: Pace,
    tier_pace: Pace,
    scrub_pace: Pace,
    expire_pace: Pace,
    collect_pace: Pace,
}

/// Why a round of repair could do nothing for a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stuck {
    /// No server has room for a copy.
    Waits,
    /// No server gives all of it.
    Unreadable,
}

impl Master {
    /// A master of these objects, whose bytes are on this client's servers.
    pub fn new(objects: Objects, client: ChunkClient, options: MasterOptions) -> Self {
        Self {
            metadata: objects.metadata().clone(),
            objects,
            client,
            servers: Servers::new(),
            options,
            lost: Mutex::default(),
            stuck: Mutex::default(),
            repair_pace: Pace::new(options.repair_bytes_per_second),
            move_pace: Pace::new(options.move_bytes_per_second),
            tier_pace: Pace::new(options.tier_bytes_per_second),
            scrub_pace: Pace::new(options.scrub_bytes_per_second),
            expire_pace: Pace::new(options.expire_per_second),
            collect_pace: Pace::new(options.collect_per_second),
        }
    }

    async fn refresh(&self) -> Result<(), ObjectError> {
        self.servers.refresh(&self.metadata, &self.client).await
    }
}

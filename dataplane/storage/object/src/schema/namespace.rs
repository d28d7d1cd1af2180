//! Rows of namespaces.

use eddy_authz::Grant;
use serde::{Deserialize, Serialize};

use super::lock::LockRule;
use super::rows::Tier;

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceRow {
    /// Its number, which no other ever has.
    pub id: u64,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// What its owner decides.
    pub settings: NamespaceSettings,
}

/// What the owner of a namespace decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceSettings {
    /// The user whose it is.
    pub owner: String,
    /// Who else may see and read it.
    pub visibility: Visibility,
    /// What it may hold.
    pub quota: Quota,
    /// Copies of each chunk.
    pub copies: u8,
    /// What is kept in less room, or on slower servers.
    pub tiering: Tiering,
    /// What becomes of objects that are replaced or deleted.
    pub versioning: Versioning,
    /// With whom it is shared besides; none that says so where it never was.
    pub grants: Option<Vec<Grant>>,
    /// What holds for all that is shared.
    pub sharing: Sharing,
    /// Whether versions may be locked, and which are.
    pub lock: Option<LockRule>,
}

impl Default for NamespaceSettings {
    fn default() -> Self {
        Self {
            owner: String::new(),
            visibility: Visibility::default(),
            quota: Quota::default(),
            copies: 3,
            tiering: Tiering::default(),
            versioning: Versioning::default(),
            grants: None,
            sharing: Sharing::default(),
            lock: None,
        }
    }
}

/// What of a namespace is kept in less room, or on slower servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tiering {
    /// All of it is erasure coded.
    pub coded: bool,
    /// Days without a read after which an object is cold; a read makes it warm again. None are, if not set.
    pub cold_after_days: Option<u32>,
}

impl Tiering {
    /// Where new objects go.
    pub const fn begins(self) -> Tier {
        if self.coded { Tier::HotCoded } else { Tier::Hot }
    }
}

/// What holds for all of a namespace that is shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sharing {
    /// There is a policy, among the namespace's other rows.
    pub policy: bool,
    /// What the owner wants to be kept from.
    pub block: Option<PublicBlock>,
    /// Whether grants count at all.
    pub ownership: Option<Ownership>,
}

/// What the owner of a namespace wants to be kept from: to share it with anyone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicBlock {
    /// New grants to anyone are refused.
    pub new_grants: bool,
    /// Grants to anyone do not count.
    pub grants: bool,
    /// New policies for anyone are refused.
    pub new_policies: bool,
    /// A policy for anyone counts only for users.
    pub policies: bool,
}

/// Whose objects are that others write, and whether grants count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// Their writers'.
    Writer,
    /// The namespace's owner's, if the writer says so.
    Preferred,
    /// The namespace's owner's, and grants do not count.
    Enforced,
}

/// Who may see a namespace and read from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Visibility {
    /// Its owner.
    #[default]
    Private,
    /// Its owner reads it; whoever is signed in sees that it is there.
    Visible,
    /// Anyone reads it.
    Public,
}

/// What becomes of objects that are replaced or deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    /// They are gone. It was never otherwise.
    #[default]
    Off,
    /// They are kept as older versions.
    On,
    /// Those of before are kept, new ones replace each other.
    Suspended,
}

/// What a namespace may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Bytes of its objects, before redundancy.
    pub bytes: Option<i64>,
    /// Objects, older versions among them.
    pub objects: Option<i64>,
}

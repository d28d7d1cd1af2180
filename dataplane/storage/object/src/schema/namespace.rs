//! Rows of namespaces.

use serde::{Deserialize, Serialize};

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
    /// What becomes of objects that are replaced or deleted.
    pub versioning: Versioning,
}

impl Default for NamespaceSettings {
    fn default() -> Self {
        let (visibility, versioning) = (Visibility::default(), Versioning::default());
        Self { owner: String::new(), visibility, quota: Quota::default(), copies: 3, versioning }
    }
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

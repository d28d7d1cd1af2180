//! Rules for how long things stay in a namespace.

use serde::{Deserialize, Serialize};

use super::object::ObjectRow;

/// The name of these rules among a namespace's rows.
pub const LIFECYCLE: &str = "lifecycle";

/// All rules of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRules(pub Vec<LifecycleRule>);

/// A rule for how long things stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRule {
    /// Its name.
    pub id: String,
    /// Whether it counts.
    pub enabled: bool,
    /// Which objects it is about.
    pub filter: LifecycleFilter,
    /// When present versions go.
    pub expire: Option<Expire>,
    /// When older versions go.
    pub older: Option<ExpireOlder>,
    /// Days after which objects that come in parts, and have not come, are given up.
    pub parts_days: Option<u32>,
}

/// When present versions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expire {
    /// So many days after they were written.
    AfterDays(u32),
    /// Then, in milliseconds since 1970.
    On(u64),
    /// Only what says that an object was deleted goes, when no version of it is left.
    LoneMarkers,
}

/// When older versions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpireOlder {
    /// So many days after another version took their place.
    pub days: u32,
    /// So many of the newest stay.
    pub keep: Option<u32>,
}

/// Which objects a rule is about: those for which all of it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleFilter {
    /// What their keys begin with.
    pub prefix: Option<String>,
    /// Tags that they have.
    pub tags: Vec<(String, String)>,
    /// They are longer than this.
    pub longer_than: Option<u64>,
    /// They are shorter than this.
    pub shorter_than: Option<u64>,
    /// How its owner wrote it, which they see again.
    pub form: FilterForm,
}

/// How a filter was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilterForm {
    /// As a prefix of the rule, or not at all.
    #[default]
    Bare,
    /// As conditions beside each other, or none.
    Filter,
    /// As conditions that hold together.
    And,
}

impl LifecycleFilter {
    /// Whether it is about keys like this.
    pub fn is_about_key(&self, key: &str) -> bool {
        key.starts_with(self.prefix.as_deref().unwrap_or_default())
    }

    /// Whether it is about a version.
    pub fn is_about(&self, key: &str, row: &ObjectRow) -> bool {
        self.is_about_key(key)
            && self.tags.iter().all(|tag| row.attributes.tags.contains(tag))
            && self.longer_than.is_none_or(|bytes| row.bytes > bytes)
            && self.shorter_than.is_none_or(|bytes| row.bytes < bytes)
    }

    /// Whether it asks for nothing but a prefix.
    pub fn is_prefix(&self) -> bool {
        self.tags.is_empty() && self.longer_than.is_none() && self.shorter_than.is_none()
    }
}

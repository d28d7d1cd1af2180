//! Where an object is.

use kube::ResourceExt;
use serde::{Deserialize, Serialize};

/// A Kubernetes object's place: namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Place {
    /// The place of a name in a namespace.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// Where an object is.
pub fn place_of(object: &impl ResourceExt) -> Place {
    Place { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

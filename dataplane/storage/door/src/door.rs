//! What requests reach.

use std::sync::Arc;

use eddy_authz::Keys;
use eddy_object::{Metadata, Objects};

/// Objects, and who may what with them. Clones share both.
#[derive(Clone)]
pub struct Door(Arc<Shared>);

struct Shared {
    objects: Objects,
    keys: Keys,
}

impl Door {
    /// A door to objects for whoever has one of these keys.
    pub fn new(objects: Objects, keys: Keys) -> Self {
        Self(Arc::new(Shared { objects, keys }))
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.0.objects
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        self.0.objects.metadata()
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }
}

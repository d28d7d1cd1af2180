//! What tests share.

use std::sync::Arc;

use eddy_kv::{Embedded, EmbeddedOptions};

use crate::people::People;
use crate::sealed::SealingKey;

/// People in a store of their own, for as long as its folder is there.
pub(crate) fn people() -> (People, tempfile::TempDir) {
    people_with(&[7; 32])
}

/// The same with another key.
pub(crate) fn people_with(key: &[u8]) -> (People, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Embedded::open(&EmbeddedOptions::new(folder.path().join("rows"))).expect("a store");
    (People::new(Arc::new(store), SealingKey::new(key).expect("a key")), folder)
}

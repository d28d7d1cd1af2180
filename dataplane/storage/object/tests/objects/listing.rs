//! Listing is that of a sorted map.

use std::collections::BTreeMap;
use std::sync::Arc;

use eddy_kv::{Embedded, EmbeddedOptions};
use eddy_object::schema::NamespaceSettings;
use eddy_object::{Attributes, Keeping, Listed, Listing, Metadata, NewObject, Precondition, Taking};
use fastrand::Rng;

/// What a simple program lists.
fn model(keys: &BTreeMap<String, ()>, listing: &Listing) -> (Vec<String>, bool) {
    let mut entries: Vec<String> = Vec::new();
    for key in keys.keys().filter(|key| key.starts_with(&listing.prefix)) {
        let rest = &key[listing.prefix.len()..];
        let name = match rest.find(&listing.delimiter).filter(|_| !listing.delimiter.is_empty()) {
            Some(at) => &key[..listing.prefix.len() + at + listing.delimiter.len()],
            None => key,
        };
        if name > listing.after.as_str() && entries.last().is_none_or(|last| last != name) {
            entries.push(name.to_owned());
        }
    }
    let more = entries.len() > listing.limit;
    entries.truncate(listing.limit);
    (entries, more)
}

#[tokio::test]
async fn every_page_is_what_a_sorted_map_gives() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(&EmbeddedOptions::new(folder.path().join("metadata"))).unwrap();
    let metadata = Metadata::new(Arc::new(store));
    let namespace = metadata.create_namespace("n", NamespaceSettings::default()).await.unwrap();
    let (keeping, namespace) = (Keeping::of(&namespace), namespace.id);
    let other = metadata.create_namespace("o", NamespaceSettings::default()).await.unwrap().id;
    let mut random = Rng::with_seed(3);
    let mut keys = BTreeMap::new();
    let part = |random: &mut Rng| random.choice(["a", "b", "/", "//", "ä", "\u{10ffff}", "-", "a/"]).unwrap();
    while keys.len() < 300 {
        let key: String = (0..random.usize(1..7)).map(|_| part(&mut random)).collect();
        let attributes = Attributes::default();
        let (needles, taking) = (Vec::new(), Taking::default());
        let new = NewObject { upload: 1, bytes: 1, attributes, keeping, needles, taking };
        metadata.put("n", &key, new, &Precondition::None).await.unwrap();
        keys.insert(key, ());
    }
    for _ in 0..3000 {
        let prefix = if random.bool() { String::new() } else { (0..random.usize(0..3)).map(|_| part(&mut random)).collect() };
        let delimiter = random.choice(["", "/", "/", "//", "a"]).unwrap().to_owned();
        let mut listing = Listing { prefix, delimiter, after: String::new(), limit: random.usize(1..20) };
        // Page after page, and now and then from anywhere.
        for _ in 0..4 {
            let page = metadata.list(namespace, &listing).await.unwrap();
            let names: Vec<String> = page.entries.iter().map(|entry| entry.name().to_owned()).collect();
            assert_eq!((names, page.more), model(&keys, &listing), "{listing:?}");
            let is_key = |entry: &Listed| matches!(entry, Listed::Object(key, _) if keys.contains_key(key));
            assert!(page.entries.iter().all(|entry| is_key(entry) || matches!(entry, Listed::Prefix(_))));
            match page.entries.last() {
                Some(last) if random.u8(..) < 200 => listing.after = last.name().to_owned(),
                _ => listing.after = (0..random.usize(0..4)).map(|_| part(&mut random)).collect(),
            }
        }
    }
    let nothing = metadata.list(other, &Listing { limit: 10, ..Listing::default() }).await.unwrap();
    assert!(nothing.entries.is_empty() && !nothing.more);
}

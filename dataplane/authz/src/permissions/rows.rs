//! Entries that are read without a lock while they change.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::entry::{Entry, Table};

/// A change copies one part of so many.
const PARTS: usize = 256;

type Part = HashTable<Row>;

#[derive(Clone)]
struct Row {
    table: Table,
    name: Box<str>,
    entry: Arc<Entry>,
}

/// Entries by table and name.
pub(super) struct Rows {
    parts: Box<[ArcSwap<Part>]>,
    /// Drawn for each process, so that nobody can choose names that meet.
    hasher: RandomState,
    writing: Mutex<()>,
}

impl Default for Rows {
    fn default() -> Self {
        let parts = (0..PARTS).map(|_| ArcSwap::default()).collect();
        Self { parts, hasher: RandomState::default(), writing: Mutex::default() }
    }
}

impl Rows {
    pub(super) fn get(&self, table: Table, name: &str) -> Option<Arc<Entry>> {
        let hash = self.hash(table, name);
        let part = self.parts[part_of(hash)].load();
        part.find(hash, |row| row.is(table, name)).map(|row| row.entry.clone())
    }

    /// Puts an entry in the place of the one of this name, or takes that away.
    pub(super) fn set(&self, table: Table, name: &str, entry: Option<Entry>) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let part = &self.parts[part_of(self.hash(table, name))];
        let mut changed = Part::clone(&part.load());
        self.put(&mut changed, table, name, entry);
        part.store(Arc::new(changed));
    }

    /// Puts these in the place of all.
    pub(super) fn replace<'a>(&self, all: impl IntoIterator<Item = (Table, &'a str, Entry)>) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts: Vec<Part> = (0..PARTS).map(|_| Part::default()).collect();
        for (table, name, entry) in all {
            let part = &mut parts[part_of(self.hash(table, name))];
            self.put(part, table, name, Some(entry));
        }
        for (part, new) in self.parts.iter().zip(parts) {
            part.store(Arc::new(new));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.load().len()).sum()
    }

    fn put(&self, part: &mut Part, table: Table, name: &str, entry: Option<Entry>) {
        let hash = self.hash(table, name);
        if let Ok(found) = part.find_entry(hash, |row| row.is(table, name)) {
            found.remove();
        }
        if let Some(entry) = entry {
            let row = Row { table, name: name.into(), entry: Arc::new(entry) };
            part.insert_unique(hash, row, |row| self.hash(row.table, &row.name));
        }
    }

    fn hash(&self, table: Table, name: &str) -> u64 {
        self.hasher.hash_one((table, name))
    }
}

impl Row {
    fn is(&self, table: Table, name: &str) -> bool {
        self.table == table && *self.name == *name
    }
}

/// By bits that the part itself does not go by.
fn part_of(hash: u64) -> usize {
    usize::try_from(hash >> 40).unwrap_or_default() % PARTS
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::entry::UserEntry;
    use super::*;

    fn user(admin: bool) -> Entry {
        Entry::User(UserEntry { admin, suspended: false, since_s: 0 })
    }

    #[test]
    fn what_was_put_last_is_there() {
        let rows = Rows::default();
        for number in 0..10_000 {
            rows.set(Table::Users, &number.to_string(), Some(user(false)));
        }
        rows.set(Table::Users, "7", Some(user(true)));
        rows.set(Table::Users, "8", None);
        rows.set(Table::Users, "nobody", None);
        let get = |name: &str| rows.get(Table::Users, name).map(|entry| *entry == user(true));
        assert_eq!((get("7"), get("8"), get("9999"), rows.len()), (Some(true), None, Some(false), 9999));
        assert!(rows.get(Table::Tokens, "7").is_none());
        rows.replace([(Table::Users, "1", user(true)), (Table::Accounts, "2", user(false))]);
        assert_eq!((get("1"), get("2"), get("7"), rows.len()), (Some(true), None, None, 2));
    }
}

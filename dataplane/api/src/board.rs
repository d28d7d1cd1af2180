//! All objects of one kind as they are, and what changed of them lately.
//!
//! Versions are Kubernetes' resource versions, which grow with each change. A reader who has seen everything up to a version goes on from
//! there for as long as the log goes back so far ([`Board::since`]); where it does not, they read everything anew.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use kube::runtime::watcher::Event;

use crate::item::{Item, Place};

/// Changes that are kept for whoever comes back,
const LOG_MAX: usize = 4096;
/// and bytes of their objects.
const LOG_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What happened to an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// It counts all changes here, from 1.
    pub(crate) number: u64,
    /// Whoever has seen this has seen everything up to this version.
    pub(crate) version: u64,
    /// How it was before, if it was there.
    pub(crate) before: Option<Arc<Item>>,
    /// How it is, if it is there.
    pub(crate) after: Option<Arc<Item>>,
}

impl Change {
    /// What it keeps in memory.
    pub(crate) fn bytes(&self) -> usize {
        [&self.before, &self.after].into_iter().flatten().map(|item| item.json.len()).sum()
    }
}

/// All objects of a kind.
#[derive(Debug, Default)]
pub(crate) struct Board {
    items: BTreeMap<Place, Arc<Item>>,
    log: VecDeque<Change>,
    /// Of the last change.
    number: u64,
    version: u64,
    log_bytes: usize,
    /// Whoever has seen everything up to here, or later, misses nothing of what is in the log. None after a list, until the next change: of
    /// which version that was, and when what is not in it went, is not known.
    floor: Option<u64>,
    /// A new list, until it is whole.
    listing: Option<BTreeMap<Place, Arc<Item>>>,
    is_filled: bool,
}

impl Board {
    /// Takes in what the watch says.
    pub(crate) fn take(&mut self, event: Event<Arc<Item>>) {
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitApply(item) => {
                self.listing.get_or_insert_default().insert(item.place.clone(), item);
            }
            Event::InitDone => {
                let listed = self.listing.take().unwrap_or_default();
                self.relist(listed);
            }
            Event::Apply(item) => {
                self.put(item);
                self.watched();
            }
            Event::Delete(item) => {
                let before = self.items.remove(&item.place);
                self.note(item.version, before, None);
                self.watched();
            }
        }
    }

    /// The last change was watched: everything up to its version was seen.
    fn watched(&mut self) {
        self.floor.get_or_insert(self.version);
    }

    fn put(&mut self, item: Arc<Item>) {
        let before = self.items.insert(item.place.clone(), item.clone());
        if before.as_ref().is_none_or(|before| before.version != item.version) {
            self.note(item.version, before, Some(item));
        }
    }

    fn relist(&mut self, listed: BTreeMap<Place, Arc<Item>>) {
        let gone: Vec<Place> = self.items.keys().filter(|place| !listed.contains_key(*place)).cloned().collect();
        for (_, item) in listed {
            self.put(item);
        }
        for place in gone {
            let before = self.items.remove(&place);
            self.note(self.version, before, None);
        }
        self.floor = None;
        self.is_filled = true;
    }

    fn note(&mut self, version: u64, before: Option<Arc<Item>>, after: Option<Arc<Item>>) {
        self.version = self.version.max(version);
        self.number += 1;
        let change = Change { number: self.number, version: self.version, before, after };
        self.log_bytes += change.bytes();
        self.log.push_back(change);
        while self.log.len() > LOG_MAX || (self.log_bytes > LOG_BYTES_MAX && self.log.len() > 1) {
            let Some(oldest) = self.log.pop_front() else { return };
            self.log_bytes -= oldest.bytes();
            self.floor = self.floor.map(|floor| floor.max(oldest.version));
        }
    }

    /// Whether all that there is was read once.
    pub(crate) fn is_filled(&self) -> bool {
        self.is_filled
    }

    /// The last version that is known.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The number of the last change.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// One of them.
    pub(crate) fn get(&self, place: &Place) -> Option<Arc<Item>> {
        self.items.get(place).cloned()
    }

    /// Those of a core namespace, or all, by name, after a place.
    pub(crate) fn list<'a>(&'a self, namespace: Option<&'a str>, after: Option<&Place>) -> impl Iterator<Item = &'a Arc<Item>> {
        let first = Place::new(namespace.unwrap_or_default(), "");
        let start = match after {
            Some(after) if *after >= first => Bound::Excluded(after.clone()),
            _ => Bound::Included(first),
        };
        let all = self.items.range((start, Bound::Unbounded)).map(|(_, item)| item);
        all.take_while(move |item| namespace.is_none_or(|namespace| *item.place.namespace == *namespace))
    }

    /// What changed after the change of a number; none if the log no longer says.
    pub(crate) fn after(&self, number: u64) -> Option<impl Iterator<Item = &Change>> {
        let first = self.number + 1 - self.log.len() as u64;
        let skip = (number + 1).checked_sub(first).and_then(|skip| usize::try_from(skip).ok())?;
        Some(self.log.iter().skip(skip))
    }

    /// The number of the last change that somebody has seen who has seen everything up to a version; none if the log no longer says.
    pub(crate) fn since(&self, version: u64) -> Option<u64> {
        // A version that is not known yet is of another cluster, or of a copy that is ahead of this one.
        if version < self.floor? || version > self.version {
            return None;
        }
        let seen = self.log.iter().take_while(|change| change.version <= version).last();
        Some(seen.map_or(self.number - self.log.len() as u64, |change| change.number))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn item(namespace: &str, name: &str, version: u64) -> Arc<Item> {
        let place = Place::new(namespace, name);
        Arc::new(Item { place, version, uid: String::new(), labels: BTreeMap::new(), json: bytes::Bytes::new() })
    }

    fn names<'a>(items: impl Iterator<Item = &'a Arc<Item>>) -> Vec<String> {
        items.map(|item| format!("{}/{}@{}", item.place.namespace, item.place.name, item.version)).collect()
    }

    fn listed(items: &[Arc<Item>]) -> Board {
        let mut board = Board::default();
        relist(&mut board, items);
        board
    }

    fn relist(board: &mut Board, items: &[Arc<Item>]) {
        board.take(Event::Init);
        for item in items {
            board.take(Event::InitApply(item.clone()));
        }
        board.take(Event::InitDone);
    }

    #[test]
    fn pages_follow_each_other_within_a_namespace() {
        let board = listed(&[item("u-a", "x", 1), item("u-a", "y", 2), item("u-b", "x", 3)]);
        assert!(board.is_filled() && board.len() == 3);
        assert_eq!(names(board.list(None, None)), ["u-a/x@1", "u-a/y@2", "u-b/x@3"]);
        assert_eq!(names(board.list(Some("u-a"), None)), ["u-a/x@1", "u-a/y@2"]);
        assert_eq!(names(board.list(Some("u-a"), Some(&Place::new("u-a", "x")))), ["u-a/y@2"]);
        assert_eq!(names(board.list(None, Some(&Place::new("u-a", "y")))), ["u-b/x@3"]);
        // Where another page ended says nothing of this namespace.
        assert_eq!(names(board.list(Some("u-b"), Some(&Place::new("u-a", "y")))), ["u-b/x@3"]);
        assert!(names(board.list(Some("u-a"), Some(&Place::new("u-b", "x")))).is_empty());
    }

    #[test]
    fn who_comes_back_hears_what_they_missed_or_that_they_must_read_anew() {
        let mut board = listed(&[item("", "a", 5)]);
        let missed = |board: &Board, version| board.since(version).map(|number| board.after(number).unwrap().count());
        // Something else may have gone since version 5, before the list.
        assert_eq!([4, 5, 6].map(|version| missed(&board, version)), [None; 3]);
        board.take(Event::Apply(item("", "b", 7)));
        board.take(Event::Delete(item("", "a", 9)));
        let all = [5, 6, 7, 8, 9, 10].map(|version| missed(&board, version));
        assert_eq!(all, [None, None, Some(1), Some(1), Some(0), None]);
        // While nobody watched, b went: whoever has seen 9 has not seen that.
        relist(&mut board, &[]);
        assert_eq!((missed(&board, 9), board.len()), (None, 0));
        // Readers who are there hear of it all the same.
        assert_eq!(board.after(board.number() - 1).unwrap().filter(|change| change.after.is_none()).count(), 1);
        board.take(Event::Apply(item("", "c", 12)));
        assert_eq!([9, 11, 12].map(|version| missed(&board, version)), [None, None, Some(0)]);
    }

    #[test]
    fn the_log_is_no_longer_than_memory_allows() {
        let mut board = listed(&[]);
        let long = |version| {
            let mut item = Arc::into_inner(item("", "a", version)).unwrap();
            item.json = vec![0; LOG_BYTES_MAX / 4].into();
            Arc::new(item)
        };
        for version in 1..=20 {
            board.take(Event::Apply(long(version)));
        }
        assert!(board.log.len() <= 3 && board.log_bytes <= LOG_BYTES_MAX, "{}", board.log.len());
        assert!(board.since(10).is_none() && board.since(20).is_some());
    }

    #[test]
    fn the_log_forgets_what_is_old() {
        let mut board = listed(&[]);
        for version in 1..=LOG_MAX as u64 + 10 {
            board.take(Event::Apply(item("", "a", version)));
        }
        assert_eq!((board.since(9), board.since(10)), (None, Some(10)));
        assert!(board.after(9).is_none() && board.after(10).unwrap().count() == LOG_MAX);
    }

    proptest! {
        /// Whoever takes in every change that is logged knows what is there, whatever is missed and listed anew.
        #[test]
        fn a_reader_knows_what_the_board_knows(steps in prop::collection::vec((0u8..4, 0u8..6, any::<bool>()), 1..80)) {
            let (mut board, mut truth, mut version) = (listed(&[]), BTreeMap::<String, u64>::new(), 0u64);
            let (mut reader, mut seen, mut resumed) = (BTreeSet::new(), 0u64, 0u64);
            for (what, which, watched) in steps {
                version += 1;
                let name = format!("n{which}");
                let event = if what > 0 {
                    truth.insert(name.clone(), version);
                    Some(Event::Apply(item("", &name, version)))
                } else {
                    truth.remove(&name).map(|_| Event::Delete(item("", &name, version)))
                };
                match event.filter(|_| watched) {
                    Some(event) => board.take(event),
                    None => relist(&mut board, &truth.iter().map(|(name, at)| item("", name, *at)).collect::<Vec<_>>()),
                }
                // One who stays, and one who comes back with the last version that they saw.
                for change in board.after(seen).unwrap() {
                    if let Some(before) = &change.before { reader.remove(&format!("{}@{}", before.place.name, before.version)); }
                    if let Some(after) = &change.after { reader.insert(format!("{}@{}", after.place.name, after.version)); }
                }
                prop_assert!(board.since(resumed).is_none_or(|number| number <= seen));
                seen = board.number();
                resumed = board.version();
                let now: BTreeSet<String> = truth.iter().map(|(name, at)| format!("{name}@{at}")).collect();
                prop_assert_eq!(&reader, &now);
                // It may be that everything has to be read anew, never that something is missed.
                prop_assert!(board.since(resumed).is_none_or(|number| number == board.number()));
            }
        }
    }
}

//! What is done often, written down now and then.
//!
//! The first time that somebody does something to something is told at once, by its name; the same again within the minute only as a
//! number at its end. Whoever does more than [`NAMED`] to one place is told of as a number of things done there.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use eddy_http::{Limits, Rate};

use crate::record::{Actor, Record};

/// Numbers are told so often.
pub(crate) const EVERY: Duration = Duration::from_secs(60);
/// So much of what one user does to one place is told by its name, of each sort.
const NAMED: Rate = Rate { at_once: 60, one_more_every: Duration::from_secs(1) };
/// So many names of a minute are known again of one tenant's, and of all; some hundred bytes each.
const OF_ONE_MAX: usize = 500;
const NAMES_MAX: usize = 10_000;

/// Who did what to what.
#[derive(PartialEq, Eq, Hash)]
struct Deed {
    actor: Actor,
    tenant: String,
    action: String,
    object: String,
}

/// What was done in this minute.
pub(crate) struct Often {
    named: Limits,
    minute: Mutex<Minute>,
}

#[derive(Default)]
struct Minute {
    /// And what is to be told of it at its end; nothing, if it was done only once.
    deeds: HashMap<Deed, Option<Record>>,
    /// How many of them are in whose place: who does much hides nobody.
    of: HashMap<String, usize>,
}

impl Minute {
    /// Whether there is room for another that is told by its name, or else for a number.
    fn has_room(&self, tenant: &str, named: bool) -> bool {
        let times = if named { 1 } else { 2 };
        self.deeds.len() < NAMES_MAX * times && self.of.get(tenant).is_none_or(|count| *count < OF_ONE_MAX * times)
    }

    fn add(&mut self, deed: Deed, record: Option<Record>) {
        *self.of.entry(deed.tenant.clone()).or_default() += 1;
        self.deeds.insert(deed, record);
    }
}

/// Too many do too much: it is never told.
#[derive(Debug, PartialEq)]
pub(crate) struct Lost;

impl Often {
    pub(crate) fn new() -> Self {
        Self { named: Limits::new(NAMED), minute: Mutex::default() }
    }

    /// Takes in that something was done to what is in a place. Returns what is told of it now; the rest is at the end of the minute.
    pub(crate) fn take(&self, record: Record, place: &str, now: Instant) -> Result<Option<Record>, Lost> {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let deed = Deed::of(&record);
        if let Some(more) = minute.deeds.get_mut(&deed) {
            add(more, record);
            return Ok(None);
        }
        let sort = (&record.actor.user, &record.tenant, &record.action, place);
        if minute.has_room(&record.tenant, true) && self.named.count(sort, now).is_ok() {
            minute.add(deed, None);
            return Ok(Some(record));
        }
        let record = record.to(place);
        let deed = Deed::of(&record);
        if let Some(more) = minute.deeds.get_mut(&deed) {
            add(more, record);
        } else if minute.has_room(&record.tenant, false) {
            minute.add(deed, Some(record));
        } else {
            return Err(Lost);
        }
        Ok(None)
    }

    /// What is to be told of the minute that ends.
    pub(crate) fn end_minute(&self) -> Vec<Record> {
        let minute = std::mem::take(&mut *self.minute.lock().unwrap_or_else(PoisonError::into_inner));
        minute.deeds.into_values().flatten().collect()
    }
}

impl Deed {
    fn of(record: &Record) -> Self {
        Self {
            actor: record.actor.clone(),
            tenant: record.tenant.clone(),
            action: record.action.clone(),
            object: record.object.clone(),
        }
    }
}

/// The last time is told of, and how often it was in all.
fn add(more: &mut Option<Record>, record: Record) {
    let before = more.as_ref().map_or(0, |more| more.count);
    *more = Some(Record { count: before.saturating_add(record.count), ..record });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;

    fn wrote(user: &str, object: &str) -> Record {
        let actor = Actor { user: user.into(), ..Actor::default() };
        Record::now(actor, "files.write", "ada", object, Outcome::Done)
    }

    #[test]
    fn what_is_done_again_is_a_number() {
        let (often, now) = (Often::new(), Instant::now());
        let take = |record: &Record| often.take(record.clone(), "photos", now);
        let (first, other) = (wrote("ada", "photos/a"), wrote("ada", "photos/b"));
        assert_eq!((take(&first), take(&other)), (Ok(Some(first.clone())), Ok(Some(other))));
        assert_eq!((take(&first), take(&first)), (Ok(None), Ok(None)));
        let told: Vec<_> = often.end_minute().into_iter().map(|record| (record.object, record.count)).collect();
        assert_eq!(told, [("photos/a".to_owned(), 2)]);
        assert!(often.end_minute().is_empty());
        assert_eq!(take(&first), Ok(Some(first.clone())), "another minute");
    }

    #[test]
    fn who_does_much_is_told_of_as_a_number_and_hides_nobody() {
        let (often, now) = (Often::new(), Instant::now());
        let told = |told: &Result<Option<Record>, Lost>| matches!(told, Ok(Some(_)));
        let named =
            (0..3000).filter(|number| told(&often.take(wrote("ada", &format!("photos/{number}")), "photos", now))).count();
        assert_eq!(named, 60);
        for record in [(wrote("bob", "photos/x"), "photos"), (wrote("ada", "other/x"), "other")] {
            assert!(told(&often.take(record.0, record.1, now)));
        }
        let told: Vec<_> = often.end_minute().into_iter().map(|record| (record.object, record.count)).collect();
        assert_eq!(told, [("photos".to_owned(), 2940)]);
    }

    #[test]
    fn names_that_nobody_knew_before_fill_no_memory_and_hide_nobody() {
        let (often, now) = (Often::new(), Instant::now());
        let lost = (0..NAMES_MAX).filter(|number| {
            let place = format!("place-{number}");
            often.take(wrote("ada", &format!("{place}/x")), &place, now) == Err(Lost)
        });
        assert_eq!(lost.count(), NAMES_MAX - OF_ONE_MAX * 2);
        let other = Record { tenant: "bob".into(), ..wrote("bob", "photos/x") };
        assert_eq!(often.take(other.clone(), "photos", now), Ok(Some(other)));
        assert_eq!(often.end_minute().len(), OF_ONE_MAX);
        for number in 0..NAMES_MAX * 3 {
            let other = Record { tenant: format!("user-{}", number / 100), ..wrote("x", &format!("photos/{number}")) };
            let _ = often.take(other, &number.to_string(), now);
        }
        assert!(often.end_minute().len() <= NAMES_MAX * 2);
    }
}

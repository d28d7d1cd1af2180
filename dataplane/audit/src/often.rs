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
/// So much of what one user does to one place is told by its name.
const NAMED: Rate = Rate { at_once: 60, one_more_every: EVERY };
/// So many names of a minute are known again; some hundred bytes each.
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
    /// And what is to be told of it at its end; nothing, if it was done only once.
    deeds: Mutex<HashMap<Deed, Option<Record>>>,
}

/// Too many do too much: it is never told.
#[derive(Debug, PartialEq)]
pub(crate) struct Lost;

impl Often {
    pub(crate) fn new() -> Self {
        Self { named: Limits::new(NAMED), deeds: Mutex::default() }
    }

    /// Takes in that something was done to what is in a place. Returns what is told of it now; the rest is at the end of the minute.
    pub(crate) fn take(&self, record: Record, place: &str, now: Instant) -> Result<Option<Record>, Lost> {
        let mut deeds = self.deeds.lock().unwrap_or_else(PoisonError::into_inner);
        let deed = Deed::of(&record);
        if let Some(more) = deeds.get_mut(&deed) {
            add(more, record);
            return Ok(None);
        }
        let is_named = deeds.len() < NAMES_MAX && self.named.count((&record.actor.user, &record.tenant, place), now).is_ok();
        if is_named {
            deeds.insert(deed, None);
            return Ok(Some(record));
        }
        let record = record.to(place);
        let deed = Deed::of(&record);
        if deeds.len() >= NAMES_MAX * 2 && !deeds.contains_key(&deed) {
            return Err(Lost);
        }
        add(deeds.entry(deed).or_default(), record);
        Ok(None)
    }

    /// What is to be told of the minute that ends.
    pub(crate) fn end_minute(&self) -> Vec<Record> {
        let deeds = std::mem::take(&mut *self.deeds.lock().unwrap_or_else(PoisonError::into_inner));
        deeds.into_values().flatten().collect()
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
    fn names_that_nobody_knew_before_fill_no_memory() {
        let (often, now) = (Often::new(), Instant::now());
        let lost = (0..NAMES_MAX * 3).filter(|number| {
            let place = format!("place-{number}");
            often.take(wrote("ada", &format!("{place}/x")), &place, now) == Err(Lost)
        });
        assert!(lost.count() >= NAMES_MAX / 2);
        assert!(often.end_minute().len() <= NAMES_MAX * 2);
    }
}

//! What happened so far, told by clients and by whoever makes faults to each other, and summed up: the same seed is the same
//! story.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Default)]
pub(crate) struct Story(Rc<RefCell<Told>>);

#[derive(Default)]
struct Told {
    now: Duration,
    began: bool,
    calm: bool,
    stop_masters: bool,
    counts: BTreeMap<String, u64>,
    digest: DefaultHasher,
    aloud: bool,
}

impl Story {
    /// Which is also told to whoever looks on, or not.
    pub(crate) fn new(aloud: bool) -> Self {
        let story = Self::default();
        story.0.borrow_mut().aloud = aloud;
        story
    }

    /// So much time has passed.
    pub(crate) fn set_now(&self, now: Duration) {
        self.0.borrow_mut().now = now;
    }

    /// Something happened.
    pub(crate) fn tell(&self, what: &str) {
        let mut told = self.0.borrow_mut();
        let at = turmoil::sim_elapsed().unwrap_or(told.now);
        (at, what).hash(&mut told.digest);
        if told.aloud {
            eprintln!("{:9.3} {what}", at.as_secs_f64());
        }
    }

    /// A client did something, or failed to.
    pub(crate) fn did(&self, what: &str, well: bool) {
        self.tell(&format!("{what} {}", if well { "ok" } else { "failed" }));
        *self.0.borrow_mut().counts.entry(format!("{what}{}", if well { "" } else { " failed" })).or_default() += 1;
    }

    /// Somebody made a fault of this kind.
    pub(crate) fn fault(&self, kind: &str, what: &str) {
        self.tell(&format!("{kind}: {what}"));
        *self.0.borrow_mut().counts.entry(kind.to_owned()).or_default() += 1;
    }

    /// Clients are at work.
    pub(crate) fn began(&self) {
        self.0.borrow_mut().began = true;
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.borrow().began
    }

    /// No more faults are made.
    pub(crate) fn calm(&self) {
        self.0.borrow_mut().calm = true;
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.0.borrow().calm
    }

    /// Nothing is to be done in the background any more.
    pub(crate) fn stop_masters(&self) {
        self.0.borrow_mut().stop_masters = true;
    }

    pub(crate) fn masters_are_to_stop(&self) -> bool {
        self.0.borrow().stop_masters
    }

    /// What happened, in one line.
    pub(crate) fn summary(&self) -> String {
        let told = self.0.borrow();
        let counts: Vec<String> = told.counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
        format!("{:016x}: {}", told.digest.finish(), counts.join(", "))
    }
}

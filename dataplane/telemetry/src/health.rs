//! Whether this process may have traffic: the sum of what each of its parts says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The parts of this process that must be ready before it may have traffic.
#[derive(Clone, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
}

/// One part's say. Not ready at first.
#[derive(Clone)]
pub struct Readiness {
    health: Health,
    part: &'static str,
}

impl Health {
    /// Adds a part. The process is not ready until this part says so.
    #[must_use]
    pub fn part(&self, part: &'static str) -> Readiness {
        self.lock().insert(part, Some("starting".to_owned()));
        Readiness { health: self.clone(), part }
    }

    /// What keeps the process from being ready, by part; empty when it is.
    #[must_use]
    pub fn obstacles(&self) -> Vec<(&'static str, String)> {
        self.lock().iter().filter_map(|(part, obstacle)| Some((*part, obstacle.clone()?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Option<String>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readiness {
    /// This part is ready.
    pub fn ready(&self) {
        self.health.lock().insert(self.part, None);
    }

    /// This part is not ready, and why.
    pub fn not_ready(&self, why: impl Into<String>) {
        self.health.lock().insert(self.part, Some(why.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_every_part_is() {
        let health = Health::default();
        let (routes, listener) = (health.part("routes"), health.part("listener"));
        listener.ready();
        assert_eq!(health.obstacles(), [("routes", "starting".to_owned())]);
        routes.ready();
        assert!(health.obstacles().is_empty());
        listener.not_ready("draining");
        assert_eq!(health.obstacles(), [("listener", "draining".to_owned())]);
    }
}

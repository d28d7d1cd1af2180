//! Steps on the terminal, each with the seconds since the start.

use std::time::Instant;

/// Prints one line a step.
pub struct Progress {
    start: Instant,
}

impl Progress {
    /// Starts the clock.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Says that a step is done.
    pub fn done(&self, what: impl std::fmt::Display) {
        println!("[{:6.1} s] {what}", self.start.elapsed().as_secs_f64());
    }
}

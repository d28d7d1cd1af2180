//! What was made of files, and is made anew when they change.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::error::TlsError;
use crate::files::{AUTHORITIES, CERTIFICATES, Files, KEY};

/// The files are looked at this often, at most: Kubernetes changes what it mounts by itself.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What was made of a folder's files, as they are by now.
pub struct Watched<T> {
    folder: PathBuf,
    make: fn(Files<'_>) -> Result<T, TlsError>,
    state: Mutex<State<T>>,
}

struct State<T> {
    looked: Instant,
    /// When the files were changed that were read.
    changed: Changed,
    made: T,
}

type Changed = [Option<SystemTime>; 3];

impl<T: Clone> Watched<T> {
    /// Reads the files.
    ///
    /// # Errors
    /// That nothing can be made of them now. Later, what was made last stays.
    pub fn open(folder: &Path, make: fn(Files<'_>) -> Result<T, TlsError>) -> Result<Self, TlsError> {
        // Looked at first: what changes while it is read is read again.
        let changed = changed(folder);
        let state = State { looked: Instant::now(), changed, made: make(Files(folder))? };
        Ok(Self { folder: folder.to_owned(), make, state: Mutex::new(state) })
    }

    /// What the files say, or said when they could last be read. They are three, short and, as Secrets, in memory: not worth
    /// another thread.
    pub fn now(&self) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK_EVERY {
            state.looked = Instant::now();
            self.look(&mut state);
        }
        state.made.clone()
    }

    fn look(&self, state: &mut State<T>) {
        let (folder, changed) = (self.folder.display(), changed(&self.folder));
        if changed == state.changed {
            return;
        }
        match (self.make)(Files(&self.folder)) {
            Ok(made) => {
                tracing::info!(%folder, "certificates have changed");
                state.changed = changed;
                state.made = made;
            }
            Err(error) => {
                let cause = error.source().map(tracing::field::display);
                tracing::warn!(%folder, %error, cause, "failed to read changed certificates; those from before are used on");
            }
        }
    }
}

/// When each file was last changed. Those of a Secret are links, and what they lead to counts.
fn changed(folder: &Path) -> Changed {
    [AUTHORITIES, CERTIFICATES, KEY].map(|file| fs::metadata(folder.join(file)).and_then(|about| about.modified()).ok())
}

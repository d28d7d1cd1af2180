//! What requests reach.

use std::sync::Arc;
use std::time::Duration;

use eddy_audit::Recorder;
use eddy_authz::Authenticator;
use eddy_object::{Metadata, Objects};

/// Objects, and who may what with them. Clones share both.
#[derive(Clone)]
pub struct Door(Arc<Shared>);

struct Shared {
    objects: Objects,
    authenticator: Authenticator,
    recorder: Recorder,
    silence_max: Duration,
}

impl Door {
    /// A door to objects for whoever is known so; what they change is recorded there. Whoever sends or takes nothing for so long has gone.
    pub fn new(objects: Objects, authenticator: Authenticator, recorder: Recorder, silence_max: Duration) -> Self {
        Self(Arc::new(Shared { objects, authenticator, recorder, silence_max }))
    }

    pub(crate) fn silence_max(&self) -> Duration {
        self.0.silence_max
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.0.objects
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        self.0.objects.metadata()
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    pub(crate) fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }
}

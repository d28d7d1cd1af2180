//! What is for the name that a client asks for when TLS begins.

use std::sync::Arc;

use eddy_router::HostMap;

use crate::entry::RouteEntry;

/// The Routes that pass TLS on, and which hosts are served here.
#[derive(Debug, Default)]
pub(crate) struct ByName {
    /// None where TLS ends here.
    hosts: HostMap<Option<Arc<RouteEntry>>>,
    passes: bool,
}

impl ByName {
    /// TLS for a host ends here, unless a Route passes it on.
    pub(crate) fn serve(&mut self, host: &str) {
        self.hosts.get_or_insert_with(host, || None);
    }

    /// TLS for a host is passed on by this Route, unless another does already.
    pub(crate) fn pass(&mut self, host: &str, route: &Arc<RouteEntry>) {
        self.hosts.get_or_insert_with(host, || None).get_or_insert_with(|| route.clone());
        self.passes = true;
    }

    /// Whether anything is passed on.
    pub(crate) fn passes(&self) -> bool {
        self.passes
    }

    /// The Route that passes on what is for a name in lower case, if that of the name, or of the nearest wildcard above it, does.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<RouteEntry>> {
        self.hosts.find(name)?.as_ref()
    }
}

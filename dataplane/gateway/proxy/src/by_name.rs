//! What is for the name that a client asks for when TLS begins.

use std::collections::HashMap;
use std::sync::Arc;

use crate::entry::RouteEntry;

/// The Routes that pass TLS on, and which hosts are served here.
#[derive(Debug, Default)]
pub(crate) struct ByName {
    exact: HashMap<Box<str>, Option<Arc<RouteEntry>>>,
    /// By what is below the wildcard, as `example.com` of `*.example.com`.
    wildcard: HashMap<Box<str>, Option<Arc<RouteEntry>>>,
    passes: bool,
}

impl ByName {
    /// TLS for a host ends here, unless a Route passes it on.
    pub(crate) fn serve(&mut self, host: &str) {
        let (names, name) = self.of(host);
        names.entry(name.into()).or_insert(None);
    }

    /// TLS for a host is passed on by this Route, unless another does already.
    pub(crate) fn pass(&mut self, host: &str, route: &Arc<RouteEntry>) {
        let (names, name) = self.of(host);
        names.entry(name.into()).or_insert(None).get_or_insert_with(|| route.clone());
        self.passes = true;
    }

    fn of<'a>(&mut self, host: &'a str) -> (&mut HashMap<Box<str>, Option<Arc<RouteEntry>>>, &'a str) {
        match host.strip_prefix("*.") {
            Some(below) => (&mut self.wildcard, below),
            None => (&mut self.exact, host),
        }
    }

    /// Whether anything is passed on.
    pub(crate) fn passes(&self) -> bool {
        self.passes
    }

    /// The Route that passes on what is for a name in lower case, if that of the name, or of the nearest wildcard above it, does.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<RouteEntry>> {
        let above = || name.match_indices('.').find_map(|(dot, _)| self.wildcard.get(&name[dot + 1..]));
        self.exact.get(name).or_else(above)?.as_ref()
    }
}

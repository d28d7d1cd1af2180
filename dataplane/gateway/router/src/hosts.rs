//! What belongs to hosts: to single ones, to all below one, and to all others.

use std::collections::HashMap;

use crate::host::{suffixes, wildcard_suffix};

/// The host that stands for every one.
pub const ANY_HOST: &str = "*";

/// Values by host: exact ones, wildcards as `*.example.com`, which is every name that ends in `.example.com`, and [`ANY_HOST`].
#[derive(Clone, Debug)]
pub struct HostMap<V> {
    exact: HashMap<Box<str>, V>,
    /// By suffix, as in `.example.com`.
    wildcard: HashMap<Box<str>, V>,
    any: Option<V>,
}

impl<V> Default for HostMap<V> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), any: None }
    }
}

impl<V> HostMap<V> {
    /// The value of a host or wildcard itself, whatever stands above it.
    #[must_use]
    pub fn get(&self, host: &str) -> Option<&V> {
        match wildcard_suffix(host) {
            Some(suffix) => self.wildcard.get(suffix),
            None if host == ANY_HOST => self.any.as_ref(),
            None => self.exact.get(host),
        }
    }

    /// The same, which is this to begin with.
    pub fn get_or_insert_with(&mut self, host: &str, first: impl FnOnce() -> V) -> &mut V {
        match wildcard_suffix(host) {
            Some(suffix) => self.wildcard.entry(suffix.into()).or_insert_with(first),
            None if host == ANY_HOST => self.any.get_or_insert_with(first),
            None => self.exact.entry(host.into()).or_insert_with(first),
        }
    }

    /// The value of the most specific host or wildcard that a name, in lower case, belongs to.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&V> {
        self.exact.get(name).or_else(|| self.above(name).next())
    }

    /// The values of all hosts and wildcards that a name belongs to, the most specific first.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &V> {
        self.exact.get(name).into_iter().chain(self.above(name))
    }

    /// The values of the wildcards over a name, or over a wildcard, the nearest first.
    pub fn above(&self, name: &str) -> impl Iterator<Item = &V> {
        // A wildcard is covered by those over its parent, not by itself.
        let below = wildcard_suffix(name).map_or(name, |suffix| &suffix[1..]);
        // No wildcards, no walk.
        let below = if self.wildcard.is_empty() { "" } else { below };
        suffixes(below).filter_map(|suffix| self.wildcard.get(suffix)).chain(&self.any)
    }

    /// All values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.exact.values().chain(self.wildcard.values()).chain(&self.any)
    }

    /// How many hosts and wildcards have one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values().count()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values().next().is_none()
    }
}

impl<V> FromIterator<(String, V)> for HostMap<V> {
    /// Of a host that is given twice, the first counts.
    fn from_iter<I: IntoIterator<Item = (String, V)>>(values: I) -> Self {
        let mut map = Self::default();
        for (host, value) in values {
            map.get_or_insert_with(&host, || value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(hosts: &[&'static str]) -> HostMap<&'static str> {
        hosts.iter().map(|host| ((*host).to_owned(), *host)).collect()
    }

    #[test]
    fn the_most_specific_is_found_first() {
        let map = map(&["a.b.c", "*.b.c", "*.c", "*"]);
        assert_eq!(map.all("a.b.c").copied().collect::<Vec<_>>(), ["a.b.c", "*.b.c", "*.c", "*"]);
        assert_eq!(map.all("x.y.b.c").copied().collect::<Vec<_>>(), ["*.b.c", "*.c", "*"]);
        assert_eq!((map.find("b.c"), map.find("c"), map.find("")), (Some(&"*.c"), Some(&"*"), Some(&"*")));
        assert_eq!(map.len(), 4);
    }

    #[test]
    fn a_wildcard_stands_below_others_and_not_below_itself() {
        let map = map(&["*.b.c", "*.c"]);
        assert_eq!(map.above("*.b.c").copied().collect::<Vec<_>>(), ["*.c"]);
        assert_eq!((map.get("*.b.c"), map.get("x.b.c"), map.find("x")), (Some(&"*.b.c"), None, None));
        assert!(HostMap::<u8>::default().is_empty() && !map.is_empty());
    }

    #[test]
    fn what_is_there_first_stays() {
        let mut map = map(&["a", "*.a", "*"]);
        for host in ["a", "*.a", "*"] {
            assert_eq!(*map.get_or_insert_with(host, || "late"), host);
        }
    }
}

//! The compiled table: host by hash, then path by radix tree, so that the number of rules does not matter.

use std::collections::HashMap;

use crate::host::{suffixes, wildcard_suffix};

/// What a rule asks of a request's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRule {
    /// The whole path, letter by letter.
    Exact(String),
    /// The path's first elements: `/api` matches `/api`, `/api/` and `/api/v1`, not `/apis`.
    Prefix(String),
}

/// One rule, before compilation. Of rules that match a request alike, the first given wins.
#[derive(Clone, Debug)]
pub struct Rule<T> {
    /// Exact hosts and wildcards, in lower case.
    pub hosts: Vec<String>,
    /// Paths; all if empty.
    pub paths: Vec<PathRule>,
    /// What a match yields.
    pub value: T,
}

/// Why a rule is left out of the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The radix tree refuses the pattern.
    #[error("failed to add the path {path:?} of host {host:?}: {reason}")]
    Pattern {
        /// The host.
        host: String,
        /// The path.
        path: String,
        /// What the tree says.
        reason: String,
    },
}

/// A compiled table. A look-up costs the same with 10 rules and 10,000.
#[derive(Clone, Debug)]
pub struct Table<T> {
    exact: HashMap<Box<str>, Paths<T>>,
    /// By suffix, as in `.example.com`.
    wildcard: HashMap<Box<str>, Paths<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new() }
    }
}

/// The paths of one host.
#[derive(Clone, Debug)]
struct Paths<T> {
    tree: matchit::Router<T>,
}

/// Paths of one host while they are gathered, by pattern.
type Gathered<T> = HashMap<String, (Precedence, T)>;

/// Of two rules at one pattern, the lower goes first: exact before prefix, then in the order given.
type Precedence = (bool, usize);

impl<T: Clone> Table<T> {
    /// Compiles rules. What cannot be compiled is left out and reported; it never takes others with it.
    pub fn compile(rules: impl IntoIterator<Item = Rule<T>>) -> (Self, Vec<RuleError>) {
        let mut hosts: HashMap<String, Gathered<T>> = HashMap::new();
        for (position, rule) in rules.into_iter().enumerate() {
            let all = [PathRule::Prefix("/".into())];
            let paths = if rule.paths.is_empty() { &all[..] } else { &rule.paths };
            for host in &rule.hosts {
                let gathered = hosts.entry(host.clone()).or_default();
                for path in paths {
                    for (pattern, is_prefix) in patterns(path) {
                        let precedence = (is_prefix, position);
                        let first = gathered.get(&pattern).is_none_or(|(present, _)| precedence < *present);
                        if first {
                            gathered.insert(pattern, (precedence, rule.value.clone()));
                        }
                    }
                }
            }
        }
        let mut errors = Vec::new();
        let mut table = Self::default();
        for (host, gathered) in hosts {
            let paths = Paths::compile(&host, gathered, &mut errors);
            match wildcard_suffix(&host) {
                Some(suffix) => table.wildcard.insert(suffix.into(), paths),
                None => table.exact.insert(host.into(), paths),
            };
        }
        (table, errors)
    }
}

impl<T> Table<T> {
    /// What the most specific rule for a host and path yields. The host must be as [`crate::normalize_host`] gives it.
    ///
    /// A host's own rules hide those of a wildcard over it, whether or not one of them has the path: what an
    /// exact host does not name is not found, rather than answered by whoever holds the wildcard.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<&T> {
        let paths = self.exact.get(host).or_else(|| {
            // No wildcards, no walk.
            if self.wildcard.is_empty() {
                return None;
            }
            suffixes(host).find_map(|suffix| self.wildcard.get(suffix))
        })?;
        paths.tree.at(path).ok().map(|found| found.value)
    }

    /// How many hosts have rules.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.exact.len() + self.wildcard.len()
    }
}

impl<T> Paths<T> {
    fn compile(host: &str, gathered: Gathered<T>, errors: &mut Vec<RuleError>) -> Self {
        let mut tree = matchit::Router::new();
        let mut gathered: Vec<_> = gathered.into_iter().collect();
        gathered.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        for (pattern, (_, value)) in gathered {
            if let Err(error) = tree.insert(pattern.clone(), value) {
                errors.push(RuleError::Pattern { host: host.to_owned(), path: pattern, reason: error.to_string() });
            }
        }
        Self { tree }
    }
}

/// The tree's patterns for a rule, and whether each stands for a prefix.
fn patterns(rule: &PathRule) -> Vec<(String, bool)> {
    match rule {
        PathRule::Exact(path) => vec![(escape(path), false)],
        PathRule::Prefix(path) => {
            let base = escape(path.trim_end_matches('/'));
            // A catch-all never stands for nothing, so the prefix itself, without and with a slash, is named too.
            let mut patterns = vec![(format!("{base}/"), true), (format!("{base}/{{*rest}}"), true)];
            if !base.is_empty() {
                patterns.push((base, true));
            }
            patterns
        }
    }
}

/// Braces mean something to the tree, and nothing in a Route.
fn escape(path: &str) -> String {
    path.replace('{', "{{").replace('}', "}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact(path: &str) -> PathRule {
        PathRule::Exact(path.into())
    }
    fn prefix(path: &str) -> PathRule {
        PathRule::Prefix(path.into())
    }
    fn table(rules: &[(&str, &[PathRule], &'static str)]) -> Table<&'static str> {
        let rules =
            rules.iter().map(|(host, paths, value)| Rule { hosts: vec![(*host).into()], paths: paths.to_vec(), value: *value });
        let (table, errors) = Table::compile(rules);
        assert_eq!(errors, []);
        table
    }

    #[test]
    fn a_prefix_matches_whole_elements() {
        let table = table(&[("h", &[prefix("/api")], "api")]);
        for path in ["/api", "/api/", "/api/v1", "/api/v1/x"] {
            assert_eq!(table.find("h", path), Some(&"api"), "{path}");
        }
        for path in ["/", "/apis", "/ap", "/x/api"] {
            assert_eq!(table.find("h", path), None, "{path}");
        }
    }

    #[test]
    fn a_trailing_slash_of_a_prefix_does_not_matter() {
        let table = table(&[("h", &[prefix("/api/")], "api")]);
        assert_eq!(table.find("h", "/api"), Some(&"api"));
    }

    #[test]
    fn exact_goes_before_prefix_and_long_before_short() {
        let table = table(&[
            ("h", &[], "all"),
            ("h", &[prefix("/a")], "a"),
            ("h", &[prefix("/a/b")], "a/b"),
            ("h", &[exact("/a/b")], "exact"),
        ]);
        assert_eq!(table.find("h", "/"), Some(&"all"));
        assert_eq!(table.find("h", "/x/y"), Some(&"all"));
        assert_eq!(table.find("h", "/a/x"), Some(&"a"));
        assert_eq!(table.find("h", "/a/b"), Some(&"exact"));
        assert_eq!(table.find("h", "/a/b/c"), Some(&"a/b"));
    }

    #[test]
    fn of_equal_rules_the_first_wins() {
        let table = table(&[("h", &[prefix("/a")], "first"), ("h", &[prefix("/a")], "second")]);
        assert_eq!(table.find("h", "/a/x"), Some(&"first"));
    }

    #[test]
    fn an_exact_host_goes_before_a_wildcard_and_hides_it() {
        let table = table(&[
            ("*.example.com", &[], "wild"),
            ("a.example.com", &[prefix("/only")], "exact"),
            ("*.b.example.com", &[], "deeper"),
        ]);
        assert_eq!(table.find("x.example.com", "/"), Some(&"wild"));
        assert_eq!(table.find("x.y.example.com", "/"), Some(&"wild"));
        assert_eq!(table.find("x.b.example.com", "/"), Some(&"deeper"));
        assert_eq!(table.find("a.example.com", "/only"), Some(&"exact"));
        assert_eq!(table.find("a.example.com", "/other"), None);
        assert_eq!(table.find("example.com", "/"), None);
        assert_eq!(table.find("other.org", "/"), None);
    }

    #[test]
    fn braces_and_stars_in_a_path_mean_themselves() {
        let table = table(&[("h", &[prefix("/{id}"), exact("/*")], "braces")]);
        assert_eq!(table.find("h", "/{id}/x"), Some(&"braces"));
        assert_eq!(table.find("h", "/*"), Some(&"braces"));
        assert_eq!(table.find("h", "/other"), None);
    }

    /// The same decision by looking at every rule in turn.
    fn by_hand<'a>(rules: &'a [Rule<usize>], host: &str, path: &str) -> Option<&'a usize> {
        let rank = |rule: &PathRule| match rule {
            PathRule::Exact(exact) => (exact == path).then_some((0, 0)),
            PathRule::Prefix(prefix) => {
                let base = prefix.trim_end_matches('/');
                let matches = path == base || path.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
                matches.then_some((1, usize::MAX - base.len()))
            }
        };
        rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.hosts.iter().any(|known| known == host))
            .flat_map(|(position, rule)| {
                rule.paths.iter().filter_map(move |path| rank(path).map(|rank| (rank, position, &rule.value)))
            })
            .min_by_key(|(rank, position, _)| (*rank, *position))
            .map(|(_, _, value)| value)
    }

    fn paths() -> impl Strategy<Value = String> {
        prop::collection::vec("[ab{}*:.]{1,2}", 0..4).prop_map(|elements| format!("/{}", elements.join("/")))
    }

    proptest! {
        #[test]
        fn the_tree_decides_as_one_would_by_hand(
            rules in prop::collection::vec((prop::sample::select(vec!["h", "g"]), paths(), any::<bool>()), 1..12),
            asked in paths(),
        ) {
            let rules: Vec<Rule<usize>> = rules
                .into_iter()
                .enumerate()
                .map(|(value, (host, path, is_exact))| Rule {
                    hosts: vec![host.to_owned()],
                    paths: vec![if is_exact { PathRule::Exact(path) } else { PathRule::Prefix(path) }],
                    value,
                })
                .collect();
            let (table, errors) = Table::compile(rules.clone());
            prop_assert_eq!(errors, vec![]);
            prop_assert_eq!(table.find("h", &asked), by_hand(&rules, "h", &asked));
        }

        #[test]
        fn no_request_makes_a_look_up_panic(host in ".*", path in ".*") {
            let table = table(&[("*.example.com", &[prefix("/a"), exact("/b")], "x"), ("h", &[], "y")]);
            let _ = crate::normalize_host(&host).map(|host| table.find(&host, &path).copied());
            let _ = crate::check_path(&path);
        }
    }
}

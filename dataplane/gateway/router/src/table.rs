//! The compiled table: host by hash, then path by hash and radix tree, so that the number of rules does not matter.

use std::collections::{BTreeMap, HashMap};

use crate::hosts::HostMap;
use crate::matching::{Asked, Conditions, Match, PathRule, Pattern};

/// One rule, before compilation. Of rules that match a request alike, the first given wins.
#[derive(Clone, Debug)]
pub struct Rule<T> {
    /// Exact hosts and wildcards, in lower case.
    pub hosts: Vec<String>,
    /// Any of these is a match.
    pub matches: Vec<Match>,
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

/// A compiled table. A look-up costs the same with 10 rules and 10,000, as long as they differ in host or path.
#[derive(Clone, Debug)]
pub struct Table<T>(HostMap<Paths<T>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(HostMap::default())
    }
}

/// The paths of one host, each with those who want it, in the order in which they are asked.
#[derive(Clone, Debug)]
struct Paths<T> {
    exact: HashMap<Box<str>, Vec<Candidate<T>>>,
    /// Asked after exact paths and before prefixes, which nobody can tell apart by their length.
    patterns: Vec<(Pattern, Candidate<T>)>,
    /// Leads to the longest prefix of a path, as its place among `prefixes`.
    tree: matchit::Router<usize>,
    prefixes: Vec<Prefix<T>>,
}

#[derive(Clone, Debug)]
struct Prefix<T> {
    candidates: Vec<Candidate<T>>,
    /// The next shorter one, whose candidates are asked if none of these fits.
    shorter: Option<usize>,
}

#[derive(Clone, Debug)]
struct Candidate<T> {
    conditions: Conditions,
    value: T,
}

impl<T: Clone> Table<T> {
    /// Compiles rules. What cannot be compiled is left out and reported; it never takes others with it.
    pub fn compile(rules: impl IntoIterator<Item = Rule<T>>) -> (Self, Vec<RuleError>) {
        let mut hosts: HashMap<String, Gathered<T>> = HashMap::new();
        for rule in rules {
            for host in &rule.hosts {
                let gathered = hosts.entry(host.clone()).or_default();
                for one in &rule.matches {
                    gathered.add(one, &rule.value);
                }
            }
        }
        let mut errors = Vec::new();
        let mut compiled = |(host, gathered): (String, Gathered<T>)| {
            let paths = gathered.compile(&host, &mut errors);
            (host, paths)
        };
        let table = Self(hosts.into_iter().map(&mut compiled).collect());
        (table, errors)
    }
}

impl<T> Table<T> {
    /// What the most specific rule for a host and a request yields. The host must be as [`crate::normalize_host`] gives it.
    ///
    /// Of a host's rules it is that with an exact path, then the first whose expression fits, then that with the longest prefix; of those with
    /// the same path, whoever names a method, then more headers, then more parameters, then whoever was given first (Gateway API,
    /// `HTTPRouteRule`).
    ///
    /// A host's own rules hide those of a wildcard over it, whether or not one of them has the path: what an
    /// exact host does not name is not found, rather than answered by whoever holds the wildcard.
    #[must_use]
    pub fn find(&self, host: &str, asked: &Asked<'_>) -> Option<&T> {
        self.0.find(host)?.find(asked)
    }

    /// The same, where a host's own rules hide those of a wildcard over it only as far as one of them is for the request (Gateway API,
    /// `HTTPRouteSpec.hostnames`).
    #[must_use]
    pub fn find_through(&self, host: &str, asked: &Asked<'_>) -> Option<&T> {
        self.0.all(host).find_map(|paths| paths.find(asked))
    }

    /// How many hosts have rules.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.0.len()
    }
}

impl<T> Paths<T> {
    fn find(&self, asked: &Asked<'_>) -> Option<&T> {
        let first = |candidates: &[Candidate<T>]| candidates.iter().position(|candidate| candidate.conditions.fit(asked));
        if !self.exact.is_empty()
            && let Some(candidates) = self.exact.get(asked.path)
            && let Some(place) = first(candidates)
        {
            return Some(&candidates[place].value);
        }
        let fits =
            |(pattern, candidate): &&(Pattern, Candidate<T>)| candidate.conditions.fit(asked) && pattern.is_match(asked.path);
        if let Some((_, candidate)) = self.patterns.iter().find(fits) {
            return Some(&candidate.value);
        }
        let mut place = Some(*self.tree.at(asked.path).ok()?.value);
        while let Some(prefix) = place.and_then(|place| self.prefixes.get(place)) {
            if let Some(place) = first(&prefix.candidates) {
                return Some(&prefix.candidates[place].value);
            }
            place = prefix.shorter;
        }
        None
    }
}

/// What is wanted of one host, while it is gathered.
struct Gathered<T> {
    exact: HashMap<Box<str>, Vec<Candidate<T>>>,
    patterns: Vec<(Pattern, Candidate<T>)>,
    /// By prefix, without the slash at its end. What comes later in this order is no prefix of what comes before.
    prefixes: BTreeMap<Box<str>, Vec<Candidate<T>>>,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), patterns: Vec::new(), prefixes: BTreeMap::new() }
    }
}

impl<T: Clone> Gathered<T> {
    fn add(&mut self, one: &Match, value: &T) {
        let candidate = Candidate { conditions: one.conditions.clone(), value: value.clone() };
        match &one.path {
            PathRule::Exact(path) => self.exact.entry(path.as_str().into()).or_default().push(candidate),
            PathRule::Regex(pattern) => self.patterns.push((pattern.clone(), candidate)),
            PathRule::Prefix(path) => self.prefixes.entry(path.trim_end_matches('/').into()).or_default().push(candidate),
        }
    }

    fn compile(mut self, host: &str, errors: &mut Vec<RuleError>) -> Paths<T> {
        // Sorting keeps the order given where nothing else decides.
        self.exact.values_mut().chain(self.prefixes.values_mut()).for_each(|all| all.sort_by_key(|one| one.conditions.rank()));
        self.patterns.sort_by_key(|(_, one)| one.conditions.rank());
        let places: HashMap<Box<str>, usize> = self.prefixes.keys().cloned().zip(0..).collect();
        let (mut tree, mut prefixes) = (matchit::Router::new(), Vec::with_capacity(places.len()));
        for (place, (base, candidates)) in self.prefixes.into_iter().enumerate() {
            let shorter = shorter(&base).find_map(|shorter| places.get(shorter).copied());
            for pattern in patterns(&base) {
                if let Err(error) = tree.insert(pattern, place) {
                    errors.push(RuleError::Pattern { host: host.to_owned(), path: base.to_string(), reason: error.to_string() });
                }
            }
            prefixes.push(Prefix { candidates, shorter });
        }
        Paths { exact: self.exact, patterns: self.patterns, tree, prefixes }
    }
}

/// The prefixes of a prefix, the longest first: `/a` and nothing for `/a/b`.
fn shorter(base: &str) -> impl Iterator<Item = &str> {
    base.rmatch_indices('/').map(|(slash, _)| &base[..slash])
}

/// The tree's patterns for a prefix without a slash at its end.
fn patterns(base: &str) -> Vec<String> {
    // Braces mean something to the tree, and nothing in a Route.
    let base = base.replace('{', "{{").replace('}', "}}");
    // A catch-all never stands for nothing, so the prefix itself, without and with a slash, is named too.
    let mut patterns = vec![format!("{base}/"), format!("{base}/{{*rest}}")];
    if !base.is_empty() {
        patterns.push(base);
    }
    patterns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::Text;
    use http::{HeaderMap, HeaderName, Method};
    use proptest::prelude::*;

    fn of_path(path: PathRule) -> Match {
        Match { path, conditions: Conditions::default() }
    }
    fn exact(path: &str) -> PathRule {
        PathRule::Exact(path.into())
    }
    fn prefix(path: &str) -> PathRule {
        PathRule::Prefix(path.into())
    }
    fn regex(pattern: &str) -> PathRule {
        PathRule::Regex(Pattern::new(pattern).unwrap())
    }
    fn table(rules: &[(&str, &[PathRule], &'static str)]) -> Table<&'static str> {
        let rules = rules.iter().map(|(host, paths, value)| Rule {
            hosts: vec![(*host).into()],
            matches: paths.iter().cloned().map(of_path).collect(),
            value: *value,
        });
        let (table, errors) = Table::compile(rules);
        assert_eq!(errors, []);
        table
    }

    fn get<'a>(path: &'a str, headers: &'a HeaderMap) -> Asked<'a> {
        Asked { path, query: None, method: &Method::GET, headers }
    }

    impl<T: Copy> Table<T> {
        fn of(&self, host: &str, path: &str) -> Option<T> {
            self.find(host, &get(path, &HeaderMap::new())).copied()
        }
    }

    #[test]
    fn a_prefix_matches_whole_elements() {
        let table = table(&[("h", &[prefix("/api")], "api")]);
        for path in ["/api", "/api/", "/api/v1", "/api/v1/x"] {
            assert_eq!(table.of("h", path), Some("api"), "{path}");
        }
        for path in ["/", "/apis", "/ap", "/x/api"] {
            assert_eq!(table.of("h", path), None, "{path}");
        }
    }

    #[test]
    fn a_trailing_slash_of_a_prefix_does_not_matter() {
        let table = table(&[("h", &[prefix("/api/")], "api")]);
        assert_eq!(table.of("h", "/api"), Some("api"));
    }

    #[test]
    fn exact_goes_before_expressions_before_prefixes_and_long_before_short() {
        let table = table(&[
            ("h", &[prefix("/")], "all"),
            ("h", &[prefix("/a")], "a"),
            ("h", &[prefix("/a/b")], "a/b"),
            ("h", &[regex("/a/[bc]")], "regex"),
            ("h", &[exact("/a/b")], "exact"),
        ]);
        assert_eq!(table.of("h", "/"), Some("all"));
        assert_eq!(table.of("h", "/x/y"), Some("all"));
        assert_eq!(table.of("h", "/a/x"), Some("a"));
        assert_eq!(table.of("h", "/a/b"), Some("exact"));
        assert_eq!(table.of("h", "/a/c"), Some("regex"));
        assert_eq!(table.of("h", "/a/b/c"), Some("a/b"));
    }

    #[test]
    fn what_a_host_has_no_rule_for_is_found_above_it_where_that_is_asked_for() {
        let table = table(&[("a.b", &[prefix("/a")], "own"), ("*.b", &[prefix("/a/b")], "above"), ("*", &[prefix("/")], "any")]);
        let through = |path| table.find_through("a.b", &get(path, &HeaderMap::new())).copied();
        assert_eq!((through("/a/b"), through("/c"), table.of("a.b", "/c")), (Some("own"), Some("any"), None));
    }

    #[test]
    fn of_equal_rules_the_first_wins() {
        let table = table(&[("h", &[prefix("/a")], "first"), ("h", &[prefix("/a")], "second")]);
        assert_eq!(table.of("h", "/a/x"), Some("first"));
    }

    #[test]
    fn whoever_asks_for_more_is_asked_first_and_where_they_do_not_fit_a_shorter_prefix_is() {
        let header = |name| (HeaderName::from_static(name), Text::Exact("1".into()));
        let one = |path, conditions, value| Rule { hosts: vec!["h".into()], matches: vec![Match { path, conditions }], value };
        let (method, headers) = (Some(Method::GET), Vec::new());
        let rules = [
            one(prefix("/"), Conditions::default(), "all"),
            one(prefix("/a"), Conditions { headers: vec![header("x-a")], ..Conditions::default() }, "one header"),
            one(prefix("/a"), Conditions { headers: vec![header("x-a"), header("x-b")], ..Conditions::default() }, "two headers"),
            one(prefix("/a"), Conditions { method: Some(Method::POST), ..Conditions::default() }, "post"),
            one(exact("/a/get"), Conditions { method, headers, ..Conditions::default() }, "get"),
        ];
        let (table, errors) = Table::compile(rules);
        assert!(errors.is_empty());
        let found = |method: &Method, path, names: &[&'static str]| {
            let headers: HeaderMap = names.iter().map(|name| (HeaderName::from_static(name), "1".parse().unwrap())).collect();
            table.find("h", &Asked { path, query: None, method, headers: &headers }).copied()
        };
        let (get, post) = (Method::GET, Method::POST);
        assert_eq!(found(&get, "/a/x", &["x-a"]), Some("one header"));
        assert_eq!(found(&get, "/a/x", &["x-a", "x-b"]), Some("two headers"));
        assert_eq!(found(&post, "/a/x", &["x-a", "x-b"]), Some("post"), "a method counts for more");
        assert_eq!(found(&get, "/a/x", &[]), Some("all"));
        assert_eq!((found(&get, "/a/get", &["x-a"]), found(&post, "/a/get", &[])), (Some("get"), Some("post")));
    }

    #[test]
    fn an_exact_host_goes_before_a_wildcard_and_hides_it() {
        let all = [prefix("/")];
        let table = table(&[
            ("*.example.com", &all, "wild"),
            ("a.example.com", &[prefix("/only")], "exact"),
            ("*.b.example.com", &all, "deeper"),
        ]);
        assert_eq!(table.of("x.example.com", "/"), Some("wild"));
        assert_eq!(table.of("x.y.example.com", "/"), Some("wild"));
        assert_eq!(table.of("x.b.example.com", "/"), Some("deeper"));
        assert_eq!(table.of("a.example.com", "/only"), Some("exact"));
        assert_eq!(table.of("a.example.com", "/other"), None);
        assert_eq!(table.of("example.com", "/"), None);
        assert_eq!(table.of("other.org", "/"), None);
    }

    #[test]
    fn braces_and_stars_in_a_path_mean_themselves() {
        let table = table(&[("h", &[prefix("/{id}"), exact("/*")], "braces")]);
        assert_eq!(table.of("h", "/{id}/x"), Some("braces"));
        assert_eq!(table.of("h", "/*"), Some("braces"));
        assert_eq!(table.of("h", "/other"), None);
    }

    /// The same decision by looking at every rule in turn.
    fn by_hand<'a>(rules: &'a [Rule<usize>], host: &str, asked: &Asked<'_>) -> Option<&'a usize> {
        let path = asked.path;
        let rank = |rule: &PathRule| match rule {
            PathRule::Exact(exact) => (exact == path).then_some((0, 0)),
            PathRule::Regex(pattern) => pattern.is_match(path).then_some((1, 0)),
            PathRule::Prefix(prefix) => {
                let base = prefix.trim_end_matches('/');
                let matches = path == base || path.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
                matches.then_some((2, usize::MAX - base.len()))
            }
        };
        rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.hosts.iter().any(|known| known == host))
            .flat_map(|(position, rule)| {
                let fitting = rule.matches.iter().filter(|one| one.conditions.fit(asked));
                fitting.filter_map(move |one| rank(&one.path).map(|path| ((path, one.conditions.rank(), position), &rule.value)))
            })
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, value)| value)
    }

    fn paths() -> impl Strategy<Value = String> {
        prop::collection::vec("[ab{}*:.]{1,2}", 0..4).prop_map(|elements| format!("/{}", elements.join("/")))
    }

    fn matches() -> impl Strategy<Value = Match> {
        let method = prop::option::of(prop::sample::select(vec![Method::GET, Method::POST]));
        let names = ["x-a", "x-b"].map(|name| (HeaderName::from_static(name), Text::Exact("1".into())));
        (paths(), 0..3u8, method, prop::sample::subsequence(names.to_vec(), 0..=2)).prop_map(|(path, kind, method, headers)| {
            Match {
                path: match kind {
                    0 => PathRule::Exact(path),
                    1 => PathRule::Prefix(path),
                    _ => PathRule::Regex(Pattern::new("/[ab]+(/.*)?").unwrap()),
                },
                conditions: Conditions { method, headers, queries: Vec::new() },
            }
        })
    }

    proptest! {
        #[test]
        fn the_tree_decides_as_one_would_by_hand(
            rules in prop::collection::vec((prop::sample::select(vec!["h", "g"]), matches()), 1..12),
            path in paths(),
            names in prop::sample::subsequence(vec!["x-a", "x-b"], 0..=2),
        ) {
            let rules: Vec<Rule<usize>> = rules
                .into_iter()
                .enumerate()
                .map(|(value, (host, one))| Rule { hosts: vec![host.to_owned()], matches: vec![one], value })
                .collect();
            let (table, errors) = Table::compile(rules.clone());
            prop_assert_eq!(errors, vec![]);
            let headers: HeaderMap = names.iter().map(|name| (HeaderName::from_static(name), "1".parse().unwrap())).collect();
            prop_assert_eq!(table.find("h", &get(&path, &headers)), by_hand(&rules, "h", &get(&path, &headers)));
        }

        #[test]
        fn no_request_makes_a_look_up_panic(host in ".*", path in ".*", query in ".*") {
            let wants = Conditions { queries: vec![("q".into(), Text::Exact("1".into()))], ..Conditions::default() };
            let one = Match { path: regex("/x.*"), conditions: wants };
            let (table, _) = Table::compile([Rule { hosts: vec!["*.example.com".into(), "h".into()], matches: vec![one], value: () }]);
            let headers = HeaderMap::new();
            let asked = Asked { query: Some(&query), ..get(&path, &headers) };
            let _ = crate::normalize_host(&host).map(|host| table.find(&host, &asked).is_some());
            let _ = (table.find("h", &asked), crate::check_path(&path));
        }
    }
}

//! Which tenant holds a host: the one that proved last that the host is its own, as Domains do; of those that only claim it, the one with
//! the oldest Route.
//!
//! A wildcard holds every host that it covers, so that nobody can take `login.example.com` out of another
//! tenant's `*.example.com`. A host that is older than the wildcard stays where it is.

use std::cmp::Reverse;

use crate::hosts::HostMap;

/// What a claim rests on, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ground {
    /// It is the platform's own.
    Platform,
    /// It was proven at this time, in seconds since 1970. A host that is sold is proven by another afterwards.
    Proof(Reverse<i64>),
    /// A Route names it.
    Route,
}

/// A Route or a Domain, as far as claims go. The order of claims is the order of these fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claimant {
    /// What the claim rests on.
    pub ground: Ground,
    /// When the object was created, in seconds since 1970.
    pub created: i64,
    /// Its core namespace, that is, the tenant.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The hosts that it claims.
    pub hosts: Vec<String>,
}

impl Claimant {
    /// The platform, whose hosts are its own, whoever else claims them and since when.
    pub fn platform(namespace: &str, hosts: Vec<String>) -> Self {
        Self { ground: Ground::Platform, created: 0, namespace: namespace.to_owned(), name: "platform".to_owned(), hosts }
    }

    /// A tenant that has proven that a host, or all names below one, are its own.
    pub fn proven(namespace: &str, name: &str, host: &str, proven_at_s: i64) -> Self {
        let ground = Ground::Proof(Reverse(proven_at_s));
        Self { ground, created: 0, namespace: namespace.to_owned(), name: name.to_owned(), hosts: vec![host.to_owned()] }
    }
}

/// Who holds which host.
#[derive(Debug, Default)]
pub struct Claims {
    /// The core namespaces that hold them.
    holders: HostMap<String>,
}

impl Claims {
    /// Decides every claim, the strongest first.
    pub fn decide(claimants: impl IntoIterator<Item = Claimant>) -> Self {
        let mut claimants: Vec<Claimant> = claimants.into_iter().collect();
        claimants.sort_unstable();
        let mut claims = Self::default();
        for claimant in claimants {
            for host in &claimant.hosts {
                let holder = match claimant.ground {
                    // Whoever has the names above has let this one be proven.
                    Ground::Platform | Ground::Proof(_) => claims.holders.get(host),
                    Ground::Route => claims.holder_of(host),
                };
                if holder.is_none_or(|holder| *holder == claimant.namespace) {
                    claims.holders.get_or_insert_with(host, || claimant.namespace.clone());
                }
            }
        }
        claims
    }

    /// Whether the tenant holds the host. A host that nobody claims is held by nobody.
    #[must_use]
    pub fn holds(&self, namespace: &str, host: &str) -> bool {
        self.holders.get(host).is_some_and(|holder| holder == namespace)
    }

    /// Who holds the nearest names above a host.
    #[must_use]
    pub fn holder_above(&self, host: &str) -> Option<&str> {
        self.holders.above(host).next().map(String::as_str)
    }

    /// Who holds the host already: itself, or by a wildcard over it.
    fn holder_of(&self, host: &str) -> Option<&String> {
        self.holders.get(host).or_else(|| self.holders.above(host).next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimant(created: i64, namespace: &str, hosts: &[&str]) -> Claimant {
        Claimant {
            ground: Ground::Route,
            created,
            namespace: namespace.into(),
            name: "r".into(),
            hosts: hosts.iter().map(|host| (*host).into()).collect(),
        }
    }

    #[test]
    fn the_older_route_keeps_the_host_whatever_the_order() {
        let (older, younger) = (claimant(1, "u-ada", &["a.example.com"]), claimant(2, "u-bob", &["a.example.com"]));
        for order in [[older.clone(), younger.clone()], [younger, older]] {
            let claims = Claims::decide(order);
            assert!(claims.holds("u-ada", "a.example.com"));
            assert!(!claims.holds("u-bob", "a.example.com"));
        }
    }

    #[test]
    fn the_platforms_host_is_nobody_elses() {
        let platform = Claimant::platform("eddy-system", vec!["cloud.example.com".into()]);
        let claims = Claims::decide([claimant(0, "u-ada", &["*.example.com", "cloud.example.com"]), platform]);
        assert!(claims.holds("eddy-system", "cloud.example.com") && !claims.holds("u-ada", "cloud.example.com"));
        assert!(claims.holds("u-ada", "*.example.com"));
    }

    #[test]
    fn a_tenant_may_claim_a_host_more_than_once() {
        let claims =
            Claims::decide([claimant(1, "u-ada", &["a.example.com"]), claimant(2, "u-ada", &["a.example.com", "b.example.com"])]);
        assert!(claims.holds("u-ada", "a.example.com") && claims.holds("u-ada", "b.example.com"));
    }

    #[test]
    fn nobody_takes_a_host_out_of_an_older_wildcard() {
        let claims = Claims::decide([
            claimant(1, "u-ada", &["*.example.com"]),
            claimant(2, "u-bob", &["login.example.com", "*.b.example.com", "example.com"]),
        ]);
        assert!(!claims.holds("u-bob", "login.example.com"));
        assert!(!claims.holds("u-bob", "*.b.example.com"));
        assert!(claims.holds("u-bob", "example.com"), "a wildcard does not cover the bare name");
    }

    #[test]
    fn a_host_older_than_the_wildcard_stays() {
        let claims = Claims::decide([
            claimant(1, "u-bob", &["login.example.com"]),
            claimant(2, "u-ada", &["*.example.com", "login.example.com"]),
        ]);
        assert!(claims.holds("u-bob", "login.example.com"));
        assert!(claims.holds("u-ada", "*.example.com"));
        assert!(!claims.holds("u-ada", "login.example.com"));
    }

    #[test]
    fn what_was_lost_covers_nothing() {
        let claims = Claims::decide([
            claimant(1, "u-ada", &["*.example.com"]),
            claimant(2, "u-bob", &["*.b.example.com"]),
            claimant(3, "u-ada", &["x.b.example.com"]),
        ]);
        assert!(claims.holds("u-ada", "x.b.example.com"));
    }

    #[test]
    fn who_proves_a_host_has_it_whoever_named_it_before() {
        let proven = |namespace, host, at| Claimant::proven(namespace, "d", host, at);
        let claims = Claims::decide([
            claimant(1, "u-eve", &["a.example.com", "x.b.example.com", "cloud.example.com"]),
            proven("u-ada", "a.example.com", 7),
            proven("u-ada", "*.b.example.com", 8),
            proven("u-bob", "login.b.example.com", 9),
            proven("u-old", "sold.example.com", 1),
            proven("u-new", "sold.example.com", 2),
            claimant(2, "u-eve", &["y.login.b.example.com"]),
            Claimant::platform("eddy-system", vec!["cloud.example.com".into()]),
            proven("u-ada", "cloud.example.com", 1),
        ]);
        let held = |namespace, host| claims.holds(namespace, host);
        assert!(held("u-ada", "a.example.com") && held("u-ada", "*.b.example.com") && !held("u-eve", "x.b.example.com"));
        assert!(held("u-bob", "login.b.example.com"), "the names' owner has let it be proven");
        assert!(held("u-new", "sold.example.com") && !held("u-old", "sold.example.com"));
        assert!(!held("u-eve", "y.login.b.example.com"));
        assert!(held("eddy-system", "cloud.example.com") && !held("u-ada", "cloud.example.com"));
        assert_eq!((claims.holder_above("x.b.example.com"), claims.holder_above("a.example.com")), (Some("u-ada"), None));
    }

    #[test]
    fn routes_of_one_second_are_ordered_by_name() {
        let claims = Claims::decide([claimant(1, "u-bob", &["a.example.com"]), claimant(1, "u-ada", &["a.example.com"])]);
        assert!(claims.holds("u-ada", "a.example.com"));
    }
}

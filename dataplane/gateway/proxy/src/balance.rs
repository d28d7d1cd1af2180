//! Choosing who answers: a backend by weight, then the less busy of two endpoints.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use eddy_router::{HeaderEdits, Weights};

use crate::endpoints::{Endpoint, Endpoints};
use crate::secured::Secured;

/// The backends of a route.
#[derive(Debug)]
pub(crate) struct Backends {
    weights: Weights,
    all: Vec<Backend>,
}

/// One who answers.
#[derive(Debug, Default)]
pub(crate) struct Backend {
    /// None of one that is not there.
    pub(crate) endpoints: Option<Endpoints>,
    /// How they are reached by TLS; without if none.
    pub(crate) secured: Option<Arc<Secured>>,
    /// HTTP/2 is spoken there.
    pub(crate) is_http2: bool,
    /// What changes of the headers that it sees, besides what its Route says,
    pub(crate) request_headers: HeaderEdits,
    /// and of the headers of its answers.
    pub(crate) response_headers: HeaderEdits,
}

/// Who is to answer a request.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) endpoint: Arc<Endpoint>,
    /// The place of its backend among the route's.
    pub(crate) backend: usize,
}

/// Why nobody can take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nobody {
    /// No endpoint of the backend is ready.
    Ready,
    /// There is no such backend.
    There,
}

impl Backends {
    pub(crate) fn new(backends: Vec<(u32, Endpoints)>) -> Self {
        let backend = |endpoints| Backend { endpoints: Some(endpoints), ..Backend::default() };
        Self::of(backends.into_iter().map(|(weight, endpoints)| (weight, backend(endpoints))).collect())
    }

    /// Backends of which some may not be there: they keep their share.
    pub(crate) fn of(backends: Vec<(u32, Backend)>) -> Self {
        let weights = Weights::new(backends.iter().map(|(weight, _)| *weight));
        Self { weights, all: backends.into_iter().map(|(_, backend)| backend).collect() }
    }

    /// The backend at a place.
    pub(crate) fn at(&self, place: usize) -> Option<&Backend> {
        self.all.get(place)
    }

    /// Whether HTTP/1.1 without TLS is spoken with all.
    pub(crate) fn are_direct(&self) -> bool {
        !self.all.iter().any(|backend| backend.is_http2 || backend.secured.is_some())
    }

    /// Whether there is an endpoint with this address still.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        let mut known = self.all.iter().filter_map(|backend| backend.endpoints.as_ref());
        known.any(|endpoints| endpoints.load().iter().any(|endpoint| endpoint.address == address))
    }

    /// Who is to take a request, if anybody can; another than `failed` where there is one.
    ///
    /// A backend without endpoints keeps its share: its requests fail rather than move to others, which is
    /// what the Gateway API asks for and what someone who shifts weights step by step must see.
    pub(crate) fn choose(&self, failed: Option<SocketAddr>) -> Result<Chosen, Nobody> {
        let backend = match self.all.len() {
            1 if self.weights.total() > 0 => 0,
            _ => self.weights.pick(fastrand::u64(0..self.weights.total().max(1))).ok_or(Nobody::Ready)?,
        };
        let endpoints = self.all.get(backend).ok_or(Nobody::Ready)?.endpoints.as_ref().ok_or(Nobody::There)?;
        let endpoint = less_busy_of_two(&endpoints.load(), failed).ok_or(Nobody::Ready)?;
        Ok(Chosen { endpoint, backend })
    }
}

/// The power of two choices: nearly as even as asking all, at the cost of asking two. Of those that are worth a try, if any is.
fn less_busy_of_two(endpoints: &[Arc<Endpoint>], failed: Option<SocketAddr>) -> Option<Arc<Endpoint>> {
    let count = endpoints.len();
    if count < 2 {
        return endpoints.first().cloned();
    }
    let first = fastrand::usize(0..count);
    // Any other than the first, each as likely.
    let second = (first + fastrand::usize(1..count)) % count;
    let now = Instant::now();
    let is_bad = |endpoint: &Endpoint| failed == Some(endpoint.address) || endpoint.trust.is_alone(now);
    let (first, second) = (&endpoints[first], &endpoints[second]);
    // Where most are left alone, it is not they who are to blame, and the few that are not would have to bear it all.
    let most_are = || endpoints.iter().filter(|endpoint| endpoint.trust.is_alone(now)).count() * 2 > count;
    let less_busy = if second.active() < first.active() { second } else { first };
    let chosen = match (is_bad(first), is_bad(second)) {
        (false, false) => less_busy,
        _ if most_are() => match failed {
            Some(failed) if first.address == failed => second,
            Some(failed) if second.address == failed => first,
            _ => less_busy,
        },
        (false, true) => first,
        (true, false) => second,
        (true, true) => {
            let good: Vec<_> = endpoints.iter().filter(|endpoint| !is_bad(endpoint)).collect();
            fastrand::choice(good).unwrap_or(less_busy)
        }
    };
    Some(chosen.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::{InFlight, PortKey, Registry, ServicePort};
    use crate::inputs::{Addresses, Place, SliceInput};
    use eddy_router::Transport;
    use std::collections::BTreeMap;

    fn endpoints(addresses: &[&str]) -> Endpoints {
        let place = |name: &str| Place { namespace: "u-ada".into(), name: name.into() };
        let mut registry = Registry::default();
        registry.apply(SliceInput {
            slice: place("web-1"),
            service: "web".into(),
            ready: BTreeMap::from([(80, addresses.iter().map(|address| address.parse().unwrap()).collect())]),
            leaving: BTreeMap::new(),
            datagrams: Addresses::default(),
            names: BTreeMap::new(),
        });
        registry.endpoints(&ServicePort { service: place("web"), transport: Transport::Tcp, port: PortKey::Number(80) })
    }

    #[test]
    fn a_weight_of_nothing_takes_nothing() {
        let backends = Backends::new(vec![(0, endpoints(&["10.0.0.1:80"])), (5, endpoints(&["10.0.0.2:80"]))]);
        for _ in 0..100 {
            assert_eq!(backends.choose(None).unwrap().endpoint.address, "10.0.0.2:80".parse().unwrap());
        }
        assert!(Backends::new(vec![(0, endpoints(&["10.0.0.1:80"]))]).choose(None).is_err());
    }

    #[test]
    fn a_backend_without_endpoints_keeps_its_share() {
        let backends = Backends::new(vec![(1, endpoints(&[])), (1, endpoints(&["10.0.0.2:80"]))]);
        let answered = (0..1000).filter(|_| backends.choose(None).is_ok()).count();
        assert!((350..650).contains(&answered), "{answered} of 1000 answered, should be about half");
    }

    #[test]
    fn a_retry_goes_elsewhere() {
        let backends = Backends::new(vec![(1, endpoints(&["10.0.0.1:80", "10.0.0.2:80"]))]);
        for _ in 0..100 {
            assert_eq!(backends.choose("10.0.0.1:80".parse().ok()).unwrap().endpoint.address, "10.0.0.2:80".parse().unwrap());
        }
    }

    #[test]
    fn one_that_takes_no_connections_is_left_alone_unless_most_are() {
        let all = endpoints(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"]);
        let breaks = |endpoint: &Endpoint| (0..3).filter(|_| endpoint.trust.broken(Instant::now())).count();
        let backends = Backends::new(vec![(1, all.clone())]);
        let tried = |failed: Option<&str>| -> Vec<String> {
            let failed = failed.and_then(|failed| failed.parse().ok());
            let tried = (0..200).map(|_| backends.choose(failed).unwrap().endpoint.address.to_string());
            tried.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
        };
        assert_eq!((breaks(&all.load()[0]), breaks(&all.load()[1])), (1, 1));
        assert_eq!(tried(None), ["10.0.0.3:80", "10.0.0.4:80"]);
        assert_eq!(tried(Some("10.0.0.3:80")), ["10.0.0.4:80"]);
        breaks(&all.load()[2]);
        assert_eq!(tried(None).len(), 4);
        assert!(!tried(Some("10.0.0.4:80")).contains(&"10.0.0.4:80".to_owned()));
        all.load()[2].trust.kept();
        assert_eq!(tried(None), ["10.0.0.3:80", "10.0.0.4:80"]);
    }

    #[test]
    fn the_less_busy_endpoint_is_preferred() {
        let both = endpoints(&["10.0.0.1:80", "10.0.0.2:80"]);
        let _busy = InFlight::start(both.load()[0].clone());
        let backends = Backends::new(vec![(1, both)]);
        for _ in 0..100 {
            assert_eq!(backends.choose(None).unwrap().endpoint.address, "10.0.0.2:80".parse().unwrap());
        }
    }
}

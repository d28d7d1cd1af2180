//! How often somebody may be wrong.
//!
//! Tries that failed are counted by whom they were for, by where they came from, and by both, each in a table of fixed size: who makes up
//! names and addresses fills no memory. Two that share a place in it share its count; who is where is drawn anew for each process. Many
//! people may come from one address, so that alone it may be wrong more often.

use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;

/// Places of a table.
const PLACES: usize = 1 << 16;
/// Failures for one user, wherever they come from: more make their password useless for a while, not what else they sign in with.
const BY_USER: Rate = Rate { at_once: 30, one_more_every: Duration::from_secs(60) };
/// Failures for one user from one address, or one network of IPv6,
const BY_BOTH: Rate = Rate { at_once: 10, one_more_every: Duration::from_secs(60) };
/// and from there for all.
const BY_ADDRESS: Rate = Rate { at_once: 100, one_more_every: Duration::from_secs(6) };

/// So many at once, and one more as time goes by.
#[derive(Clone, Copy, Debug)]
struct Rate {
    at_once: u32,
    one_more_every: Duration,
}

/// Counts failures.
pub(crate) struct Attempts {
    hasher: RandomState,
    began: Instant,
    users: Mutex<Box<[u64]>>,
    both: Mutex<Box<[u64]>>,
    addresses: Mutex<Box<[u64]>>,
}

impl Attempts {
    pub(crate) fn new() -> Self {
        let table = || Mutex::new(vec![0; PLACES].into());
        Self { hasher: RandomState::default(), began: Instant::now(), users: table(), both: table(), addresses: table() }
    }

    /// Whether another try may be made; if not, when. Without a user, it only counts where it comes from.
    pub(crate) fn check(&self, user: Option<&str>, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let now_ms = self.at(now);
        let network = network(from);
        let of_user = user.map(|user| wait(&self.users, self.place(user), BY_USER, now_ms)).unwrap_or_default();
        let of_both = user.map(|user| wait(&self.both, self.place((user, network)), BY_BOTH, now_ms)).unwrap_or_default();
        let of_address = wait(&self.addresses, self.place(network), BY_ADDRESS, now_ms);
        match of_user.max(of_both).max(of_address) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    /// Counts one that failed.
    pub(crate) fn failed(&self, user: Option<&str>, from: IpAddr, now: Instant) {
        if let Some(user) = user {
            count(&self.users, self.place(user), BY_USER, self.at(now));
            count(&self.both, self.place((user, network(from))), BY_BOTH, self.at(now));
        }
        count(&self.addresses, self.place(network(from)), BY_ADDRESS, self.at(now));
    }

    fn place(&self, key: impl Hash) -> usize {
        usize::try_from(self.hasher.hash_one(key)).unwrap_or_default() % PLACES
    }

    /// In milliseconds since the beginning.
    fn at(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

/// A place holds when all that was counted in it is forgotten (as in GCRA).
fn wait(table: &Mutex<Box<[u64]>>, place: usize, rate: Rate, now_ms: u64) -> Duration {
    let forgotten_ms = table.lock().unwrap_or_else(PoisonError::into_inner)[place];
    let one_ms = u64::try_from(rate.one_more_every.as_millis()).unwrap_or(u64::MAX);
    let allowed_ms = one_ms.saturating_mul(u64::from(rate.at_once - 1));
    Duration::from_millis(forgotten_ms.saturating_sub(now_ms).saturating_sub(allowed_ms))
}

fn count(table: &Mutex<Box<[u64]>>, place: usize, rate: Rate, now_ms: u64) {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    let one_ms = u64::try_from(rate.one_more_every.as_millis()).unwrap_or(u64::MAX);
    let full_ms = now_ms.saturating_add(one_ms.saturating_mul(u64::from(rate.at_once)));
    // What is under way at once may count more; the wait grows no longer for that.
    table[place] = table[place].max(now_ms).saturating_add(one_ms).min(full_ms);
}

/// Of IPv6, whoever has one address has a network of them.
fn network(address: IpAddr) -> [u8; 16] {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            octets
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn whoever_is_wrong_too_often_waits_and_others_do_not() {
        let (attempts, now, here) = (Attempts::new(), Instant::now(), address("192.0.2.1"));
        for _ in 0..BY_BOTH.at_once {
            assert_eq!(attempts.check(Some("ada"), here, now), Ok(()));
            attempts.failed(Some("ada"), here, now);
        }
        let wait = attempts.check(Some("ada"), here, now).unwrap_err();
        assert!(wait <= BY_BOTH.one_more_every, "{wait:?}");
        assert_eq!(attempts.check(Some("bob"), here, now), Ok(()), "many may share an address");
        assert_eq!(attempts.check(Some("ada"), address("192.0.2.2"), now), Ok(()));
        assert_eq!(attempts.check(Some("ada"), here, now + wait), Ok(()));
    }

    #[test]
    fn an_address_is_not_wrong_for_ever() {
        let (attempts, now, here) = (Attempts::new(), Instant::now(), address("192.0.2.1"));
        for number in 0..BY_ADDRESS.at_once {
            assert_eq!(attempts.check(None, here, now), Ok(()), "{number}");
            attempts.failed(Some(&number.to_string()), here, now);
        }
        assert!(attempts.check(None, here, now).is_err() && attempts.check(Some("ada"), here, now).is_err());
        assert_eq!(attempts.check(None, here, now + BY_ADDRESS.one_more_every), Ok(()));
    }

    #[test]
    fn a_user_is_guarded_from_many_addresses() {
        let (attempts, now) = (Attempts::new(), Instant::now());
        for number in 0..BY_USER.at_once {
            attempts.failed(Some("ada"), IpAddr::from([10, 0, 0, u8::try_from(number).unwrap()]), now);
        }
        assert!(attempts.check(Some("ada"), address("10.9.9.9"), now).is_err());
        assert_eq!(attempts.check(None, address("10.9.9.9"), now), Ok(()), "what is no guess of a password goes on");
        assert_eq!(attempts.check(Some("bob"), address("10.9.9.9"), now), Ok(()));
        // However many more fail, it is not longer until one may be tried.
        for _ in 0..1000 {
            attempts.failed(Some("ada"), address("10.9.9.9"), now);
        }
        assert!(attempts.check(Some("ada"), address("10.9.9.8"), now).unwrap_err() <= BY_USER.one_more_every);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        assert_eq!(network(address("2001:db8::1")), network(address("2001:db8::ffff:1")));
        assert_ne!(network(address("2001:db8::1")), network(address("2001:db8:0:1::1")));
        assert_eq!(network(address("::ffff:192.0.2.1")), network(address("192.0.2.1")));
    }
}

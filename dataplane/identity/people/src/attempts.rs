//! How often somebody may be wrong.
//!
//! Tries of passwords are counted by whom they were for, by where they came from, and by both, each in a table of fixed size: who makes up
//! names and addresses fills no memory. Two that share a place in it share its count; who is where is drawn anew for each process. Many
//! people may come from one address, so that alone it may be wrong more often.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use eddy_http::{Limits, Rate};

/// Failures for one user, wherever they come from: more make their password useless for a while, not what else they sign in with.
const BY_USER: Rate = Rate { at_once: 30, one_more_every: Duration::from_secs(60) };
/// Failures for one user from one address, or one network of IPv6,
const BY_BOTH: Rate = Rate { at_once: 10, one_more_every: Duration::from_secs(60) };
/// and from there for all: everybody may come by one balancer.
const BY_ADDRESS: Rate = Rate { at_once: 1000, one_more_every: Duration::from_secs(1) };
/// One user signs in so often.
const SIGN_INS: Rate = Rate { at_once: 60, one_more_every: Duration::from_secs(120) };

/// Programs from one address ask to be let in so often.
const DEVICES: Rate = Rate { at_once: 100, one_more_every: Duration::from_secs(6) };

/// People of one address begin to sign in by a provider, or a passkey, so often.
const CEREMONIES: Rate = Rate { at_once: 100, one_more_every: Duration::from_secs(2) };

/// One answer of a provider, or an authenticator, is looked at so often: it counts once, and two may share a place.
const ANSWERS: Rate = Rate { at_once: 3, one_more_every: Duration::from_secs(300) };

/// Counts tries.
pub(crate) struct Attempts {
    users: Limits,
    both: Limits,
    addresses: Limits,
    sign_ins: Limits,
    devices: Limits,
    ceremonies: Limits,
    answers: Limits,
    records: Limits,
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self {
            users: Limits::new(BY_USER),
            both: Limits::new(BY_BOTH),
            addresses: Limits::new(BY_ADDRESS),
            sign_ins: Limits::new(SIGN_INS),
            devices: Limits::new(DEVICES),
            ceremonies: Limits::new(CEREMONIES),
            answers: Limits::new(ANSWERS),
            records: Limits::new(RECORDS),
        }
    }

    /// Counts a try; if it may not be made, when. Whoever was right is counted out again by [`Attempts::right`], as is who was not looked at.
    pub(crate) fn begin(&self, user: &str, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let network = network(from);
        self.users.count(user, now)?;
        self.both.count((user, network), now).inspect_err(|_| self.users.uncount(user))?;
        self.addresses.count(network, now).inspect_err(|_| {
            self.users.uncount(user);
            self.both.uncount((user, network));
        })
    }

    /// It was right, after all, or nobody looked.
    pub(crate) fn right(&self, user: &str, from: IpAddr) {
        let network = network(from);
        self.users.uncount(user);
        self.both.uncount((user, network));
        self.addresses.uncount(network);
    }

    /// Counts a program that asks to be let in; if there were too many from there, when another may.
    pub(crate) fn device(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        self.devices.count(network(from), now)
    }

    /// Counts somebody who begins to sign in by a provider, or a passkey; if there were too many from there, when another may.
    pub(crate) fn ceremony(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        self.ceremonies.count(network(from), now)
    }

    /// Counts an answer of a provider, or an authenticator, that somebody comes back with; if it was looked at too often, when it may be again.
    pub(crate) fn answer(&self, state: &str, now: Instant) -> Result<(), Duration> {
        self.answers.count(state, now)
    }

    /// Counts that somebody signs in, however; if that was too often, when they may again. Each is told to every process.
    pub(crate) fn sign_in(&self, user: &str, now: Instant) -> Result<(), Duration> {
        self.sign_ins.count(user, now)
    }

    /// Whether what a stranger did wrong is written down: not all that they can do.
    pub(crate) fn is_recorded(&self, user: &str, now: Instant) -> bool {
        self.records.count(user, now).is_ok()
    }
}

/// What strangers do wrong in one user's name is written down so often.
const RECORDS: Rate = Rate { at_once: 100, one_more_every: Duration::from_secs(60) };

/// Of IPv6, whoever has one address has a network of them.
fn network(address: IpAddr) -> [u8; 16] {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[7..].fill(0);
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
        for number in 0..BY_BOTH.at_once {
            assert_eq!(attempts.begin("ada", here, now), Ok(()), "{number}");
        }
        let wait = attempts.begin("ada", here, now).unwrap_err();
        assert!(wait <= BY_BOTH.one_more_every, "{wait:?}");
        // What was not tried is not counted.
        for _ in 0..1000 {
            assert_eq!(attempts.begin("ada", here, now), Err(wait));
        }
        assert_eq!(attempts.begin("bob", here, now), Ok(()), "many may share an address");
        assert_eq!(attempts.begin("ada", address("192.0.2.2"), now), Ok(()));
        assert_eq!(attempts.begin("ada", here, now + wait), Ok(()));
        assert!(attempts.begin("ada", here, now + wait).is_err());
    }

    #[test]
    fn whoever_is_right_is_not_counted() {
        let (attempts, now, here) = (Attempts::new(), Instant::now(), address("192.0.2.1"));
        for _ in 0..2000 {
            attempts.begin("ada", here, now).unwrap();
            attempts.right("ada", here);
        }
    }

    #[test]
    fn an_address_is_not_wrong_for_ever() {
        let (attempts, now, here) = (Attempts::new(), Instant::now(), address("192.0.2.1"));
        for number in 0..BY_ADDRESS.at_once {
            assert_eq!(attempts.begin(&number.to_string(), here, now), Ok(()), "{number}");
        }
        assert!(attempts.begin("ada", here, now).is_err());
        assert_eq!(attempts.begin("ada", here, now + BY_ADDRESS.one_more_every), Ok(()));
    }

    #[test]
    fn a_user_is_guarded_from_many_addresses() {
        let (attempts, now) = (Attempts::new(), Instant::now());
        for number in 0..BY_USER.at_once {
            attempts.begin("ada", IpAddr::from([10, 0, 0, u8::try_from(number).unwrap()]), now).unwrap();
        }
        assert!(attempts.begin("ada", address("10.9.9.9"), now).unwrap_err() <= BY_USER.one_more_every);
        assert_eq!(attempts.begin("bob", address("10.9.9.9"), now), Ok(()));
    }

    #[test]
    fn nobody_signs_in_all_the_time() {
        let (attempts, now) = (Attempts::new(), Instant::now());
        for _ in 0..SIGN_INS.at_once {
            attempts.sign_in("ada", now).unwrap();
        }
        assert!(attempts.sign_in("ada", now).is_err() && attempts.sign_in("bob", now).is_ok());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        assert_eq!(network(address("2001:db8::1")), network(address("2001:db8::ffff:1")));
        assert_eq!(network(address("2001:db8::1")), network(address("2001:db8:0:ff::1")), "a customer has 256 of them");
        assert_ne!(network(address("2001:db8::1")), network(address("2001:db8:0:100::1")));
        assert_eq!(network(address("::ffff:192.0.2.1")), network(address("192.0.2.1")));
    }
}

//! What `e2e/bench/instructions` counts the instructions of: checks of whether somebody may.

#[path = "../benches/check/support.rs"]
mod support;

use std::hint::black_box;

use eddy_authz::{Action, Kind, Permissions, Principal, Resource};

const PRINCIPALS: usize = 10_000;

fn checks(permissions: &Permissions, whose: &[Principal], count: usize) {
    for at in 0..count {
        let who = &whose[at * 7_919 % whose.len()];
        let resource = Resource { owner: who.user(), kind: Kind::Files, id: "thing-10/a/b" };
        black_box(permissions.may(who, Action::Read, &resource));
    }
}

/// The first argument is how many checks; what all else takes is counted with none.
fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or_default();
    let (permissions, tokens) = support::filled(PRINCIPALS);
    let whose: Vec<_> = tokens.iter().map(|token| permissions.authenticate(token, 0).expect("known")).collect();
    checks(&permissions, &whose, count);
}

//! What it takes to decide whether somebody may, with 10,000 principals of 20 scopes each.

mod support;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use eddy_authz::{Action, Kind, Resource, Token};

const PRINCIPALS: usize = 10_000;

fn check(criterion: &mut Criterion) {
    let (permissions, tokens) = support::filled(PRINCIPALS);
    // Each time another, so that what is asked for is not what was asked for just before.
    let mut at = 0;
    let mut next = move || {
        at = (at + 7_919) % PRINCIPALS;
        at
    };
    let whose: Vec<_> = tokens.iter().map(|token| permissions.authenticate(token, 0).expect("known")).collect();
    criterion.bench_function("may, of a principal", |bench| {
        bench.iter(|| {
            let who = &whose[next()];
            let resource = Resource { owner: who.user(), kind: Kind::Files, id: "thing-10/a/b" };
            black_box(permissions.may(who, Action::Read, &resource))
        });
    });
    criterion.bench_function("authenticate a token, and may", |bench| {
        bench.iter(|| {
            let who = permissions.authenticate(&tokens[next()], 0).expect("known");
            let resource = Resource { owner: who.user(), kind: Kind::Files, id: "thing-10/a/b" };
            black_box(permissions.may(&who, Action::Read, &resource))
        });
    });
    let texts: Vec<String> = tokens.iter().map(|token| token.expose().to_owned()).collect();
    criterion.bench_function("read a token", |bench| bench.iter(|| black_box(Token::parse(&texts[next()]))));
}

criterion_group!(benches, check);
criterion_main!(benches);

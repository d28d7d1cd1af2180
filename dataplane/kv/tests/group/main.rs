//! Several replicas that are one store, over real connections.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../conformance/mod.rs"]
mod conformance;
mod faults;
#[path = "../flipped/mod.rs"]
mod flipped;
mod members;
#[path = "../reserved/mod.rs"]
mod reserved;
mod support;

use std::sync::Arc;

use crate::support::Group;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_three_replicas_conforms() {
    let mut groups = Vec::new();
    conformance::run(async || {
        let group = Group::started(3, 0).await;
        let store = Arc::new(group.client());
        groups.push(group);
        store as Arc<dyn eddy_kv::Store>
    })
    .await;
}

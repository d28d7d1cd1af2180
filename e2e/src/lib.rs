//! What end-to-end tests share: the cluster that `./test` started, real kubectl, and requests through the gateway.
//!
//! Each test works in tenants of its own and waits on conditions. Failures panic: a test has nobody to return an
//! error to.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod authority;
mod cluster;
mod collector;
mod crash;
mod door;
mod http;
mod load;
mod ports;
mod storage;
mod token;

pub use self::authority::{Authority, CREDENTIALS};
pub use self::cluster::{Cluster, cluster_tool, repository, wait, wait_within};
pub use self::collector::Collector;
pub use self::crash::kill;
pub use self::door::{Door, KEEPER, Key, LEAVER, LOADER};
pub use self::http::Gateway;
pub use self::load::{Load, Outcome};
pub use self::ports::reserved_address;
pub use self::storage::{
    Chunkserver, STORAGE_NAMESPACES, chunkservers, storage_namespace, storage_ready, storage_server, system, wait_figure,
};
pub use self::token::{TOKENS, secret, token};

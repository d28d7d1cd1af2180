//! A real Kubernetes on one bare machine, with Eddy on it: what `./up` and `./down` do.
//!
//! A cluster has a name. Everything of it (processes, mounts, bridge, network namespaces, addresses) is
//! found again from that name alone, so that `up` repairs what is missing and `down` removes what is left,
//! whatever happened to the run that started it.

// A command-line tool: its standard output is its user interface.
#![allow(clippy::print_stdout)]

mod addresses;
mod audit;
mod build;
mod certificates;
mod cgroups;
mod cluster;
mod command;
mod control_plane;
mod hash;
mod images;
mod install;
mod kubeconfig;
mod network;
mod node;
mod process;
mod progress;
mod startup;
mod teardown;
mod token_review;
mod volumes;

pub use self::cluster::{Cluster, Shape};
pub use self::install::{Installation, install, undo_install};
pub use self::progress::Progress;

/// Starts a cluster, or what is missing of it.
pub mod lifecycle {
    pub use crate::build::{Binaries, build, build_kubernetes, build_nats, build_pebble};
    pub use crate::images::{Images, prepare as prepare_images, prepare_program};
    pub use crate::startup::up;
    pub use crate::teardown::down;
}

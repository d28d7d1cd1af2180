//! The gateway as a process, with real clients, backends and a collector, and without a cluster.

#![allow(clippy::unwrap_used)]

mod answers;
mod backend_tls;
mod challenges;
mod client_certificates;
mod filters;
mod gateways;
mod hostile;
mod pools;
mod ports;
mod protocols;
mod script;
mod support;
mod tls;
mod traces;
mod ways;

//! The gateway: HTTP from clients to tenants' Containers, over an immutable snapshot of routes.
//!
//! Two watches of the Kubernetes API (Routes, EndpointSlices) feed [`inputs`]; what they hold is compiled into a
//! [`snapshot`] that the proxy threads read without a lock. Each proxy thread has a runtime, a listener and
//! a connection pool of its own, so that a request never crosses threads.

mod access_log;
mod admission;
mod ahead;
mod attempt;
mod authorities;
mod balance;
mod bridge;
mod by_name;
mod challenges;
mod client;
mod clients;
mod compilation;
mod compress;
mod datagrams;
mod direct;
mod endpoints;
mod entry;
mod filter;
mod gateway_api;
mod head;
mod hello;
mod inputs;
mod listener;
mod metrics;
mod mirror;
mod named;
mod options;
mod passthrough;
mod persist;
mod platform;
mod pool;
mod proxy;
mod proxy_protocol;
mod rate;
mod refusal;
mod request;
mod secrets;
mod secured;
mod server;
mod snapshot;
mod stream;
mod tls;
mod tls_stream;
mod trace;
mod trust;
mod watch;

pub use self::options::GatewayOptions;
pub use self::server::{GatewayError, run};

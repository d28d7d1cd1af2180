//! The REST API: every kind's objects over HTTP, for whoever shows a token.
//!
//! What is read comes from a copy of all objects in memory that a watch of the Kubernetes API keeps up to date (`board`, pure; `follow`
//! feeds it): lists, single objects, and streams of changes. What is written goes to the Kubernetes API as the tenant whose it is, so that
//! RBAC is a second lock after `authz`. Nothing is written but custom resources.

mod access;
mod asked;
mod board;
mod body;
mod component;
mod condition;
mod delegation;
mod follow;
mod idempotency;
mod item;
mod kinds;
mod kubernetes_audit;
mod manifest;
mod metrics;
mod openapi;
mod origin;
mod per_user;
mod problem;
mod read;
mod router;
mod secret;
mod selector;
mod stream;
#[cfg(test)]
mod testing;
mod token_review;
mod upstream;
mod write;

pub use self::component::{ApiError, ApiOptions, run};

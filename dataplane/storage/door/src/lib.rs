//! Objects over HTTP.
//!
//! [`serve`] takes connections, [`Door`] is what they reach: [`rest`] is the API of files, over [`eddy_object::Objects`];
//! [`http`](mod@http) has what RFC 9110 says of conditions, ranges and tags (pure).

mod access;
mod door;
mod error;
pub mod http;
mod rest;
mod server;

pub use self::door::Door;
pub use self::error::Problem;
pub use self::server::{ServeOptions, serve};

//! Objects over HTTP.
//!
//! [`serve`] takes connections, [`Door`] is what they reach, over [`eddy_object::Objects`]: [`rest`] is the API of files, [`s3`]
//! that of S3;
//! [`http`](mod@http) has what RFC 9110 says of conditions, ranges and tags (pure).

mod access;
mod arriving;
mod door;
mod error;
mod front;
pub mod http;
mod metrics;
mod noted;
mod patience;
mod rest;
mod s3;
mod server;
mod transfer;
mod upload_id;
mod watched;

pub use self::door::Door;
pub use self::error::Problem;
pub use self::metrics::DoorMetrics;
pub use self::server::{ServeOptions, serve};

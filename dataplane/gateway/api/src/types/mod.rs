//! The kinds of the Gateway API v1.6, as far as they are done here: what else there is in objects is not read.

mod backend_tls_policy;
mod gateway;
mod grant;
mod grpc_route;
mod http_route;
mod listener_set;
mod meta;
mod stream_route;

pub use self::backend_tls_policy::*;
pub use self::gateway::*;
pub use self::grant::*;
pub use self::grpc_route::*;
pub use self::http_route::*;
pub use self::listener_set::*;
pub use self::meta::*;
pub use self::stream_route::*;

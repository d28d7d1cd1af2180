//! Who there is and what they may, published to every process of the platform.
//!
//! Each object that users write says something of permissions (`fact`, pure); all of them together make the entries of the permission store,
//! user by user (`world`, pure). [`Publisher`] puts what changed into the bucket that every process follows, and a sign of life. [`run`] is the process, of which
//! one replica publishes.

mod component;
mod election;
mod fact;
mod metrics;
mod outage;
mod publish;
mod world;

pub use self::component::{IdentityError, IdentityOptions, run};
pub use self::publish::{PublishError, Publisher};

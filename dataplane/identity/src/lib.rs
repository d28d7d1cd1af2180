//! Who there is and what they may, published to every process of the platform.
//!
//! Each object that users write says something of permissions (`fact`, pure); all of them together make the entries of the permission store,
//! user by user (`world`, pure), and so does who has signed in (`signed_in`). [`Publisher`] puts what changed into the bucket that every process follows,
//! and a sign of life. [`run`] is the process, of which one replica publishes, and all let people sign in (`people`).

mod component;
mod election;
mod fact;
mod invite;
mod metrics;
mod outage;
mod people;
mod publish;
mod signed_in;
mod used;
mod world;

pub use self::component::{IdentityError, IdentityOptions, run};
pub use self::invite::{InviteOptions, invite};
pub use self::publish::{PublishError, Publisher};

//! People: how they sign in, and how long that holds.
//!
//! What is kept of them are rows of the platform's store (`people`, `invitations`, `devices`): hashes of passwords, of recovery codes and
//! of the secrets that sessions are shown by, all of them sealed with identity's own key (`sealed`). Who has signed in is told to every
//! process as the permissions of tokens are ([`Sessions`]); a session is no Token, and a step on the way to one is never a session.

mod account;
mod attempts;
mod devices;
mod http;
mod invitations;
mod links;
mod owners;
mod passkeys;
mod password;
mod people;
mod rows;
mod sealed;
mod secret;
mod session;
mod sessions;
mod sweep;
#[cfg(test)]
mod testing;

pub use self::http::{SignIn, SignInError, SignInOptions};
pub use self::invitations::invite_link;
pub use self::people::People;
pub use self::rows::PeopleError;
pub use self::sealed::SealingKey;
pub use self::sessions::{Sessions, SignedIn};

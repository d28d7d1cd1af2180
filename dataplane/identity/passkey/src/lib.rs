//! Signing in by passkeys: the relying party of [Web Authentication](https://www.w3.org/TR/webauthn-3/), over `webauthn_rp`.
//!
//! Passkeys are found by their authenticators (discoverable) and unlocked there by whoever holds them (user verification), so that one is
//! enough to sign in: nobody types a name. What begins is a [`Ceremony`], which whoever asked for it keeps until it is answered.

mod ceremony;
mod error;
mod passkey;
mod site;

pub use self::ceremony::{Begun, Ceremony};
pub use self::error::PasskeyError;
pub use self::passkey::{Passkey, Shown};
pub use self::site::Site;

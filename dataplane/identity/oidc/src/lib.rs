//! Signing in by another provider: the part of OpenID Connect that relies on it (OpenID Connect Core 1.0).
//!
//! Only the authorization code flow, with PKCE (RFC 7636), a nonce, and the `iss` of RFC 9207 where a provider says it. Who is known, and
//! what becomes of them, is for others to say.

mod claims;
mod fetch;
mod known;
mod options;
mod provider;

pub use self::options::{OptionsError, ProviderOptions};
pub use self::provider::{Answer, Begun, OidcError, Pending, Person, Provider};

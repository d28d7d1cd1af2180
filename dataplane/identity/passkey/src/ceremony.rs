//! What is kept between a question to an authenticator and its answer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::passkey::base64_bytes;

/// What was asked, for whoever looks at the answer: a challenge, when it ends, and what it asked for. Who can change it can sign in as
/// anybody whose passkey answered them once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ceremony {
    /// A new passkey.
    #[serde(with = "base64_bytes")]
    Registration(Vec<u8>),
    /// One that there is.
    #[serde(with = "base64_bytes")]
    SignIn(Vec<u8>),
}

/// A question to an authenticator.
#[derive(Clone, Debug)]
pub struct Begun {
    /// What is kept until it answers.
    pub ceremony: Ceremony,
    /// What the browser is to ask it: `PublicKeyCredentialCreationOptionsJSON`, or `PublicKeyCredentialRequestOptionsJSON`.
    pub options: Value,
}

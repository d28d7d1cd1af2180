//! Why a passkey is not taken.

/// Why a passkey is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyError {
    /// A name cannot be shown by authenticators.
    #[error("{0:?} is no name that an authenticator can show")]
    Name(String),
    /// Nothing could begin.
    #[error("failed to begin: {0}")]
    Begin(String),
    /// What a browser sent has another form.
    #[error("this is no answer of a browser to what it was asked (RegistrationResponseJSON, AuthenticationResponseJSON): {0}")]
    Form(String),
    /// What was begun is not ours, or of another kind.
    #[error("this answers something else than what was begun")]
    Ceremony,
    /// What is kept of a passkey cannot be read.
    #[error("what is kept of the passkey is not as this version writes it")]
    Kept,
    /// It answers something else, or too late, or for another site, or its signature is wrong.
    #[error("the passkey does not answer what was asked: {0}")]
    Refused(String),
}

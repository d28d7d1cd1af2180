//! By what a process knows who asks: tokens, as identity says, and access keys of a folder.

use std::sync::Arc;

use crate::credential::{Credential, Secret};
use crate::feed::Feed;
use crate::keys::Keys;
use crate::permissions::Refused;
use crate::principal::Principal;
use crate::signing::SigningKey;
use crate::token;

/// By what a process knows who asks. Clones know the same.
#[derive(Clone, Default)]
pub struct Authenticator {
    keys: Keys,
    tokens: Option<Arc<Tokens>>,
}

struct Tokens {
    feed: Feed,
    signing: Option<SigningKey>,
}

/// A key that something can be signed with, and whose it is.
#[derive(Clone, Debug)]
pub struct Signer {
    /// Which key.
    pub id: String,
    /// What it signs with.
    pub secret: Secret,
    /// Whose it is.
    pub principal: Principal,
}

impl Authenticator {
    /// By access keys alone.
    pub fn of_keys(keys: Keys) -> Self {
        Self { keys, tokens: None }
    }

    /// By tokens, too; with a key to derive access keys with, they are such as well.
    #[must_use]
    pub fn with_tokens(self, feed: Feed, signing: Option<SigningKey>) -> Self {
        Self { tokens: Some(Arc::new(Tokens { feed, signing })), ..self }
    }

    /// Resolves once tokens can be known, if they ever are.
    pub async fn filled_soon(&self) {
        if let Some(tokens) = &self.tokens {
            tokens.feed.filled_soon().await;
        }
    }

    /// Who shows an `Authorization` header: `Bearer` with a token or an access key (RFC 6750), or `Basic` (RFC 7617) with an access key,
    /// or with a token as the password of whatever name.
    ///
    /// # Errors
    /// See [`Refused`]. What has no form that is known is unknown.
    pub fn of_header(&self, value: &[u8]) -> Result<Principal, Refused> {
        let (token, credential) = Credential::of_header(value).ok_or(Refused::Unknown)?.into_token();
        match (token, &self.tokens) {
            (Some(token), Some(tokens)) => tokens.feed.authenticate(&token),
            _ => {
                let known = self.signer(&credential.id)?.shown(&credential)?;
                self.used(&known);
                Ok(known.principal)
            }
        }
    }

    /// Who signed a request with the key of this id, whose signature was found right.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn signed(&self, id: &str) -> Result<Principal, Refused> {
        let known = self.signer(id)?;
        self.used(&known);
        Ok(known.principal)
    }

    fn used(&self, known: &Signer) {
        if let Some(tokens) = self.tokens.as_ref().filter(|_| known.principal.token().is_some()) {
            tokens.feed.used(&known.id);
        }
    }

    /// The key of an `Authorization` header, to sign with: what a token signs with is not the token.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn signer_of_header(&self, value: &[u8]) -> Result<Signer, Refused> {
        let (token, credential) = Credential::of_header(value).ok_or(Refused::Unknown)?.into_token();
        let known = self.signer(&credential.id)?;
        match (token, &self.tokens) {
            (Some(token), Some(tokens)) => tokens.feed.authenticate(&token).map(|_| known),
            _ => known.shown(&credential),
        }
    }

    /// The key of this id, to check a signature with.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn signer(&self, id: &str) -> Result<Signer, Refused> {
        // An access key of a folder may have an id as tokens have them.
        if let Some((secret, principal)) = self.keys.secret(id) {
            return Ok(Signer { id: id.to_owned(), secret, principal });
        }
        let tokens = self.tokens.as_ref().filter(|_| token::is_id(id)).ok_or(Refused::Unknown)?;
        let (hash, principal) = tokens.feed.signer(id)?;
        let key = tokens.signing.as_ref().ok_or(Refused::Unknown)?;
        Ok(Signer { id: id.to_owned(), secret: key.secret_of(id, &hash), principal })
    }

    /// Whether somebody is a user.
    pub fn is_user(&self, name: &str) -> bool {
        self.keys.is_user(name) || self.tokens.as_ref().is_some_and(|tokens| tokens.feed.permissions().is_user(name))
    }
}

impl Signer {
    /// This, for whoever shows its secret.
    fn shown(self, credential: &Credential) -> Result<Self, Refused> {
        if self.secret.is(&credential.secret) { Ok(self) } else { Err(Refused::Unknown) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::Token;
    use crate::permissions::{Entry, Permissions, TokenEntry, UserEntry, token_key, user_key};

    fn known() -> (Authenticator, Token, SigningKey) {
        let permissions = Permissions::default();
        let token = Token::draw().unwrap();
        let entry =
            TokenEntry { user: "ada".into(), name: "t".into(), account: None, scopes: None, hash: token.hash(), expires_s: None };
        for (key, entry) in [(user_key("ada"), Entry::User(UserEntry::default())), (token_key(token.id()), Entry::Token(entry))] {
            permissions.set(&key, Some(&entry.to_bytes().unwrap()));
        }
        let signing = SigningKey::new(&[3; 32]).unwrap();
        let keys = Keys::single("bob", "bob-key", "0123456789abcdef");
        let authenticator = Authenticator::of_keys(keys).with_tokens(Feed::fixed(permissions), Some(signing.clone()));
        (authenticator, token, signing)
    }

    #[test]
    fn an_access_key_of_a_folder_may_look_like_a_tokens() {
        let keys = Keys::single("bob", "0123456789abcdef", "fedcba9876543210");
        let authenticator = Authenticator::of_keys(keys).with_tokens(Feed::fixed(Permissions::default()), None);
        assert_eq!(authenticator.signer("0123456789abcdef").unwrap().principal.user(), "bob");
        assert_eq!(authenticator.signer("0123456789abcdeg").unwrap_err(), Refused::Unknown);
    }

    fn basic(name: &str, password: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
    }

    #[test]
    fn tokens_and_access_keys_are_known_in_every_way_that_they_are_shown() {
        let (authenticator, token, signing) = known();
        let user = |header: &str| authenticator.of_header(header.as_bytes()).map(|who| who.user().to_owned());
        let secret = signing.secret_of(token.id(), &token.hash());
        assert_eq!(user(&format!("Bearer {}", token.expose())).as_deref(), Ok("ada"));
        assert_eq!(user(&basic("anything", token.expose())).as_deref(), Ok("ada"));
        assert_eq!(user(&basic(token.id(), secret.expose())).as_deref(), Ok("ada"));
        assert_eq!(user("Bearer eddy_bob-key_0123456789abcdef").as_deref(), Ok("bob"));
        assert_eq!(user(&basic("bob-key", "0123456789abcdef")).as_deref(), Ok("bob"));
        let other = Token::draw().unwrap();
        for header in [
            format!("Bearer {}", other.expose()),
            format!("Bearer {}x", token.expose()),
            format!("Bearer {}", &token.expose()[..60]),
            // What signs is no token, and a hash is neither.
            format!("Bearer {}", secret.expose()),
            format!("Bearer eddy_{}_{}", token.id(), token.hash()),
            basic(token.id(), &token.hash().to_string()),
            basic(token.id(), ""),
            "Bearer".to_owned(),
        ] {
            assert_eq!(user(&header), Err(Refused::Unknown), "{header}");
        }
    }

    #[test]
    fn what_a_token_signs_with_is_not_the_token() {
        let (authenticator, token, signing) = known();
        let signer = authenticator.signer_of_header(format!("Bearer {}", token.expose()).as_bytes()).unwrap();
        assert_eq!((signer.id.as_str(), signer.principal.user()), (token.id(), "ada"));
        assert!(signer.secret.is(&signing.secret_of(token.id(), &token.hash())) && signer.secret.expose() != token.expose());
        assert!(authenticator.signer("bob-key").is_ok() && authenticator.is_user("ada") && authenticator.is_user("bob"));
        assert!(authenticator.signer("0123456789abcdef").is_err() && !authenticator.is_user("eve"));
    }
}

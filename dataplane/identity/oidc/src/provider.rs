//! One provider: where people are sent, and who they are when they come back.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use eddy_telemetry::error_chain;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClientAuthMethod, CoreErrorResponseType, CoreGenderClaim,
    CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreRevocableToken,
    CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessTokenHash, AuthType, AuthorizationCode, ClaimsVerificationError, Client, ClientId, ClientSecret, CsrfToken,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, IdTokenFields, IdTokenVerifier, IssuerUrl, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, SignatureVerificationError,
    StandardErrorResponse, StandardTokenResponse, TokenResponse, UserInfoClaims,
};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::claims::Claims;
use crate::fetch::Fetch;
use crate::known::{Known, Need};
use crate::options::{OptionsError, Places, ProviderOptions};

/// All that a provider is asked about somebody takes no longer.
const WITHIN: Duration = Duration::from_secs(12);
/// More people come back from no provider at once.
const AT_ONCE_MAX: usize = 64;
/// Clocks differ by this much.
const SKEW: TimeDelta = TimeDelta::seconds(60);
/// A token that was issued longer ago is of another time that somebody signed in.
const ISSUED_WITHIN: TimeDelta = TimeDelta::minutes(10);
/// What tokens may be signed by: nothing that this platform could sign by itself, as with a secret that both know.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

type Fields =
    IdTokenFields<Claims, EmptyExtraTokenFields, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type Tokens = StandardTokenResponse<Fields, CoreTokenType>;
type OurClient = Client<
    Claims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Why somebody did not sign in by a provider.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// It does not answer, or not as a provider does.
    #[error("the provider cannot be asked now: {0}")]
    Unreachable(String),
    /// The secret of this platform there cannot be read.
    #[error("failed to read the client's secret")]
    Secret(#[source] std::io::Error),
    /// What this platform or the provider is called makes no URL.
    #[error("no URL can be made: {0}")]
    Url(String),
    /// It does not take the code: it was used, or is old, or is of somebody else.
    #[error("the provider does not take the code: {0}")]
    Code(String),
    /// It answered something else than was asked.
    #[error("the answer is not to what was asked")]
    NotAsked,
    /// Whoever signed in, or the provider, did not want it.
    #[error("the provider refused: {0}")]
    Refused(String),
    /// What it says of somebody is not said by it, or not of now, or not to this platform.
    #[error("what the provider says of somebody does not count: {0}")]
    Token(String),
}

/// Somebody who was sent to a provider, as whoever sent them keeps it, where only they have it and nobody can change it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    state: String,
    nonce: String,
    verifier: String,
    /// They are to show there who they are, whether it knows them from before or not.
    anew: bool,
}

impl Pending {
    /// What tells this time from all others.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.state
    }
}

/// Somebody who is to be sent to a provider.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Where to.
    pub url: String,
    /// What is to be kept of it.
    pub pending: Pending,
}

/// What somebody comes back with, in the query of a URL.
#[derive(Clone, Default, Deserialize)]
pub struct Answer {
    code: Option<String>,
    state: Option<String>,
    /// RFC 9207.
    iss: Option<String>,
    error: Option<String>,
}

/// Somebody, as a provider knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Whose word it is.
    pub issuer: String,
    /// Who they are there, for ever.
    pub subject: String,
    /// Whether they are in a group whose members are administrators.
    pub is_admin: bool,
    /// They showed there who they are since they were sent there, as was asked for.
    pub anew: bool,
}

/// A provider.
#[derive(Debug)]
pub struct Provider {
    options: ProviderOptions,
    issuer: IssuerUrl,
    fetch: Fetch,
    known: Known,
    /// Those who are asked about at once.
    turns: Semaphore,
}

impl Provider {
    /// A provider. It is asked when somebody signs in by it, and not before.
    ///
    /// # Errors
    /// See [`OptionsError`].
    pub fn new(options: ProviderOptions) -> Result<Self, OptionsError> {
        let wrong = |why| OptionsError::Wrong { name: options.name.clone(), why };
        options.check().map_err(wrong)?;
        let issuer = IssuerUrl::new(options.issuer.clone()).map_err(|_| wrong("issuer is no URL"))?;
        let fetch = Fetch::new(&options, Places::of(issuer.url()))?;
        Ok(Self { fetch, issuer, options, known: Known::default(), turns: Semaphore::new(AT_ONCE_MAX) })
    }

    /// How it is set up.
    #[must_use]
    pub fn options(&self) -> &ProviderOptions {
        &self.options
    }

    /// Where somebody is to be sent, who comes back to `redirect`. With `anew`, the provider is to have them show who they are, even if it
    /// knows them from before.
    ///
    /// # Errors
    /// That the provider does not say where.
    pub async fn begin(&self, redirect: &str, anew: bool) -> Result<Begun, OidcError> {
        let metadata = within(self.known.get(&self.issuer, &self.fetch, Need::Any)).await?;
        // Browsers are sent there, and pages send themselves.
        if !Places::of(self.issuer.url()).have(metadata.authorization_endpoint().url()) {
            return Err(OidcError::Unreachable("where it says to sign in is no https:// URL".into()));
        }
        let client = self.client(&metadata, redirect, None)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let request = client.authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random);
        let scopes = self.options.scopes.iter().filter(|scope| *scope != "openid").cloned().map(Scope::new);
        let request = request.add_scopes(scopes).set_pkce_challenge(challenge);
        let (url, state, nonce) = if anew { request.set_max_age(Duration::ZERO).url() } else { request.url() };
        let (state, nonce, verifier) = (state.secret().clone(), nonce.secret().clone(), verifier.secret().clone());
        let pending = Pending { state, nonce, verifier, anew };
        Ok(Begun { url: url.into(), pending })
    }

    /// Who comes back to `redirect` with this answer, as it was begun.
    ///
    /// # Errors
    /// See [`OidcError`].
    pub async fn finish(&self, redirect: &str, pending: &Pending, answer: Answer) -> Result<Person, OidcError> {
        let state = answer.state.unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(pending.state.as_bytes())) {
            return Err(OidcError::NotAsked);
        }
        // Another provider's answer, by which that would learn a code of this one's.
        if answer.iss.is_some_and(|said| said != self.options.issuer) {
            return Err(OidcError::NotAsked);
        }
        if let Some(error) = answer.error {
            return Err(OidcError::Refused(error_word(&error)));
        }
        let code = AuthorizationCode::new(answer.code.ok_or(OidcError::NotAsked)?);
        let _turn = self.turns.try_acquire().map_err(|_| OidcError::Unreachable("too many come back from it at once".into()))?;
        within(self.exchanged(redirect, pending, code)).await
    }

    /// Who a code speaks of.
    async fn exchanged(&self, redirect: &str, pending: &Pending, code: AuthorizationCode) -> Result<Person, OidcError> {
        let secret = self.secret().await?;
        let metadata = self.known.get(&self.issuer, &self.fetch, Need::Any).await?;
        let client = self.client(&metadata, redirect, secret.clone())?;
        let exchange = client.exchange_code(code).map_err(|error| OidcError::Unreachable(error.to_string()))?;
        let exchange = exchange.set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.clone()));
        let tokens = exchange.request_async(&self.fetch).await.map_err(|error| match error {
            RequestTokenError::ServerResponse(said) => OidcError::Code(error_word(said.error().as_ref())),
            RequestTokenError::Request(error) => OidcError::Unreachable(error_chain(&error)),
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                OidcError::Unreachable("it answered something else".into())
            }
        })?;
        match self.said(&client, &tokens, pending).await {
            Err(Said::NoKey) => {
                // It may sign with another since.
                let metadata = self.known.get(&self.issuer, &self.fetch, Need::Key).await?;
                let client = self.client(&metadata, redirect, secret)?;
                self.said(&client, &tokens, pending).await
            }
            said => said,
        }
        .map_err(|said| match said {
            Said::NoKey => OidcError::Token("it is signed with a key that is not the provider's".into()),
            Said::Not(error) => error,
        })
    }

    /// Whom these tokens speak of.
    async fn said(&self, client: &OurClient, tokens: &Tokens, pending: &Pending) -> Result<Person, Said> {
        let token = |why: &str| Said::Not(OidcError::Token(why.to_owned()));
        let id_token = tokens.id_token().ok_or_else(|| token("there is no ID token"))?;
        let verifier = verifier(client);
        let claims = id_token.claims(&verifier, &Nonce::new(pending.nonce.clone())).map_err(Said::from)?;
        if claims.authorized_party().is_some_and(|party| party.as_str() != self.options.client_id) {
            return Err(token("it is for another client (azp)"));
        }
        if let Some(expected) = claims.access_token_hash() {
            let algorithm = id_token.signing_alg().map_err(|error| token(&error.to_string()))?;
            let key = id_token.signing_key(&verifier).map_err(|error| token(&error.to_string()))?;
            let hash = AccessTokenHash::from_token(tokens.access_token(), algorithm, key);
            if hash.map_err(|error| token(&error.to_string()))? != *expected {
                return Err(token("the access token is another's (at_hash)"));
            }
        }
        let subject = claims.subject().as_str();
        if subject.is_empty() || subject.len() > 255 {
            return Err(token("it has no subject of 1 to 255 letters"));
        }
        if pending.anew && claims.auth_time().is_none_or(|shown| Utc::now() - shown > ISSUED_WITHIN + SKEW) {
            return Err(token("it does not say that they have just shown who they are (auth_time)"));
        }
        let mut groups = Vec::new();
        if !self.options.admin_groups.is_empty() {
            let said = claims.additional_claims().groups(&self.options.groups_claim);
            groups = match said {
                Some(groups) => groups,
                None => self.groups_elsewhere(client, tokens, claims.subject()).await?,
            };
        }
        Ok(Person {
            issuer: self.options.issuer.clone(),
            subject: subject.to_owned(),
            is_admin: groups.iter().any(|group| self.options.admin_groups.contains(group)),
            anew: pending.anew,
        })
    }

    /// Groups, where the provider says them only when it is asked for them (OpenID Connect Core 1.0, 5.3).
    async fn groups_elsewhere(
        &self,
        client: &OurClient,
        tokens: &Tokens,
        subject: &openidconnect::SubjectIdentifier,
    ) -> Result<Vec<String>, Said> {
        let Ok(request) = client.user_info(tokens.access_token().clone(), Some(subject.clone())) else { return Ok(Vec::new()) };
        let said: Result<UserInfoClaims<Claims, CoreGenderClaim>, _> = request.request_async(&self.fetch).await;
        match said {
            Ok(said) => Ok(said.additional_claims().groups(&self.options.groups_claim).unwrap_or_default()),
            Err(error) => {
                let why = OidcError::Unreachable(format!("it does not say who is in which group: {}", error_chain(&error)));
                Err(Said::Not(why))
            }
        }
    }

    fn client(
        &self,
        metadata: &CoreProviderMetadata,
        redirect: &str,
        secret: Option<ClientSecret>,
    ) -> Result<OurClient, OidcError> {
        let redirect = RedirectUrl::new(redirect.to_owned()).map_err(|error| OidcError::Url(error.to_string()))?;
        let client_id = ClientId::new(self.options.client_id.clone());
        let client = Client::from_provider_metadata(metadata.clone(), client_id, secret).set_redirect_uri(redirect);
        // Basic is what a provider takes that does not say.
        let taken = metadata.token_endpoint_auth_methods_supported();
        let basic = taken.is_none_or(|taken| taken.contains(&CoreClientAuthMethod::ClientSecretBasic));
        Ok(client.set_auth_type(if basic { AuthType::BasicAuth } else { AuthType::RequestBody }))
    }

    /// The secret of this platform there, if it has one.
    async fn secret(&self) -> Result<Option<ClientSecret>, OidcError> {
        let Some(file) = &self.options.client_secret_file else { return Ok(None) };
        let read = tokio::fs::read_to_string(file).await.map_err(OidcError::Secret)?;
        Ok(Some(ClientSecret::new(read.trim().to_owned())))
    }
}

/// Why tokens say nothing.
enum Said {
    /// What they are signed with was not known.
    NoKey,
    Not(OidcError),
}

impl From<ClaimsVerificationError> for Said {
    fn from(error: ClaimsVerificationError) -> Self {
        match error {
            ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey) => Self::NoKey,
            error => Self::Not(OidcError::Token(error_chain(&error))),
        }
    }
}

/// What a token must be: of this provider, to this client, signed with its key, of now as clocks go.
fn verifier(client: &OurClient) -> IdTokenVerifier<'_, CoreJsonWebKey> {
    let is_of_now = |issued: DateTime<Utc>| {
        let age = Utc::now() - issued;
        if age < -SKEW || age > ISSUED_WITHIN { Err(format!("it was issued at {issued}")) } else { Ok(()) }
    };
    client
        .id_token_verifier()
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(|| Utc::now() - SKEW)
        .set_issue_time_verifier_fn(is_of_now)
}

/// Does it in time.
async fn within<T>(work: impl Future<Output = Result<T, OidcError>>) -> Result<T, OidcError> {
    let late = |_| OidcError::Unreachable(format!("it took longer than {} s", WITHIN.as_secs()));
    tokio::time::timeout(WITHIN, work).await.map_err(late)?
}

/// What a provider calls an error (RFC 6749, 5.2), and nothing that it could be made to say besides.
fn error_word(said: &str) -> String {
    said.chars().filter(|letter| letter.is_ascii_alphanumeric() || "_-.".contains(*letter)).take(64).collect()
}

//! Signing in over HTTP: JSON, and problems as RFC 9457 has them.

mod arrival;
mod audited;
mod devices;
mod going;
mod invitations;
mod page;
mod pages;
mod passkeys;
mod passwords;
mod providers;
mod recovery;
mod sessions;
mod signed;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use eddy_audit::{Recorder, Trail};
use eddy_authz::UserEntry;
use eddy_authz::feed::{Feed, Standing};
use eddy_http::{Problem, finished};
use eddy_oidc::{OptionsError, Provider, ProviderOptions};
use eddy_passkey::Site;
use eddy_telemetry::error_chain;
use http::StatusCode;
use jiff::Timestamp;

use crate::attempts::Attempts;
use crate::password::{PasswordError, Passwords};
use crate::people::{People, UserRef};
use crate::rows::PeopleError;

/// Longer bodies are nobody's.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// A request is answered within this.
const WITHIN: Duration = Duration::from_secs(20);
/// Every process has heard within this of what identity knows, also while a connection to NATS is lost, which is noticed after 3 s, and made anew.
const HEARD_WITHIN: Duration = Duration::from_secs(6);
/// What was told may have been lost with a connection: it is told again.
const TOLD_EVERY: Duration = Duration::from_millis(500);
const DAY_S: i64 = 24 * 3600;

/// How long things hold.
#[derive(clap::Args, Clone, Debug)]
pub struct SignInOptions {
    /// Days that somebody who signs in with a browser stays so
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(i64).range(1..=365))]
    session_days: i64,

    /// Days that a program stays let in, as the CLI is
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(i64).range(1..=3650))]
    device_days: i64,

    /// Hours that an invitation is good
    #[arg(long, default_value_t = 72, value_parser = clap::value_parser!(i64).range(1..=8760))]
    invitation_hours: i64,

    /// The name of this platform to browsers, as in https://cloud.example.com: where links lead
    #[arg(long, env = "EDDY_PLATFORM_URL", default_value = "")]
    platform_url: String,

    /// A file of JSON with the providers that people may sign in by (OpenID Connect)
    #[arg(long, env = "EDDY_PROVIDERS_FILE")]
    providers_file: Option<PathBuf>,

    /// Hours that somebody stays an administrator who is one since a provider says so
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(i64).range(1..=720))]
    provider_admin_hours: i64,
}

impl SignInOptions {
    fn providers(&self) -> Result<Vec<Arc<Provider>>, SignInError> {
        let Some(file) = &self.providers_file else { return Ok(Vec::new()) };
        let all = ProviderOptions::read(file)?;
        if !all.is_empty() && !self.platform_url.starts_with("http") {
            return Err(SignInError::NoPlatformUrl);
        }
        all.into_iter().map(|options| Ok(Arc::new(Provider::new(options)?))).collect()
    }
}

/// Why nobody can sign in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Passwords cannot be hashed.
    #[error("failed to prepare for passwords: {0}")]
    Passwords(String),
    /// Providers cannot be used.
    #[error(transparent)]
    Providers(#[from] OptionsError),
    /// Nobody knows where people are to come back to.
    #[error("people come back from providers to the platform's URL, which is not given: say --platform-url https://…")]
    NoPlatformUrl,
}

/// Tells others that a session of this id has begun, or ended.
type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// What requests reach. Clones reach the same.
#[derive(Clone)]
pub struct SignIn(Arc<Shared>);

struct Shared {
    people: People,
    feed: Feed,
    passwords: Passwords,
    attempts: Attempts,
    providers: Vec<Arc<Provider>>,
    /// What passkeys are for.
    site: Option<Site>,
    tell: Tell,
    recorder: Recorder,
    trail: Option<Trail>,
    options: SignInOptions,
}

impl SignIn {
    /// Who signs in is found among `people` and the users of `feed`; `tell` is called with the id of each session that begins or ends.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub fn new(
        people: People,
        feed: Feed,
        options: SignInOptions,
        (recorder, trail): (Recorder, Option<Trail>),
        tell: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, SignInError> {
        let passwords = Passwords::new().map_err(|error| SignInError::Passwords(error.to_string()))?;
        Ok(Self(Arc::new(Shared {
            people,
            feed,
            passwords,
            attempts: Attempts::new(),
            providers: options.providers()?,
            site: Site::of(&options.platform_url),
            recorder,
            trail,
            tell: Arc::new(tell),
            options,
        })))
    }

    /// All paths.
    pub fn router(self) -> Router {
        Router::new()
            .route("/auth/v1/password", post(passwords::sign_in).put(passwords::change).delete(passwords::remove))
            .route("/auth/v1/recovery", post(recovery::sign_in))
            .route("/auth/v1/recovery-codes", get(recovery::count).post(recovery::draw))
            .route("/auth/v1/invitation", get(invitations::shown).post(invitations::accept))
            .route("/auth/v1/invitation/provider", post(providers::invited))
            .route("/auth/v1/providers", get(providers::list))
            .route("/auth/v1/providers/{name}", get(providers::begin))
            .route("/auth/v1/providers/{name}/callback", get(providers::callback))
            .route("/auth/v1/links", get(providers::links).post(providers::link))
            .route("/auth/v1/links/{id}", delete(providers::unlink))
            .route("/auth/v1/passkey", post(passkeys::sign_in))
            .route("/auth/v1/passkey/options", post(passkeys::begin_sign_in))
            .route("/auth/v1/passkeys", get(passkeys::list).post(passkeys::add))
            .route("/auth/v1/passkeys/options", post(passkeys::begin))
            .route("/auth/v1/passkeys/{id}", patch(passkeys::rename).delete(passkeys::forget))
            .route("/auth/v1/invitation/passkey", post(passkeys::accept))
            .route("/auth/v1/invitation/passkey/options", post(passkeys::invited))
            .route("/auth/v1/session", get(sessions::own).delete(sessions::sign_out))
            .route("/auth/v1/sessions", get(sessions::list).delete(sessions::end_others))
            .route("/auth/v1/sessions/{id}", delete(sessions::end))
            .route("/auth/v1/device", post(devices::begin))
            .route("/auth/v1/device/token", post(devices::ask))
            .route("/auth/v1/device/{code}", get(devices::shown).post(devices::decide))
            .route("/auth/v1/users/{user}/invitation", post(invitations::invite))
            .route("/auth/v1/users/{user}/sessions", get(sessions::list_of).delete(sessions::end_all_of))
            .route("/auth/v1/users/{user}/sessions/{id}", delete(sessions::end_of))
            .route("/auth/v1/audit", get(audited::list))
            .route("/auth", get(pages::page))
            .route("/auth/account", get(pages::page))
            .route("/auth/sign-in", get(pages::page))
            .route("/auth/invitation", get(pages::page))
            .route("/auth/device", get(pages::page))
            .route("/auth/pages/{file}", get(pages::file))
            .fallback(async || Problem::not_found("such path"))
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "this path takes no such method")
            })
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(from_fn(in_time))
            .with_state(self)
    }

    /// Seconds that a session of a browser goes on.
    fn session_s(&self) -> i64 {
        self.0.options.session_days * DAY_S
    }

    fn people(&self) -> &People {
        &self.0.people
    }

    /// A user who may sign in now.
    ///
    /// # Errors
    /// That it is not known at the moment who may.
    fn user<'a>(&self, name: &'a str) -> Result<Option<(UserRef<'a>, UserEntry)>, Problem> {
        if self.0.feed.standing() != Standing::Fresh {
            return Err(Problem::stale(
                "identity has not been heard of for a while, so that nobody can sign in: try again later",
            ));
        }
        let user = self.0.feed.permissions().user(name).filter(|user| !user.suspended);
        Ok(user.map(|user| (UserRef { name, since_s: user.since_s }, user)))
    }

    /// Tells every process of sessions that began or ended, and waits until this one has heard of it; false if it did not in time.
    async fn told(&self, ids: &[String], begun: bool) -> bool {
        let is_known = |id: &String| self.0.feed.permissions().is_session(id) == begun;
        let deadline = Instant::now() + HEARD_WITHIN;
        while Instant::now() < deadline {
            ids.iter().for_each(|id| (self.0.tell)(id));
            if heard(TOLD_EVERY, || ids.iter().all(is_known)).await {
                return true;
            }
        }
        false
    }
}

/// Waits so long at most until something has been heard of; false if it was not.
async fn heard(within: Duration, is_known: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while !is_known() {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    true
}

fn now_s() -> i64 {
    Timestamp::now().as_second()
}

/// What went wrong inside is for whoever runs it.
fn failed(error: PeopleError) -> Problem {
    match error {
        error if error.is_conflict() => {
            Problem::new(StatusCode::CONFLICT, "Conflict", "others change the same at this moment: try again")
        }
        PeopleError::Contended => {
            Problem::new(StatusCode::CONFLICT, "Contended", "others change the same all the time: try again")
        }
        error => {
            tracing::warn!(error = error_chain(&error), "failed to read or write what is kept of people");
            Problem::unavailable("this cannot be done now: try again in a few seconds")
        }
    }
}

fn not_hashed(error: PasswordError) -> Problem {
    match error {
        PasswordError::Busy => Problem::unavailable("too many are signing in at once: try again in a few seconds"),
        PasswordError::Hash(_) => {
            tracing::error!(%error, "failed to hash a password");
            Problem::unavailable("this cannot be done now: try again in a few seconds")
        }
    }
}

/// Answers in time, and tells in our form what the library told in its own. What has begun is done to its end, and recorded, whether whoever
/// asked waits for it or not.
async fn in_time(request: Request, next: Next) -> Response {
    let work = finished(async move { Ok(next.run(request).await) });
    let Ok(response) = tokio::time::timeout(WITHIN, work).await else {
        return Problem::new(StatusCode::REQUEST_TIMEOUT, "Silence", format!("this took longer than {} s", WITHIN.as_secs()))
            .into_response();
    };
    let response = response.unwrap_or_else(IntoResponse::into_response);
    let is_plain = response.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !(response.status().is_client_error() && is_plain) {
        return response;
    }
    let status = response.status();
    let said = axum::body::to_bytes(response.into_body(), 4096).await.unwrap_or_default();
    Problem::new(status, "BadRequest", String::from_utf8_lossy(&said)).into_response()
}

#[cfg(test)]
mod tests;

//! Signing in by another provider (OpenID Connect): people are sent there, and come back.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{AppendHeaders, IntoResponse, Response};
use bytes::Bytes;
use eddy_audit::Outcome;
use eddy_authz::subject_digest;
use eddy_http::{NotShown, Problem};
use eddy_kv::Transaction;
use eddy_oidc::{Answer, OidcError, Person, Provider};
use eddy_telemetry::error_chain;
use http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::arrival::From;
use super::going::{self, Going, Purpose};
use super::page::failure;
use super::passwords::{Confirmed, too_many};
use super::signed::{Begun, Signed, begin_for, from_this_site};
use super::{SignIn, failed, now_s};
use crate::account::Account;
use crate::invitations::taken;
use crate::links::Link;
use crate::people::UserRef;
use crate::rows;
use crate::secret::Hidden;
use crate::session::{Provided, Session};

/// By whom one can sign in.
pub(super) async fn list(State(state): State<SignIn>) -> Json<Value> {
    let all = state.0.providers.iter().map(|provider| provider.options());
    Json(all.map(|one| json!({"name": one.name, "title": if one.title.is_empty() { &one.name } else { &one.title }})).collect())
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Where to go then: a path of this host.
    #[serde(default)]
    r#return: String,
    /// Whether the provider is to ask who they are, even if it knows them from before.
    #[serde(default)]
    again: bool,
}

/// Sends a browser to a provider, to sign in. A page of another site does not: it could sign its visitors in as whom they do not mean, all the
/// time.
pub(super) async fn begin(
    State(state): State<SignIn>,
    from: From,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    if headers.get("sec-fetch-site").is_some_and(|site| site != "none" && site != "same-origin") {
        return Err(NotShown::OfAnotherSite.into());
    }
    let (location, cookie) = state.send(&name, &from, &wanted.r#return, (Purpose::SignIn, wanted.again)).await?;
    Ok(elsewhere(&location, [cookie]))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Invited {
    invitation: Hidden,
    provider: String,
    #[serde(default)]
    r#return: String,
}

/// Takes an invitation without a password: whom the provider knows is from then on whom it was for.
pub(super) async fn invited(
    State(state): State<SignIn>,
    from: From,
    headers: HeaderMap,
    Json(Invited { invitation, provider, r#return }): Json<Invited>,
) -> Result<Response, Problem> {
    from_this_site(&headers)?;
    state.good_invitation(&invitation).await?;
    told(state.send(&provider, &from, &r#return, (Purpose::Invitation(invitation.to_string()), false)).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToLink {
    provider: String,
    #[serde(default)]
    r#return: String,
    #[serde(default)]
    current: Option<Hidden>,
}

/// Lets whom a provider knows sign in from then on as whoever has signed in now.
pub(super) async fn link(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Json(ToLink { provider, r#return, current }): Json<ToLink>,
) -> Result<Response, Problem> {
    state.confirm(&signed, &from, current).await?;
    told(state.send(&provider, &from, &r#return, (Purpose::Link(signed.session.id), false)).await?)
}

/// One's own links.
pub(super) async fn links(State(state): State<SignIn>, signed: Signed) -> Result<Json<Value>, Problem> {
    let account = state.people().account(signed.user()).await.map_err(failed)?;
    let links = account.links.iter();
    Ok(Json(
        links
            .map(|link| json!({"id": link.digest, "provider": link.provider, "since": super::signed::time(link.since_s)}))
            .collect(),
    ))
}

/// Forgets one.
pub(super) async fn unlink(
    State(state): State<SignIn>,
    signed: Signed,
    from: From,
    Path(id): Path<String>,
    Json(Confirmed { current }): Json<Confirmed>,
) -> Result<StatusCode, Problem> {
    state.confirm(&signed, &from, current).await?;
    let forgotten = state.people().unlink(signed.user(), &id).await.map_err(failed)?;
    state.forgot(&signed, &from, "link", forgotten, |session: &Session| session.is_of(&id)).await
}

/// Whoever comes back from a provider.
pub(super) async fn callback(
    State(state): State<SignIn>,
    from: From,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(answer): Query<Answer>,
) -> Response {
    match state.called_back(&from, &headers, &name, answer).await {
        Ok(response) => response,
        Err(problem) => (AppendHeaders([(SET_COOKIE, going::gone())]), failure(&headers, problem)).into_response(),
    }
}

impl SignIn {
    async fn called_back(&self, from: &From, headers: &HeaderMap, name: &str, answer: Answer) -> Result<Response, Problem> {
        let provider = self.provider(name)?;
        let kept = Going::of(headers, self.people(), name, now_s()).ok_or_else(not_asked)?;
        // One answer is looked at once, more or less: each time asks the provider, whoever comes with it.
        let wait = |wait| too_many(wait, "this answer was shown too often: sign in again");
        self.0.attempts.answer(kept.pending.state(), Instant::now()).map_err(wait)?;
        let person = provider.finish(&self.redirect(name), &kept.pending, answer).await.map_err(|error| refused(name, error))?;
        let begun = self.came_back(&kept, &person, from).await?;
        Ok(elsewhere(&kept.place, [begun.cookie, going::gone()]))
    }

    fn provider(&self, name: &str) -> Result<&Arc<Provider>, Problem> {
        let found = self.0.providers.iter().find(|provider| provider.options().name == name);
        found.ok_or_else(|| Problem::not_found("such provider"))
    }

    /// Where whoever was sent to a provider comes back to.
    fn redirect(&self, name: &str) -> String {
        format!("{}/auth/v1/providers/{name}/callback", self.0.options.platform_url)
    }

    /// Where somebody is to be sent, and what their browser is to keep meanwhile.
    async fn send(
        &self,
        name: &str,
        from: &From,
        place: &str,
        (purpose, anew): (Purpose, bool),
    ) -> Result<(String, HeaderValue), Problem> {
        let provider = self.provider(name)?;
        let wait = |wait| too_many(wait, "too many of this address sign in: try again later");
        self.0.attempts.ceremony(from.address, Instant::now()).map_err(wait)?;
        let begun = provider.begin(&self.redirect(name), anew).await.map_err(|error| refused(name, error))?;
        let kept = Going::new(name, begun.pending, place, purpose, now_s());
        Ok((begun.url, kept.cookie(self.people()).map_err(failed)?))
    }

    /// Signs in whoever came back, as far as they are known.
    async fn came_back(&self, kept: &Going, person: &Person, from: &From) -> Result<Begun, Problem> {
        let digest = subject_digest(&person.issuer, &person.subject);
        let once = self.people().once(kept.pending.state(), now_s()).map_err(failed)?;
        match &kept.purpose {
            Purpose::SignIn => {
                let Some((user, how)) = self.known(&digest).await? else {
                    self.failed_to_sign_in(UserRef { name: "", since_s: i64::MIN }, from);
                    return Err(nobody(person));
                };
                let begun = self.let_in(kept, person, &digest, &user, (how, once), from).await?;
                if !person.is_admin
                    && let Err(problem) = self.end_administration(&digest, &user.name).await
                {
                    tracing::warn!(
                        user = user.name,
                        problem = problem.detail,
                        "sessions as an administrator go on until they end"
                    );
                }
                Ok(begun)
            }
            Purpose::Invitation(secret) => {
                let (invitation, read) = self.good_invitation(secret).await?;
                let user = Known { name: invitation.user.clone(), since_s: invitation.user_since_s };
                self.is_free(&digest, &user).await?;
                let also = joined(once, taken(&invitation.user, &read));
                let begun = self.let_in(kept, person, &digest, &user, (How::Invited, also), from).await?;
                self.end_others(&user.name, &begun.id).await?;
                Ok(begun)
            }
            Purpose::Link(session) => {
                let of_theirs = rows::session(session);
                let theirs = self.people().versioned::<Session>(&of_theirs).await.map_err(failed)?;
                let (theirs, read) = theirs.filter(|(session, _)| now_s() < session.expires_s).ok_or_else(not_asked)?;
                let (_, entry) = self.user(&theirs.user)?.ok_or_else(not_asked)?;
                if entry.since_s > theirs.began_s {
                    // Of another user of that name.
                    return Err(not_asked());
                }
                let user = Known { name: theirs.user, since_s: entry.since_s };
                self.is_free(&digest, &user).await?;
                let also = once.check(of_theirs, Some(&read));
                self.let_in(kept, person, &digest, &user, (How::New, also), from).await
            }
        }
    }

    /// Begins the session, all at once with what links whoever is new.
    async fn let_in(
        &self,
        kept: &Going,
        person: &Person,
        digest: &str,
        user: &Known,
        (how, also): (How, Transaction),
        from: &From,
    ) -> Result<Begun, Problem> {
        let link = Link { digest: digest.to_owned(), provider: kept.provider.clone(), since_s: now_s() };
        let is_new = matches!(how, How::New | How::Invited);
        let also =
            if is_new { self.people().owning(also, rows::subject(digest), &user.name).await.map_err(failed)? } else { also };
        let proof = move |account: &mut Account| {
            let is_them = match how {
                How::Said => true,
                How::Linked => account.is_linked(&link.digest),
                How::New => account.link(link.clone()),
                How::Invited => {
                    account.begin_anew();
                    account.link(link.clone())
                }
            };
            Ok(is_them.then_some(()))
        };
        let options = &self.0.options;
        let days_s = self.session_s();
        let lasts_s = if person.is_admin { days_s.min(options.provider_admin_hours * 3600) } else { days_s };
        let name = kept.provider.clone();
        let provided = Provided { name, subject: digest.to_owned(), admin: person.is_admin, anew: person.anew };
        let who = UserRef { name: &user.name, since_s: user.since_s };
        let begun = begin_for(lasts_s, self, who, (from.by_provider(provided), from), also, proof).await;
        let (begun, ()) = match begun {
            Err(problem) if problem.code == "Conflict" => return Err(not_asked()),
            begun => {
                begun?.ok_or_else(|| Problem::new(StatusCode::CONFLICT, "TooMany", "you have as many links as there may be"))?
            }
        };
        if is_new {
            self.record(&user.name, from, "link.create", &user.name, Outcome::Done, "");
        }
        Ok(begun)
    }

    /// Ends the sessions that somebody had as an administrator since a provider said so, which does not any more.
    async fn end_administration(&self, digest: &str, user: &str) -> Result<(), Problem> {
        let was_one = |session: &Session| session.is_admin() && session.is_of(digest);
        self.end_where(user, was_one).await
    }

    /// What follows when somebody has a way to sign in less, if it was there: who came in by it goes, unless it is whoever asks.
    pub(super) async fn forgot(
        &self,
        signed: &Signed,
        from: &From,
        what: &str,
        was_there: bool,
        is_by_it: impl Fn(&Session) -> bool,
    ) -> Result<StatusCode, Problem> {
        if !was_there {
            return Err(Problem::not_found(format!("such {what}")));
        }
        let user = &signed.session.user;
        self.did(signed, from, &format!("{what}.delete"), user);
        self.end_where(user, |session| is_by_it(session) && session.id != signed.session.id).await?;
        Ok(StatusCode::NO_CONTENT)
    }

    /// The user in whose account that is which this row is of, also where they may not sign in at the moment.
    pub(super) async fn holder(&self, row: &Bytes, has: impl Fn(&Account) -> bool) -> Result<Option<String>, Problem> {
        let Some(name) = self.people().owner(row).await.map_err(failed)? else { return Ok(None) };
        let Some(entry) = self.0.feed.permissions().user(&name) else { return Ok(None) };
        let account = self.people().account(UserRef { name: &name, since_s: entry.since_s }).await.map_err(failed)?;
        Ok(has(&account).then_some(name))
    }

    /// Ends some of a user's sessions.
    async fn end_where(&self, user: &str, which: impl Fn(&Session) -> bool) -> Result<(), Problem> {
        let sessions = self.people().sessions_of(user).await.map_err(failed)?;
        let mut ended = Vec::new();
        for session in sessions.into_iter().filter(which) {
            self.people().end(user, &session.id).await.map_err(failed)?;
            ended.push(session.id);
        }
        self.told(&ended, false).await;
        Ok(())
    }

    /// That somebody at a provider is nobody else here, not even somebody who may not sign in at the moment.
    async fn is_free(&self, digest: &str, user: &Known) -> Result<(), Problem> {
        let permissions = self.0.feed.permissions();
        let said = permissions.user_of_subject(digest).is_none_or(|name| *name == *user.name);
        let holder = self.holder(&rows::subject(digest), |account| account.is_linked(digest)).await?;
        let linked = holder.is_some_and(|name| name != user.name);
        if said && !linked {
            return Ok(());
        }
        Err(Problem::new(StatusCode::CONFLICT, "LinkedAlready", "the provider knows you as somebody else who is here"))
    }

    /// Who somebody at a provider is here.
    async fn known(&self, digest: &str) -> Result<Option<(Known, How)>, Problem> {
        if let Some(name) = self.0.feed.permissions().user_of_subject(digest) {
            let user = self.user(&name)?;
            return Ok(user.map(|(user, _)| (Known { name: name.to_string(), since_s: user.since_s }, How::Said)));
        }
        let Some(name) = self.people().owner(&rows::subject(digest)).await.map_err(failed)? else { return Ok(None) };
        let Some((user, _)) = self.user(&name)? else { return Ok(None) };
        let is_linked = self.people().is_linked(user, digest).await.map_err(failed)?;
        let since_s = user.since_s;
        Ok(is_linked.then_some((Known { name, since_s }, How::Linked)))
    }
}

/// Who somebody at a provider is here.
struct Known {
    name: String,
    since_s: i64,
}

/// Who says so.
#[derive(Clone, Copy)]
enum How {
    /// A User object.
    Said,
    /// Their account.
    Linked,
    /// They do, who have signed in.
    New,
    /// An administrator: whatever else they could sign in by is forgotten.
    Invited,
}

/// Both, or nothing.
pub(super) fn joined(one: Transaction, other: Transaction) -> Transaction {
    Transaction { checks: [one.checks, other.checks].concat(), writes: [one.writes, other.writes].concat() }
}

/// For scripts of a page, which go there by themselves.
fn told((location, cookie): (String, HeaderValue)) -> Result<Response, Problem> {
    Ok(([(SET_COOKIE, cookie)], Json(json!({"location": location}))).into_response())
}

fn elsewhere<const N: usize>(location: &str, cookies: [HeaderValue; N]) -> Response {
    let location = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/"));
    // What is in the URL of a page that led here is for nobody else.
    let headers: [(HeaderName, HeaderValue); 3] = [
        (LOCATION, location),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (StatusCode::SEE_OTHER, headers, AppendHeaders(cookies.map(|cookie| (SET_COOKIE, cookie)))).into_response()
}

pub(super) fn not_asked() -> Problem {
    let detail = "this is no answer to what this browser asked for, or a late one, or it was used already: sign in again";
    Problem::new(StatusCode::BAD_REQUEST, "NotAsked", detail)
}

fn nobody(person: &Person) -> Problem {
    let detail = format!(
        "nobody here is known as {:?} of {}: ask an administrator, or link it while you are signed in otherwise",
        person.subject, person.issuer
    );
    Problem::new(StatusCode::FORBIDDEN, "NoAccount", detail)
}

fn refused(provider: &str, error: OidcError) -> Problem {
    tracing::info!(provider, error = error_chain(&error), "nobody signed in by a provider");
    match error {
        OidcError::Unreachable(_) => Problem::new(
            StatusCode::BAD_GATEWAY,
            "ProviderUnreachable",
            format!("the provider {provider:?} cannot be asked now: try again later, or sign in otherwise"),
        ),
        OidcError::Secret(_) | OidcError::Url(_) => {
            tracing::error!(provider, error = error_chain(&error), "a provider is set up wrongly");
            Problem::unavailable(format!("the provider {provider:?} is set up wrongly here: tell whoever runs the platform"))
        }
        OidcError::Refused(why) => {
            Problem::new(StatusCode::FORBIDDEN, "ProviderRefused", format!("the provider {provider:?} says: {why}"))
        }
        OidcError::NotAsked => not_asked(),
        OidcError::Code(_) | OidcError::Token(_) => Problem::new(
            StatusCode::FORBIDDEN,
            "ProviderAnswer",
            format!("what the provider {provider:?} says of you does not count: sign in again"),
        ),
    }
}

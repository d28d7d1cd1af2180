//! One certificate after the other, a step at a time: what is known of an order is in the Domain's status, so that whoever leads goes on
//! with it.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use eddy_crds::{Domain, DomainAnswer, DomainChallenge, DomainOrder};
use eddy_telemetry::error_chain;
use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, ChallengeStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus,
    Problem, RetryPolicy,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sha2::{Digest, Sha256};

use super::authority::{AccountError, Authority};
use super::dns01::Dns01Error;
use super::{Domains, proof};
use crate::context::Context;

/// Until every gateway knows an answer, and between looks at an order.
const SOON: Duration = Duration::from_secs(2);
const SOON_S: i64 = 2;
/// Between looks for a record that was asked for.
const LATER: Duration = Duration::from_secs(10);
/// Such a record is waited for so long, in seconds; then the authority looks for itself.
const RECORD_WITHIN_S: i64 = 300;
/// An order that is not done by then is given up.
const ORDER_WITHIN_S: i64 = 900;
/// A certificate is made within this once everything is proven.
const ISSUED_WITHIN: Duration = Duration::from_secs(15);
/// What an authority says that has enough for now (RFC 8555, section 6.6). Its limits are of an hour and more.
const RATE_LIMITED: &str = "urn:ietf:params:acme:error:rateLimited";
const RATE_LIMIT_S: i64 = 3600;
/// What it says that wants to be asked again (RFC 8555, section 6.7).
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";
const SERVER_INTERNAL: &str = "urn:ietf:params:acme:error:serverInternal";

/// What a step came to.
pub(super) enum Step {
    /// The order goes on after this.
    Goes(DomainOrder, Duration),
    /// Here is the certificate, and its key, both as PEM.
    Issued { chain: String, key: String },
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("the certificate authority: {}", .0.detail.as_deref().or(.0.r#type.as_deref()).unwrap_or("refused, without a word"))]
    Refused(Box<Problem>),
    #[error("failed to talk to the certificate authority")]
    Talk(#[source] instant_acme::Error),
    #[error("the certificate authority does not offer to look by {0:?}: choose another spec.challenge")]
    NotOffered(DomainChallenge),
    #[error("nothing is set up that puts records into DNS: choose another spec.challenge, or ask who runs this cloud")]
    NoDns01,
    #[error(transparent)]
    Dns01(#[from] Dns01Error),
    #[error("the certificate authority did not end the order within {ORDER_WITHIN_S} s")]
    Slow,
    #[error("the key of the certificate was lost with the process that had it; another certificate is asked for")]
    KeyLost,
}

impl OrderError {
    /// Whether the order is of no use any more.
    pub(super) fn ends_order(&self) -> bool {
        !matches!(self, Self::Account(_) | Self::Talk(_))
    }

    /// It is not tried again sooner, in seconds.
    pub(super) fn least_pause_s(&self) -> i64 {
        match self {
            Self::Refused(problem) if problem.r#type.as_deref() == Some(RATE_LIMITED) => RATE_LIMIT_S,
            _ => 0,
        }
    }

    /// In words, with what it came from.
    pub(super) fn say(&self) -> String {
        error_chain(self)
    }
}

impl From<instant_acme::Error> for OrderError {
    fn from(error: instant_acme::Error) -> Self {
        match error {
            // Neither says anything of what was asked for.
            instant_acme::Error::Api(problem)
                if problem.r#type.as_deref().is_some_and(|kind| kind == BAD_NONCE || kind == SERVER_INTERNAL) =>
            {
                Self::Talk(instant_acme::Error::Api(problem))
            }
            instant_acme::Error::Api(problem) => Self::Refused(Box::new(problem)),
            other => Self::Talk(other),
        }
    }
}

/// Obtains a certificate for a Domain, one step further.
///
/// # Errors
/// See [`OrderError`].
pub(super) async fn step(
    (authority, domains): (&Authority, &Domains),
    context: &Context,
    domain: &Domain,
    known: Option<DomainOrder>,
    now: Timestamp,
) -> Result<Step, OrderError> {
    let account = authority.account(&context.client, &context.system_namespace).await?;
    let stepped = match known {
        None => begin(&account, domains, domain, now).await,
        Some(known) => go_on(&account, domains, domain, known, now).await,
    };
    if let Err(OrderError::Refused(problem)) = &stepped {
        let error = instant_acme::Error::Api((**problem).clone());
        if authority.is_unknown(&context.client, &context.system_namespace, &error).await {
            tracing::warn!("the certificate authority does not know the account any more: another is made");
        }
    }
    stepped
}

async fn begin(account: &Account, domains: &Domains, domain: &Domain, now: Timestamp) -> Result<Step, OrderError> {
    let identifiers = [Identifier::Dns(domain.spec.host.clone())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let mut known = DomainOrder { url: order.url().to_owned(), since: Time(now), answer: None };
    if order.state().status == OrderStatus::Pending
        && let Some(authorization) = order.authorizations().next().await
    {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Pending {
            let wanted = domain.spec.challenge;
            let kind = challenge_type(wanted).ok_or(OrderError::NotOffered(wanted))?;
            let challenge = authorization.challenge(kind).ok_or(OrderError::NotOffered(wanted))?;
            let answer = DomainAnswer {
                challenge: wanted,
                token: challenge.token.clone(),
                key_authorization: challenge.key_authorization().as_str().to_owned(),
            };
            if wanted == DomainChallenge::DNS01 {
                let (name, value) = record(domain, &answer);
                domains.dns01.as_ref().ok_or(OrderError::NoDns01)?.present(&name, &value).await?;
            }
            known.answer = Some(answer);
        }
    }
    Ok(Step::Goes(known, SOON))
}

async fn go_on(
    account: &Account,
    domains: &Domains,
    domain: &Domain,
    known: DomainOrder,
    now: Timestamp,
) -> Result<Step, OrderError> {
    let age_s = now.as_second().saturating_sub(known.since.0.as_second());
    let mut order = account.order(known.url.clone()).await?;
    match order.state().status {
        OrderStatus::Pending if age_s > ORDER_WITHIN_S => Err(OrderError::Slow),
        OrderStatus::Pending => {
            let pause = match order.authorizations().next().await {
                Some(authorization) => prove(authorization?, domains, domain, &known, age_s).await?,
                None => SOON,
            };
            Ok(Step::Goes(known, pause))
        }
        OrderStatus::Ready => {
            let key = order.finalize().await?;
            let policy = RetryPolicy::new().initial_delay(Duration::from_millis(250)).timeout(ISSUED_WITHIN);
            let chain = order.poll_certificate(&policy).await?;
            Ok(Step::Issued { chain, key })
        }
        OrderStatus::Processing | OrderStatus::Valid => Err(OrderError::KeyLost),
        OrderStatus::Invalid => Err(refused(&mut order).await),
    }
}

/// Has the authority look, once there is something to see. Returns how long to wait.
async fn prove(
    mut authorization: AuthorizationHandle<'_>,
    domains: &Domains,
    domain: &Domain,
    known: &DomainOrder,
    age_s: i64,
) -> Result<Duration, OrderError> {
    let wanted = domain.spec.challenge;
    let kind = challenge_type(wanted).ok_or(OrderError::NotOffered(wanted))?;
    let mut challenge = authorization.challenge(kind).ok_or(OrderError::NotOffered(wanted))?;
    match (challenge.status, &known.answer) {
        (ChallengeStatus::Pending, Some(answer)) => {
            // Something else made this step come early.
            if age_s < SOON_S {
                return Ok(SOON);
            }
            if wanted == DomainChallenge::DNS01 && age_s < RECORD_WITHIN_S {
                let (name, value) = record(domain, answer);
                let seen = domains.lookup.txt(&name).await.is_ok_and(|records| records.contains(&value));
                if !seen {
                    return Ok(LATER);
                }
            }
            challenge.set_ready().await?;
            Ok(SOON)
        }
        // It looks; how that went is said of the order.
        _ => Ok(SOON),
    }
}

/// Why an order came to nothing: of what was looked at, if that is why.
async fn refused(order: &mut Order) -> OrderError {
    let of_order = order.state().error.clone();
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        if let Some(problem) = authorization.challenges.iter().find_map(|challenge| challenge.error.clone()) {
            return OrderError::Refused(Box::new(problem));
        }
    }
    of_order.map_or(OrderError::Slow, |problem| OrderError::Refused(Box::new(problem)))
}

/// Takes away what an order put into DNS.
pub(super) async fn clean_up(domains: &Domains, domain: &Domain, order: &DomainOrder) {
    let Some(answer) = order.answer.as_ref().filter(|answer| answer.challenge == DomainChallenge::DNS01) else { return };
    let Some(dns01) = &domains.dns01 else { return };
    let (name, value) = record(domain, answer);
    if let Err(error) = dns01.clean_up(&name, &value).await {
        tracing::warn!(name, error = error_chain(&error), "the record of a challenge stays in DNS");
    }
}

/// The TXT record of a challenge (RFC 8555, section 8.4).
fn record(domain: &Domain, answer: &DomainAnswer) -> (String, String) {
    let value = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&answer.key_authorization));
    (format!("_acme-challenge.{}", proof::base(&domain.spec.host)), value)
}

fn challenge_type(challenge: DomainChallenge) -> Option<ChallengeType> {
    match challenge {
        DomainChallenge::HTTP01 => Some(ChallengeType::Http01),
        DomainChallenge::TLSALPN01 => Some(ChallengeType::TlsAlpn01),
        DomainChallenge::DNS01 => Some(ChallengeType::Dns01),
        DomainChallenge::None => None,
    }
}

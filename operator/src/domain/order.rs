//! One certificate after the other, a step at a time: what is known of an order is in the Domain's status, and the key to come in its Secret,
//! so that whoever leads goes on with it. A step asks the authority for one thing, so that none takes longer than a reconciliation may.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use eddy_crds::{Domain, DomainAnswer, DomainChallenge, DomainOrder};
use eddy_telemetry::error_chain;
use instant_acme::{Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus, Problem};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use sha2::{Digest, Sha256};

use super::authority::{AccountError, Authority};
use super::budget::ORDERS_AN_HOUR;
use super::dns01::Dns01Error;
use super::lookup::LookupError;
use super::{Domains, proof};
use crate::context::Context;

/// A step that takes longer is given up, and taken again: a reconciliation may take half a minute.
const STEP_WITHIN: Duration = Duration::from_secs(22);
/// Taking a record away may follow a step.
const CLEAN_UP_WITHIN: Duration = Duration::from_secs(5);
/// Until every gateway knows an answer, and between looks at an order.
const SOON: Duration = Duration::from_secs(2);
const SOON_S: i64 = 2;
/// An authority that is slow is looked at less and less, down to this.
const SELDOM: Duration = Duration::from_secs(60);
/// Between looks for a record that was asked for.
const LATER: Duration = Duration::from_secs(10);
/// Such a record is waited for so long, in seconds; then the authority looks for itself.
const RECORD_WITHIN_S: i64 = 300;
/// An order that is not proven by then is given up.
const ORDER_WITHIN_S: i64 = 900;
/// One of this age is not asked for any more: it may be another authority's.
const ORDER_AGE_S_MAX: i64 = 24 * 3600;
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
    /// This key, as PEM, is to be kept before the authority is told of it.
    Keep(String),
    /// Here is the certificate, as PEM, of the key that was kept.
    Issued(String),
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
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("the certificate authority did not end the order within {ORDER_WITHIN_S} s")]
    Slow,
    #[error("the certificate authority did not answer within {} s", STEP_WITHIN.as_secs())]
    Late,
    #[error("failed to make a key")]
    Key(#[from] rcgen::Error),
    #[error("the key of the certificate is gone: another certificate is asked for")]
    KeyLost,
    #[error(
        "the certificate that was issued is not for the host, or not valid now: look at the clock of the operator, and at the authority"
    )]
    Unusable,
    #[error("more than {ORDERS_AN_HOUR} certificates of this user's, or many of all users', were asked for within an hour")]
    Budget(Timestamp),
    #[error("failed to write the Secret")]
    Secret(#[source] Box<kube::Error>),
}

impl OrderError {
    /// Whether the order is of no use any more.
    pub(super) fn ends_order(&self) -> bool {
        !matches!(self, Self::Account(_) | Self::Talk(_) | Self::Late | Self::Secret(_) | Self::Lookup(_) | Self::Budget(_))
    }

    /// Whether it says nothing of what was asked for, so that it counts for nothing: for one that is under way, neither does a limit of requests.
    pub(super) fn hinders(&self, is_under_way: bool) -> bool {
        !self.ends_order() || is_under_way && self.least_pause_s() > 0
    }

    /// It is tried again then, if that is known.
    pub(super) fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Budget(until) => Some(*until),
            _ => None,
        }
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

/// Obtains a certificate for a Domain, one step further; `key` is the one that was kept for it.
///
/// # Errors
/// See [`OrderError`].
pub(super) async fn step(
    (authority, domains): (&Authority, &Domains),
    context: &Context,
    domain: &Domain,
    (known, key): (Option<DomainOrder>, Option<&str>),
    now: Timestamp,
) -> Result<Step, OrderError> {
    let step = async {
        let account = authority.account(&context.client, &context.system_namespace, now).await?;
        let stepped = match known {
            None => begin(&account, domains, domain, now).await,
            Some(known) => go_on(&account, domains, domain, (known, key), now).await,
        };
        if let Err(OrderError::Refused(problem)) = &stepped
            && authority.is_unknown(&context.client, &context.system_namespace, &account, problem).await
        {
            tracing::warn!("the certificate authority does not know the account any more: another is made");
        }
        stepped
    };
    tokio::time::timeout(STEP_WITHIN, step).await.unwrap_or(Err(OrderError::Late))
}

async fn begin(account: &Account, domains: &Domains, domain: &Domain, now: Timestamp) -> Result<Step, OrderError> {
    if domain.spec.challenge == DomainChallenge::DNS01 && domains.dns01.is_none() {
        return Err(OrderError::NoDns01);
    }
    domains.budget.take(&domain.namespace().unwrap_or_default(), now).map_err(OrderError::Budget)?;
    let identifiers = [Identifier::Dns(domain.spec.host.clone())];
    let order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let known = DomainOrder { url: order.url().to_owned(), since: Time(now), answer: None, asked_at: None };
    Ok(Step::Goes(known, Duration::ZERO))
}

async fn go_on(
    account: &Account,
    domains: &Domains,
    domain: &Domain,
    (known, key): (DomainOrder, Option<&str>),
    now: Timestamp,
) -> Result<Step, OrderError> {
    let age_s = now.as_second().saturating_sub(known.since.0.as_second());
    if age_s > ORDER_AGE_S_MAX {
        return Err(OrderError::Slow);
    }
    let mut order = account.order(known.url.clone()).await?;
    match order.state().status {
        OrderStatus::Pending if age_s > ORDER_WITHIN_S => Err(OrderError::Slow),
        OrderStatus::Pending => prove(&mut order, domains, domain, known, now).await,
        OrderStatus::Ready => {
            let Some(key) = key else { return Ok(Step::Keep(KeyPair::generate()?.serialize_pem())) };
            let key = KeyPair::from_pem(key).map_err(|_| OrderError::KeyLost)?;
            let mut parameters = CertificateParams::new(vec![domain.spec.host.clone()])?;
            parameters.distinguished_name = DistinguishedName::new();
            order.finalize_csr(parameters.serialize_request(&key)?.der()).await?;
            Ok(Step::Goes(known, Duration::from_millis(500)))
        }
        OrderStatus::Processing => Ok(Step::Goes(known, pause(age_s))),
        OrderStatus::Valid => match order.certificate().await? {
            Some(chain) if key.is_some() => Ok(Step::Issued(chain)),
            Some(_) => Err(OrderError::KeyLost),
            None => Ok(Step::Goes(known, SOON)),
        },
        OrderStatus::Invalid => Err(refused(&mut order).await),
    }
}

/// Has the authority look, once there is something to see.
async fn prove(
    order: &mut Order,
    domains: &Domains,
    domain: &Domain,
    mut known: DomainOrder,
    now: Timestamp,
) -> Result<Step, OrderError> {
    if let Some(asked_at) = &known.asked_at {
        let pause = pause(now.as_second().saturating_sub(asked_at.0.as_second()));
        return Ok(Step::Goes(known, pause));
    }
    let wanted = domain.spec.challenge;
    let kind = challenge_type(wanted).ok_or(OrderError::NotOffered(wanted))?;
    let mut authorizations = order.authorizations();
    let Some(authorization) = authorizations.next().await else { return Ok(Step::Goes(known, SOON)) };
    let mut authorization = authorization?;
    if authorization.status != AuthorizationStatus::Pending {
        return Ok(Step::Goes(known, SOON));
    }
    let mut challenge = authorization.challenge(kind).ok_or(OrderError::NotOffered(wanted))?;
    let Some(answer) = &mut known.answer else {
        let record = if wanted == DomainChallenge::DNS01 {
            Some(domains.lookup.canonical(&format!("_acme-challenge.{}", proof::base(&domain.spec.host)), &domains.zones).await?)
        } else {
            None
        };
        let (token, key_authorization) = (challenge.token.clone(), challenge.key_authorization().as_str().to_owned());
        let answer = DomainAnswer { challenge: wanted, token, key_authorization, since: Time(now), record, is_presented: false };
        known.answer = Some(answer);
        return Ok(Step::Goes(known, if wanted == DomainChallenge::DNS01 { Duration::ZERO } else { SOON }));
    };
    let age_s = now.as_second().saturating_sub(answer.since.0.as_second());
    match &answer.record {
        // Something else may have made this step come early.
        None if age_s < SOON_S => return Ok(Step::Goes(known, SOON)),
        None => {}
        Some(record) if !answer.is_presented => {
            let dns01 = domains.dns01.as_ref().ok_or(OrderError::NoDns01)?;
            dns01.present(record, &digest(answer)).await?;
            answer.is_presented = true;
            return Ok(Step::Goes(known, SOON));
        }
        Some(record) => {
            let seen = domains.lookup.txt(record).await.is_ok_and(|records| records.contains(&digest(answer)));
            if !seen && age_s < RECORD_WITHIN_S {
                return Ok(Step::Goes(known, LATER));
            }
        }
    }
    challenge.set_ready().await?;
    known.asked_at = Some(Time(now));
    Ok(Step::Goes(known, SOON))
}

/// Between looks at what has been going on for so long, in seconds.
fn pause(age_s: i64) -> Duration {
    Duration::from_secs(u64::try_from(age_s / 10).unwrap_or(0)).clamp(SOON, SELDOM)
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
pub(super) async fn clean_up(domains: &Domains, order: &DomainOrder) {
    let Some((answer, record)) = order.answer.as_ref().and_then(|answer| Some((answer, answer.record.as_deref()?))) else {
        return;
    };
    let Some(dns01) = &domains.dns01 else { return };
    match tokio::time::timeout(CLEAN_UP_WITHIN, dns01.clean_up(record, &digest(answer))).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(record, error = error_chain(&error), "the record of a challenge stays in DNS"),
        Err(_) => tracing::warn!(record, "the record of a challenge may stay in DNS: nobody answered in time"),
    }
}

/// What the TXT record of a challenge holds (RFC 8555, section 8.4).
fn digest(answer: &DomainAnswer) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&answer.key_authorization))
}

fn challenge_type(challenge: DomainChallenge) -> Option<ChallengeType> {
    match challenge {
        DomainChallenge::HTTP01 => Some(ChallengeType::Http01),
        DomainChallenge::TLSALPN01 => Some(ChallengeType::TlsAlpn01),
        DomainChallenge::DNS01 => Some(ChallengeType::Dns01),
        DomainChallenge::None => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

//! Domain: finds out whether a host is its tenant's, and obtains and renews its certificate.
//!
//! Both go on step by step, and what is known after each is in the status: the proof, the order at the authority, what gateways answer while
//! that looks, and what failed. So whoever leads goes on where another left off, and an authority is never asked more often for that.

mod authority;
mod budget;
mod dns01;
mod fetch;
mod lookup;
mod order;
mod plan;
mod proof;
mod secret;
mod setup;

use std::sync::Arc;
use std::time::Duration;

use eddy_crds::{Domain, DomainChallenge, DomainFailure, DomainOrder, FIELD_MANAGER, User, tenant_of};
use eddy_telemetry::error_chain;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};

use crate::conditions::since_s;
use crate::context::Context;
use crate::error::ReconcileError;
use crate::reason::{Reason, Verdict};
use crate::tenancy::{objects_of, provisioned_tenant};
use crate::watching::{Filled, all, all_filled, filled, specs};
use crate::{hosts, reconcile, status};

use self::order::{OrderError, Step};
use self::plan::{Lifetime, Todo, plan};
use self::proof::{Proof, Said};
pub(crate) use self::setup::{DomainOptions, Domains, SetupError};

/// A record is looked for again after this to begin with, and later after this.
const OFTEN: Duration = Duration::from_secs(5);
const SELDOM: Duration = Duration::from_secs(600);
/// That everything is as it was is looked at after this: whoever deletes the Secret has another.
const NOW_AND_THEN: Duration = Duration::from_secs(600);
/// A key that was kept is told to the authority after this: whoever removes it at once is not answered at once.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Until the Role lets the Secret be read.
const READABLE_SOON: Duration = Duration::from_secs(1);

struct Stores {
    filled: Filled,
    users: Store<User>,
    /// Every Domain, kept by a watch of its own: the one that drives the controller does not show deletions.
    domains: Store<Domain>,
}

/// Runs until the end is requested.
pub(crate) async fn run(
    client: Client,
    context: Arc<Context>,
    concurrency: u16,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (driven, changes) = specs::<Domain>(&client);
    let (users, user_changes) = all::<User>(&client);
    let (domains, domain_changes) = all::<Domain>(&client);
    let filled = all_filled([filled(&users), filled(&domains)]);
    let stores = Arc::new(Stores { filled, users, domains });
    let known = driven.clone();
    // Whoever proves a host may take it from others.
    let by_host = move |changed: Domain| -> Vec<ObjectRef<Domain>> {
        let is_other = |domain: &Domain| domain.spec.host == changed.spec.host && domain.namespace() != changed.namespace();
        let all = known.state();
        let others = all.iter().filter(|domain| is_other(domain) || covers(&changed, domain));
        others.map(|domain| ObjectRef::from_obj(&**domain)).collect()
    };
    let controller = Controller::for_stream(changes, driven.clone())
        .watches_stream(user_changes, objects_of(driven))
        .watches_stream(domain_changes, by_host)
        .graceful_shutdown_on(stop);
    reconcile::run(controller, "Domain", context, concurrency, move |domain, context| reconcile(domain, context, stores.clone()))
        .await;
}

/// What is known of a Domain, as it is written down.
#[derive(Clone, Debug, Default)]
struct Progress {
    proven_at: Option<Time>,
    order: Option<DomainOrder>,
    failure: Option<DomainFailure>,
    certificate: Option<Lifetime>,
}

impl Progress {
    fn of(domain: &Domain) -> Self {
        let Some(status) = &domain.status else { return Self::default() };
        // Whoever changed what is asked for does not wait for what failed before.
        let is_same = status.observed_generation == domain.metadata.generation;
        Self {
            proven_at: status.proven_at.clone(),
            order: status.order.clone().filter(|_| is_same),
            failure: status.failure.clone().filter(|_| is_same),
            certificate: None,
        }
    }

    /// When the certificate ends, if there is one.
    fn not_after(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.certificate?.not_after_s).ok()
    }

    /// Whether there is a certificate that is good now.
    fn is_certified(&self, now: Timestamp) -> bool {
        self.certificate.is_some_and(|certificate| certificate.is_valid(now))
    }

    fn fields(&self, domain: &Domain, value: Option<&str>) -> Map<String, Value> {
        let secret = self.certificate.map(|_| Domain::secret_of(&domain.name_any()));
        let mut fields = Map::new();
        fields.insert("proofRecord".into(), json!(value.map(|_| proof::record(&domain.spec.host))));
        fields.insert("proofValue".into(), json!(value));
        fields.insert("provenAt".into(), json!(self.proven_at));
        fields.insert("secret".into(), json!(secret));
        fields.insert("notAfter".into(), json!(self.not_after().map(Time)));
        fields.insert("order".into(), json!(self.order));
        fields.insert("failure".into(), json!(self.failure));
        fields
    }
}

async fn reconcile(domain: Arc<Domain>, context: Arc<Context>, stores: Arc<Stores>) -> Result<Action, ReconcileError> {
    stores.filled.clone().await;
    let api: Api<Domain> = Api::namespaced(context.client.clone(), &domain.namespace().unwrap_or_default());
    // As it is now: what the watch shows may lack what was written here last, and an order would be made twice.
    let asked = api.get_opt(&domain.name_any()).await;
    let asked = asked.map_err(|source| ReconcileError::Ask { kind: "Domain", source: Box::new(source) })?;
    let Some(domain) = asked.filter(|domain| domain.metadata.deletion_timestamp.is_none()) else {
        return Ok(Action::await_change());
    };
    if status::begin(&context, &api, &domain).await? {
        // Its version is another by now.
        return Ok(Action::requeue(Duration::ZERO));
    }
    // To the second, as it is written down.
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let mut progress = Progress::of(&domain);
    if let Some(order) = domain.status.as_ref().and_then(|status| status.order.as_ref()).filter(|_| progress.order.is_none()) {
        // Another is begun.
        order::clean_up(&context.domains, order).await;
    }
    let owner = provisioned_tenant(&domain, &stores.users);
    let user = owner.as_ref().ok().and_then(|owner| stores.users.get(&ObjectRef::new(owner)));
    let value = user.and_then(|user| Some(proof::value(user.metadata.uid.as_deref()?, &domain.spec.host)));
    let (verdict, next) = match (owner, &value) {
        (Err(obstacle), _) => (obstacle, Action::await_change()),
        (Ok(_), None) => {
            (Verdict::new(Reason::TenantMissing, "waiting for the User whose core namespace this is"), Action::await_change())
        }
        (Ok(_), Some(value)) => match prove(&domain, &context, &stores, value, &mut progress, now).await {
            Err((obstacle, pause)) => (obstacle, Action::requeue(pause)),
            Ok(()) => certify(&domain, &context, &mut progress, now).await?,
        },
    };
    status::write_exactly(&context, &api, &domain, &verdict, progress.fields(&domain, value.as_deref())).await?;
    Ok(next)
}

/// Who holds the host of a Domain by a proof of their own, in another core namespace.
fn holder(domain: &Domain, domains: &[Arc<Domain>]) -> Option<Proof> {
    let others = domains.iter().filter(|other| other.spec.host == domain.spec.host && other.namespace() != domain.namespace());
    let proofs = others.filter_map(|other| Some(Proof { at_s: other.proven_at_s()?, namespace: other.namespace()? }));
    proofs.reduce(|first, second| if second.outdoes(&first) { second } else { first })
}

/// Sees to it that the host is this tenant's.
///
/// # Errors
/// Why it is not, and when to look again.
async fn prove(
    domain: &Domain,
    context: &Context,
    stores: &Stores,
    value: &str,
    progress: &mut Progress,
    now: Timestamp,
) -> Result<(), (Verdict, Duration)> {
    let host = &domain.spec.host;
    if context.platform.as_ref().is_some_and(|platform| platform.hosts.contains(host)) {
        *progress = Progress::default();
        return Err((Verdict::new(Reason::HostTaken, format!("{host} is the platform's own: choose another host")), SELDOM));
    }
    let all = stores.domains.state();
    let holder = holder(domain, &all);
    let own =
        progress.proven_at.as_ref().map(|at| Proof { at_s: at.0.as_second(), namespace: domain.namespace().unwrap_or_default() });
    let counts = own.filter(|own| holder.as_ref().is_none_or(|holder| own.outdoes(holder)));
    // Whoever has proven all names above it since may have bought it: then it counts while its own record is there.
    let is_since = |at_s: i64| counts.as_ref().is_some_and(|own| at_s > own.at_s);
    let may_be_sold = all.iter().any(|other| covers(other, domain) && other.proven_at_s().is_some_and(is_since));
    if counts.is_some() && !may_be_sold {
        return Ok(());
    }
    let record = proof::record(host);
    let pause = pause(domain, now);
    let asked = context.domains.lookup.txt(&record).await;
    // Nobody loses a host for want of an answer.
    if may_be_sold && asked.as_ref().map_or(true, |records| proof::judge(records, value, None) == Said::Proven) {
        return Ok(());
    }
    // What was proven and is another's now counts no more, also once that is gone; and nothing is obtained for who does not hold it.
    progress.proven_at = None;
    if let Some(order) = progress.order.take() {
        order::clean_up(&context.domains, &order).await;
    }
    let records = asked.map_err(|error| {
        let message = format!("{}; it is looked for again", error_chain(&error));
        (Verdict::new(Reason::LookupFailed, message), pause)
    })?;
    let holders_value = holder.as_ref().and_then(|holder| {
        let user = stores.users.get(&ObjectRef::new(tenant_of(&holder.namespace)?))?;
        Some(proof::value(user.metadata.uid.as_deref()?, host))
    });
    match proof::judge(&records, value, holders_value.as_deref()) {
        Said::Proven => {
            // Not before that of who has it, whose clock was another's.
            let at = holder.and_then(|holder| Timestamp::from_second(holder.at_s + 1).ok()).map_or(now, |after| after.max(now));
            progress.proven_at = Some(Time(at));
            Ok(())
        }
        Said::Missing => {
            let there =
                if records.is_empty() { "none is there".to_owned() } else { format!("{} others are there", records.len()) };
            let message = format!("prove that {host} is yours: put a TXT record at {record} with the value {value} ({there})");
            Err((Verdict::new(Reason::NotProven, message), pause))
        }
        Said::Kept => {
            let message = format!(
                "another tenant proved first that {host} is theirs, and their record is still at {record}: remove it there"
            );
            Err((Verdict::new(Reason::HostTaken, message), pause))
        }
    }
}

/// Whether another tenant's Domain is for all names above a Domain's host.
fn covers(other: &Domain, domain: &Domain) -> bool {
    let (wide, host) = (&other.spec.host, &domain.spec.host);
    hosts::covers(wide, host) && wide != host && other.namespace() != domain.namespace()
}

/// How long to wait for a record: longer, the longer it has been missing.
fn pause(domain: &Domain, now: Timestamp) -> Duration {
    let waiting_s = since_s(domain.status.as_ref().map(|status| &status.conditions[..]).unwrap_or_default(), now);
    Duration::from_secs(waiting_s / 10).clamp(OFTEN, SELDOM)
}

/// Sees to it that there is a good certificate, a step at a time. Returns what to say, and when to go on.
async fn certify(
    domain: &Domain,
    context: &Context,
    progress: &mut Progress,
    now: Timestamp,
) -> Result<(Verdict, Action), ReconcileError> {
    let host = &domain.spec.host;
    if domain.spec.challenge == DomainChallenge::None {
        (progress.order, progress.failure) = (None, None);
        let message = format!("{host} is yours; no certificate is obtained for it, as spec.challenge says");
        return Ok((Verdict::new(Reason::Proven, message), Action::await_change()));
    }
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &domain.namespace().unwrap_or_default());
    let name = Domain::secret_of(&domain.name_any());
    let found = match secrets.get_opt(&name).await {
        Ok(found) => found,
        // It may be read a moment after the Domain is there.
        Err(kube::Error::Api(refusal)) if refusal.is_forbidden() && !had_certificate(domain) => {
            let message = format!("{host} is yours; waiting until Secret {name} may be read");
            return Ok((Verdict::new(Reason::Progressing, message), Action::requeue(READABLE_SOON)));
        }
        Err(source) => return Err(ReconcileError::Ask { kind: "Secret", source: Box::new(source) }),
    };
    if found.as_ref().is_some_and(|secret| !secret::is_of(secret, domain)) {
        // Also one of a Domain of this name that was deleted just now, which goes by itself.
        let message = format!("there is a Secret {name} that is not this Domain's: delete it");
        return Ok((Verdict::new(Reason::NameTaken, message), Action::requeue(OFTEN)));
    }
    let directory = context.domains.authority.as_ref().map(|authority| authority.directory.as_str());
    progress.certificate = found.as_ref().and_then(|secret| secret::lifetime(secret, host, directory));
    match plan(progress.certificate, progress.failure.as_ref(), now) {
        Todo::Keep(until) => {
            progress.failure = None;
            // Whoever led before got as far as the Secret.
            if let Some(order) = progress.order.take() {
                order::clean_up(&context.domains, &order).await;
            }
            Ok((issued(domain, progress), Action::requeue(left(until, now).min(NOW_AND_THEN))))
        }
        Todo::Wait(until) => Ok((failing(domain, progress, now), Action::requeue(left(until, now)))),
        Todo::Obtain => Ok(obtain(domain, context, progress, found.as_ref(), now).await),
    }
}

/// Whether there was a certificate when it was looked last.
fn had_certificate(domain: &Domain) -> bool {
    domain.status.as_ref().is_some_and(|status| status.not_after.is_some())
}

async fn obtain(
    domain: &Domain,
    context: &Context,
    progress: &mut Progress,
    found: Option<&Secret>,
    now: Timestamp,
) -> (Verdict, Action) {
    let Some(authority) = &context.domains.authority else {
        let message = "no certificate authority is set up in this cloud: set spec.challenge to None and let the Routes name a certificate, or ask who runs it";
        let is_good = progress.is_certified(now);
        let reason = if is_good { Reason::RenewalFailing } else { Reason::NoAuthority };
        return (Verdict::new(reason, message), Action::requeue(NOW_AND_THEN));
    };
    let known = progress.order.clone().filter(|order| is_of(&order.url, &authority.directory));
    let is_under_way = known.is_some();
    let key = secret::next_key(found);
    let error = match order::step((authority, &context.domains), context, domain, (known, key), now).await {
        Ok(Step::Goes(order, pause)) => {
            progress.order = Some(order);
            return (under_way(domain, progress, now), Action::requeue(pause));
        }
        Ok(Step::Keep(key)) => match write(context, &secret::with_next_key(domain, found, &key)).await {
            Ok(()) => return (under_way(domain, progress, now), Action::requeue(KEPT_FOR)),
            Err(error) => error,
        },
        Ok(Step::Issued(chain)) => {
            let secret = secret::secret(domain, &chain, key.unwrap_or_default(), &authority.directory);
            let certificate = secret::lifetime(&secret, &domain.spec.host, None).filter(|certificate| certificate.is_valid(now));
            match certificate {
                None => OrderError::Unusable,
                Some(certificate) => match write(context, &secret).await {
                    Ok(()) => return done(domain, context, progress, certificate, now).await,
                    Err(error) => error,
                },
            }
        }
        Err(error) => error,
    };
    let hinders = error.hinders(is_under_way);
    let mut failure = if hinders {
        plan::hindered(progress.failure.as_ref(), error.say(), now)
    } else {
        plan::failed(progress.failure.as_ref(), error.say(), error.least_pause_s(), now)
    };
    if let Some(until) = error.until() {
        failure.next_attempt_at = Time(until);
    }
    tracing::warn!(namespace = domain.namespace(), name = domain.name_any(), error = failure.message, "no certificate yet");
    let ended = if hinders { None } else { progress.order.take() };
    if let Some(order) = ended {
        order::clean_up(&context.domains, &order).await;
    }
    let next = Action::requeue(left(failure.next_attempt_at.0, now));
    progress.failure = Some(failure);
    (failing(domain, progress, now), next)
}

/// Whether an order is one of the authority with this directory: both are at one host.
fn is_of(order: &str, directory: &str) -> bool {
    let host = |url: &str| url.split('/').nth(2).map(str::to_ascii_lowercase);
    host(order) == host(directory)
}

/// Writes a Domain's Secret.
async fn write(context: &Context, secret: &Secret) -> Result<(), OrderError> {
    let api = Api::<Secret>::namespaced(context.client.clone(), &secret.namespace().unwrap_or_default());
    let applied = api.patch(&secret.name_any(), &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(secret)).await;
    applied.map(drop).map_err(|source| OrderError::Secret(Box::new(source)))
}

/// What to say once there is another certificate, and when to look at it again.
async fn done(
    domain: &Domain,
    context: &Context,
    progress: &mut Progress,
    certificate: Lifetime,
    now: Timestamp,
) -> (Verdict, Action) {
    if let Some(order) = progress.order.take() {
        order::clean_up(&context.domains, &order).await;
    }
    (progress.certificate, progress.failure) = (Some(Lifetime { is_current: true, ..certificate }), None);
    let next = match plan(progress.certificate, None, now) {
        Todo::Keep(until) => left(until, now).min(NOW_AND_THEN),
        // It was made in its last third: another would be no better.
        Todo::Wait(_) | Todo::Obtain => NOW_AND_THEN,
    };
    (issued(domain, progress), Action::requeue(next))
}

/// What to say while another certificate is obtained.
fn under_way(domain: &Domain, progress: &Progress, now: Timestamp) -> Verdict {
    if progress.is_certified(now) {
        return issued(domain, progress);
    }
    Verdict::new(Reason::Progressing, format!("{} is yours; its certificate is being obtained", domain.spec.host))
}

fn left(until: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or_default()
}

fn issued(domain: &Domain, progress: &Progress) -> Verdict {
    let until = progress.not_after().map(|until| format!(" until {until}")).unwrap_or_default();
    let (host, secret) = (&domain.spec.host, Domain::secret_of(&domain.name_any()));
    Verdict::new(Reason::Issued, format!("{host} is yours; its certificate is in Secret {secret}{until}"))
}

/// What to say of what failed: with a good certificate, that is no reason not to be used.
fn failing(domain: &Domain, progress: &Progress, now: Timestamp) -> Verdict {
    let Some(failure) = &progress.failure else { return issued(domain, progress) };
    let said = format!("{} ({} so far; tried again at {})", failure.message, failure.count, failure.next_attempt_at.0);
    if progress.is_certified(now) {
        let until = progress.not_after().map(|until| until.to_string()).unwrap_or_default();
        return Verdict::new(Reason::RenewalFailing, format!("the certificate, which ends at {until}, was not renewed: {said}"));
    }
    Verdict::new(Reason::IssuanceFailed, format!("no certificate was issued: {said}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use eddy_crds::{DomainSpec, DomainStatus};

    fn domain(namespace: &str, proven_at_s: Option<i64>) -> Domain {
        let mut domain = Domain::new("d", DomainSpec { host: "a.example".to_owned(), ..DomainSpec::default() });
        domain.metadata.namespace = Some(namespace.to_owned());
        let proven_at = proven_at_s.map(|at| Time(Timestamp::from_second(at).unwrap()));
        domain.status = Some(DomainStatus { proven_at, ..DomainStatus::default() });
        domain
    }

    #[test]
    fn a_host_is_held_by_who_proved_it_last() {
        let all = [domain("u-a", Some(1)), domain("u-b", Some(2)), domain("u-c", None), domain("u-d", Some(9))].map(Arc::new);
        assert_eq!(holder(&all[3], &all).unwrap().namespace, "u-b");
        assert_eq!(holder(&all[2], &all).unwrap().namespace, "u-d");
        assert_eq!(holder(&domain("u-a", None), &all[..1]), None, "one's own is none of another");
        let mut wide = domain("u-b", Some(3));
        wide.spec.host = "*.example".to_owned();
        assert!(
            is_of("https://CA.example/order/1", "https://ca.example/dir")
                && !is_of("https://staging.example/1", "https://ca.example/dir")
        );
        assert!(covers(&wide, &all[0]) && !covers(&all[0], &wide) && !covers(&wide, &domain("u-b", None)));
    }

    #[test]
    fn who_changes_what_is_asked_for_does_not_wait() {
        let now = Timestamp::from_second(0).unwrap();
        let mut domain = domain("u-a", Some(1));
        domain.metadata.generation = Some(2);
        let failure = plan::failed(None, "x".to_owned(), 0, now);
        let status = DomainStatus { failure: Some(failure), observed_generation: Some(2), ..domain.status.clone().unwrap() };
        domain.status = Some(status);
        assert!(Progress::of(&domain).failure.is_some());
        domain.metadata.generation = Some(3);
        let progress = Progress::of(&domain);
        assert!(progress.failure.is_none() && progress.proven_at.is_some());
    }

    #[test]
    fn a_renewal_that_fails_leaves_a_good_certificate_in_use() {
        let now = Timestamp::from_second(100).unwrap();
        let failure = Some(plan::failed(None, "the certificate authority: no".to_owned(), 0, now));
        let of = |not_after_s| {
            let certificate = Some(Lifetime { not_before_s: 0, not_after_s, is_current: true });
            failing(&domain("u-a", Some(1)), &Progress { failure: failure.clone(), certificate, ..Progress::default() }, now)
        };
        assert_eq!((of(101).reason, of(99).reason), (Reason::RenewalFailing, Reason::IssuanceFailed));
        assert!(of(99).message.contains("the certificate authority: no (1 so far"), "{}", of(99).message);
    }
}

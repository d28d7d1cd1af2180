//! The Secrets that Gateways name: who may read them, and whether they are any good.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use eddy_certificates::Certificate;
use eddy_crds::{MANAGED_BY, MANAGED_BY_LABEL};
use eddy_gateway_api::{Decision, Place};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client};
use tokio::time::Instant;

use super::stores::Stores;
use crate::certificates::desired;
use crate::context::Context;
use crate::error::ReconcileError;

/// Of the Role and its binding in each namespace with such a Secret.
const NAME: &str = "eddy-gateway-api-certificates";
/// Secrets are not watched: one that is no good is looked at again after this,
const OFTEN: Duration = Duration::from_secs(2);
/// and one that is after this.
const NOW_AND_THEN: Duration = Duration::from_secs(60);
/// So many are asked for at once.
const AT_ONCE: usize = 8;

/// What was last seen of each.
pub(super) struct Certificates {
    client: Client,
    seen: HashMap<Place, (Instant, Option<String>)>,
}

impl Certificates {
    pub(super) fn new(client: Client) -> Self {
        Self { client, seen: HashMap::new() }
    }

    /// Lets gateways and the operator read the Secrets that Gateways name, and no others.
    pub(super) async fn grant(&self, decision: &Decision, stores: &Stores, context: &Context) -> Result<(), ReconcileError> {
        let mut wanted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for place in named(decision) {
            wanted.entry(&place.namespace).or_default().insert(place.name.clone());
        }
        let metadata = |namespace: &str| ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into()),
            ..ObjectMeta::default()
        };
        let mut failed = Ok(());
        for (namespace, secrets) in &wanted {
            let role = stores.roles.get(&ObjectRef::new(NAME).within(namespace));
            let binding = stores.bindings.get(&ObjectRef::new(NAME).within(namespace));
            let desired_role = desired::role(metadata(namespace), secrets.clone());
            let desired_binding = desired::binding(metadata(namespace), NAME, &context.system_namespace);
            // One namespace that is going away keeps no other waiting.
            let applied = context.applier.apply(&desired_role, role.as_deref()).await.map(drop);
            let bound = context.applier.apply(&desired_binding, binding.as_deref()).await.map(drop);
            failed = failed.and(applied).and(bound);
        }
        let is_over = |metadata: &ObjectMeta| {
            metadata.name.as_deref() == Some(NAME) && !wanted.contains_key(metadata.namespace.as_deref().unwrap_or_default())
        };
        for role in stores.roles.state().iter().filter(|role| is_over(&role.metadata)) {
            failed = failed.and(context.applier.delete(Some(&**role)).await);
        }
        for binding in stores.bindings.state().iter().filter(|binding| is_over(&binding.metadata)) {
            failed = failed.and(context.applier.delete(Some(&**binding)).await);
        }
        failed
    }

    /// Looks at those whose time has come. Returns when the next one's will have.
    pub(super) async fn look(&mut self, decision: &Decision) -> Option<Duration> {
        let named: BTreeSet<&Place> = named(decision).collect();
        self.seen.retain(|place, _| named.contains(place));
        let began = Instant::now();
        let due = named.into_iter().filter(|place| self.seen.get(*place).is_none_or(|(at, _)| *at <= began));
        let client = &self.client;
        let looked = stream::iter(due).map(|place| async move { (place.clone(), problem(client, place).await) });
        let looked: Vec<_> = looked.buffer_unordered(AT_ONCE).collect().await;
        for (place, looked) in looked {
            // An API server that does not answer says nothing of a Secret.
            let is_known = looked.is_some();
            let problem = looked.unwrap_or_else(|| self.problem(&place));
            let pause = if problem.is_some() || !is_known { OFTEN } else { NOW_AND_THEN };
            self.seen.insert(place, (Instant::now() + pause, problem));
        }
        let next = self.seen.values().map(|(at, _)| *at).min();
        next.map(|next| next.saturating_duration_since(Instant::now()))
    }

    /// What is wrong with one that was looked at.
    pub(super) fn problem(&self, secret: &Place) -> Option<String> {
        self.seen.get(secret).and_then(|(_, problem)| problem.clone())
    }
}

fn named(decision: &Decision) -> impl Iterator<Item = &Place> {
    decision.gateways.values().flat_map(|gateway| &gateway.listeners).flat_map(|listener| &listener.certificates)
}

/// What is wrong with a Secret, if anything is; none where that cannot be known now.
async fn problem(client: &Client, place: &Place) -> Option<Option<String>> {
    match Api::<Secret>::namespaced(client.clone(), &place.namespace).get_opt(&place.name).await {
        Ok(None) => Some(Some(format!("there is no Secret {place}"))),
        Ok(Some(secret)) => {
            let data = secret.data.unwrap_or_default();
            let bytes = |key: &str| data.get(key).map(|bytes| bytes.0.as_slice()).unwrap_or_default();
            let read = Certificate::read(bytes("tls.crt"), bytes("tls.key"));
            Some(read.err().map(|error| format!("Secret {place} is of no use: {error}")))
        }
        Err(kube::Error::Api(status)) if status.is_forbidden() => Some(Some(format!("waiting until Secret {place} may be read"))),
        Err(error) => {
            tracing::warn!(secret = %place, %error, "failed to look at a certificate; it is tried again");
            None
        }
    }
}

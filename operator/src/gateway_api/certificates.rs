//! What Gateways and policies name: the Secrets with certificates and the ConfigMaps with authorities, who may read them, and whether they are any
//! good.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use eddy_certificates::{Certificate, read_authorities};
use eddy_crds::{MANAGED_BY, MANAGED_BY_LABEL};
use eddy_gateway_api::{Decision, Place};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client};
use tokio::time::Instant;

use super::stores::Stores;
use crate::certificates::desired;
use crate::context::Context;
use crate::error::ReconcileError;

/// Of the Role and its binding in each namespace with such an object.
const NAME: &str = "eddy-gateway-api-certificates";
/// They are not watched: one that is no good is looked at again after this,
const OFTEN: Duration = Duration::from_secs(2);
/// and one that is after this.
const NOW_AND_THEN: Duration = Duration::from_secs(20);
/// So many are asked for at once.
const AT_ONCE: usize = 8;

/// An object that is read by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Named {
    /// A Secret with a certificate.
    Certificate(Place),
    /// A ConfigMap with authorities.
    Authorities(Place),
}

impl Named {
    const fn place(&self) -> &Place {
        match self {
            Self::Certificate(place) | Self::Authorities(place) => place,
        }
    }

    /// Its kind, as it is called in addresses.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "secrets",
            Self::Authorities(_) => "configmaps",
        }
    }
}

/// What was last seen of each.
pub(super) struct Certificates {
    client: Client,
    seen: HashMap<Named, (Instant, Option<String>)>,
}

impl Certificates {
    pub(super) fn new(client: Client) -> Self {
        Self { client, seen: HashMap::new() }
    }

    /// Lets gateways and the operator read what is named, and nothing else.
    pub(super) async fn grant(&self, decision: &Decision, stores: &Stores, context: &Context) -> Result<(), ReconcileError> {
        let named = named(decision);
        let mut wanted: BTreeMap<&str, BTreeMap<&'static str, BTreeSet<String>>> = BTreeMap::new();
        for one in &named {
            let of_namespace = wanted.entry(&one.place().namespace).or_default();
            of_namespace.entry(one.kind()).or_default().insert(one.place().name.clone());
        }
        let metadata = |namespace: &str| ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into()),
            ..ObjectMeta::default()
        };
        let mut failed = Ok(());
        for (namespace, names) in &wanted {
            let role = stores.roles.get(&ObjectRef::new(NAME).within(namespace));
            let binding = stores.bindings.get(&ObjectRef::new(NAME).within(namespace));
            let desired_role = desired::role(metadata(namespace), names.clone());
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
        let named = named(decision);
        self.seen.retain(|one, _| named.contains(one));
        let began = Instant::now();
        let due = named.into_iter().filter(|one| self.seen.get(one).is_none_or(|(at, _)| *at <= began));
        let client = &self.client;
        let looked = stream::iter(due).map(|one| async move {
            let looked = look_at(client, &one).await;
            (one, looked)
        });
        let looked: Vec<_> = looked.buffer_unordered(AT_ONCE).collect().await;
        for (one, looked) in looked {
            // An API server that does not answer says nothing of an object.
            let is_known = looked.is_some();
            let problem = looked.unwrap_or_else(|| self.problem(&one));
            let pause = if problem.is_some() || !is_known { OFTEN } else { NOW_AND_THEN };
            self.seen.insert(one, (Instant::now() + pause, problem));
        }
        let next = self.seen.values().map(|(at, _)| *at).min();
        next.map(|next| next.saturating_duration_since(Instant::now()))
    }

    /// What is wrong with one that was looked at.
    pub(super) fn problem(&self, one: &Named) -> Option<String> {
        self.seen.get(one).and_then(|(_, problem)| problem.clone())
    }
}

/// What is named and counts.
fn named(decision: &Decision) -> BTreeSet<Named> {
    let listeners = || decision.gateways.values().flat_map(|gateway| &gateway.listeners);
    let shown = decision.gateways.values().filter_map(|gateway| gateway.client_certificate.as_ref()?.as_ref().ok());
    let certificates = listeners().flat_map(|listener| &listener.certificates).chain(shown).cloned().map(Named::Certificate);
    let policies = decision.policies.iter().filter(|policy| policy.counts());
    let of_backends = policies.flat_map(|policy| policy.tls.config_maps());
    let of_clients = listeners().filter_map(|listener| listener.clients.as_ref()).flat_map(|clients| &clients.authorities);
    certificates.chain(of_backends.chain(of_clients).cloned().map(Named::Authorities)).collect()
}

/// What is wrong with an object, if anything is; none where that cannot be known now.
async fn look_at(client: &Client, one: &Named) -> Option<Option<String>> {
    let place = one.place();
    let looked = match one {
        Named::Certificate(_) => {
            Api::<Secret>::namespaced(client.clone(), &place.namespace).get_opt(&place.name).await.map(|secret| {
                let Some(secret) = secret else { return Some(format!("there is no Secret {place}")) };
                let data = secret.data.unwrap_or_default();
                let bytes = |key: &str| data.get(key).map(|bytes| bytes.0.as_slice()).unwrap_or_default();
                let read = Certificate::read(bytes("tls.crt"), bytes("tls.key"));
                read.err().map(|error| format!("Secret {place} is of no use: {error}"))
            })
        }
        Named::Authorities(_) => {
            Api::<ConfigMap>::namespaced(client.clone(), &place.namespace).get_opt(&place.name).await.map(|map| {
                let Some(map) = map else { return Some(format!("there is no ConfigMap {place}")) };
                let Some(text) = map.data.unwrap_or_default().remove("ca.crt") else {
                    return Some(format!("ConfigMap {place} has no ca.crt"));
                };
                read_authorities(text.as_bytes()).err().map(|error| format!("ca.crt of ConfigMap {place} is of no use: {error}"))
            })
        }
    };
    match looked {
        Ok(problem) => Some(problem),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Some(Some(format!("waiting until {place} may be read"))),
        Err(error) => {
            tracing::warn!(object = %place, %error, "failed to look at what is named; it is tried again");
            None
        }
    }
}

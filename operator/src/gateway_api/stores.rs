//! What is known of the objects that decisions hang on.

use std::collections::BTreeMap;
use std::sync::Arc;

use eddy_gateway_api::types::{Gateway, GatewayClass, HttpRoute, ReferenceGrant};
use eddy_gateway_api::{Place, ServiceInput, doors, place_of};
use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::runtime::reflector::Store;
use kube::{Client, ResourceExt};

use super::status::is_ours;
use crate::watching::{Changes, all, children};

/// Everything of each kind, kept by watches.
pub(super) struct Stores {
    classes: Store<GatewayClass>,
    gateways: Store<Gateway>,
    http_routes: Store<HttpRoute>,
    grants: Store<ReferenceGrant>,
    namespaces: Store<Namespace>,
    services: Store<Service>,
    pub(super) roles: Store<Role>,
    pub(super) bindings: Store<RoleBinding>,
}

/// What is there at one time.
pub(super) struct World {
    pub(super) classes: Vec<Arc<GatewayClass>>,
    gateways: Vec<Arc<Gateway>>,
    http_routes: Vec<Arc<HttpRoute>>,
    grants: Vec<Arc<ReferenceGrant>>,
    /// Labels by name.
    pub(super) namespaces: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) services: BTreeMap<Place, ServiceInput>,
    all_services: Vec<Arc<Service>>,
}

impl Stores {
    /// Begins to watch. The stream says when anything changes, and drives the watches.
    pub(super) fn watch(client: &Client) -> (Self, SelectAll<BoxStream<'static, ()>>) {
        let mut changes = SelectAll::new();
        macro_rules! store {
            ($watched:expr, $name:literal) => {{
                let (store, watched) = $watched;
                changes.push(told($name, watched));
                store
            }};
        }
        let stores = Self {
            classes: store!(all(client), "GatewayClasses"),
            gateways: store!(all(client), "Gateways"),
            http_routes: store!(all(client), "HTTPRoutes"),
            grants: store!(all(client), "ReferenceGrants"),
            namespaces: store!(all(client), "Namespaces"),
            services: store!(all(client), "Services"),
            roles: store!(children(client, |_: &mut Role| {}), "Roles"),
            bindings: store!(children(client, |_: &mut RoleBinding| {}), "RoleBindings"),
        };
        // What is there may be nothing, which changes nothing: it is looked at all the same.
        changes.push(futures::stream::once(std::future::ready(())).boxed());
        (stores, changes)
    }

    /// Whether each has been filled.
    pub(super) fn are_filled(&self) -> bool {
        macro_rules! filled {
            ($($store:ident),+) => {
                true $(&& self.$store.wait_until_ready().now_or_never().is_some())+
            };
        }
        filled!(classes, gateways, http_routes, grants, namespaces, services, roles, bindings)
    }

    /// What is there now.
    pub(super) fn known(&self) -> World {
        let all_services = self.services.state();
        let labels = |namespace: Arc<Namespace>| (namespace.name_any(), namespace.labels().clone());
        World {
            classes: self.classes.state(),
            gateways: self.gateways.state(),
            http_routes: self.http_routes.state(),
            grants: self.grants.state(),
            namespaces: self.namespaces.state().into_iter().map(labels).collect(),
            services: all_services.iter().map(|service| (place_of(&**service), ServiceInput::of(service))).collect(),
            all_services,
        }
    }
}

impl World {
    /// The Gateways of our classes.
    pub(super) fn gateways(&self) -> Vec<&Gateway> {
        let class = |gateway: &Gateway| {
            self.classes.iter().any(|class| is_ours(class) && class.name_any() == gateway.spec.gateway_class_name)
        };
        self.gateways.iter().map(|gateway| &**gateway).filter(|gateway| class(gateway)).collect()
    }

    pub(super) fn routes(&self) -> Vec<&HttpRoute> {
        self.http_routes.iter().map(|route| &**route).collect()
    }

    pub(super) fn grants(&self) -> Vec<&ReferenceGrant> {
        self.grants.iter().map(|grant| &**grant).collect()
    }

    /// The Services of Gateways, and which each is of.
    pub(super) fn opened(&self, system_namespace: &str) -> Vec<(Place, Arc<Service>)> {
        let ours = self.all_services.iter().filter(|service| service.namespace().as_deref() == Some(system_namespace));
        ours.filter_map(|service| Some((doors(service)?.0, service.clone()))).collect()
    }
}

/// Only that something changed: what it is, is in the stores.
fn told<K: Send + 'static>(name: &'static str, changes: Changes<K>) -> BoxStream<'static, ()> {
    let told = changes.filter_map(move |change| async move {
        if let Err(error) = change {
            tracing::warn!(%error, "failed to watch {name}: going by what is known");
            return None;
        }
        Some(())
    });
    told.boxed()
}

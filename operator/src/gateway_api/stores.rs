//! What is known of the objects that decisions hang on.

use std::collections::BTreeMap;
use std::sync::Arc;

use eddy_gateway_api::types::{
    BackendTlsPolicy, Gateway, GatewayClass, GrpcRoute, HttpRoute, ListenerSet, ReferenceGrant, TcpRoute, TlsRoute, UdpRoute,
};
use eddy_gateway_api::{Place, ServiceInput, doors, place_of};
use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::runtime::reflector::Store;
use kube::{Client, ResourceExt};

use super::status::{is_ours, is_run};
use crate::watching::{Changes, all, children};

/// Everything of each kind, kept by watches.
pub(super) struct Stores {
    classes: Store<GatewayClass>,
    gateways: Store<Gateway>,
    listener_sets: Store<ListenerSet>,
    http_routes: Store<HttpRoute>,
    grpc_routes: Store<GrpcRoute>,
    tls_routes: Store<TlsRoute>,
    tcp_routes: Store<TcpRoute>,
    udp_routes: Store<UdpRoute>,
    tls_policies: Store<BackendTlsPolicy>,
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
    listener_sets: Vec<Arc<ListenerSet>>,
    http_routes: Vec<Arc<HttpRoute>>,
    grpc_routes: Vec<Arc<GrpcRoute>>,
    tls_routes: Vec<Arc<TlsRoute>>,
    tcp_routes: Vec<Arc<TcpRoute>>,
    udp_routes: Vec<Arc<UdpRoute>>,
    tls_policies: Vec<Arc<BackendTlsPolicy>>,
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
            listener_sets: store!(all(client), "ListenerSets"),
            http_routes: store!(all(client), "HTTPRoutes"),
            grpc_routes: store!(all(client), "GRPCRoutes"),
            tls_routes: store!(all(client), "TLSRoutes"),
            tcp_routes: store!(all(client), "TCPRoutes"),
            udp_routes: store!(all(client), "UDPRoutes"),
            tls_policies: store!(all(client), "BackendTLSPolicies"),
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
        filled!(
            classes,
            gateways,
            listener_sets,
            http_routes,
            grpc_routes,
            tls_routes,
            tcp_routes,
            udp_routes,
            tls_policies,
            grants,
            namespaces,
            services,
            roles,
            bindings
        )
    }

    /// What is there now.
    pub(super) fn known(&self) -> World {
        let all_services = self.services.state();
        let labels = |namespace: Arc<Namespace>| (namespace.name_any(), namespace.labels().clone());
        World {
            classes: self.classes.state(),
            gateways: self.gateways.state(),
            listener_sets: self.listener_sets.state(),
            http_routes: self.http_routes.state(),
            grpc_routes: self.grpc_routes.state(),
            tls_routes: self.tls_routes.state(),
            tcp_routes: self.tcp_routes.state(),
            udp_routes: self.udp_routes.state(),
            tls_policies: self.tls_policies.state(),
            grants: self.grants.state(),
            namespaces: self.namespaces.state().into_iter().map(labels).collect(),
            services: all_services.iter().map(|service| (place_of(&**service), ServiceInput::of(service))).collect(),
            all_services,
        }
    }
}

impl World {
    /// The Gateways that are run here, the oldest first.
    pub(super) fn gateways(&self) -> Vec<&Gateway> {
        let mut gateways: Vec<&Gateway> =
            self.gateways.iter().map(|gateway| &**gateway).filter(|gateway| self.class(gateway).is_some_and(is_run)).collect();
        gateways.sort_by_cached_key(|gateway| (gateway.creation_timestamp().map(|time| time.0), place_of(*gateway)));
        gateways
    }

    /// The Gateways whose addresses are kept: those of classes of ours, and those of no class, which may come back.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Gateway> {
        self.gateways.iter().map(|gateway| &**gateway).filter(|gateway| self.class(gateway).is_none_or(is_ours))
    }

    fn class(&self, gateway: &Gateway) -> Option<&GatewayClass> {
        self.classes.iter().map(|class| &**class).find(|class| class.name_any() == gateway.spec.gateway_class_name)
    }

    pub(super) fn listener_sets(&self) -> Vec<&ListenerSet> {
        self.listener_sets.iter().map(|set| &**set).collect()
    }

    pub(super) fn http_routes(&self) -> Vec<&HttpRoute> {
        self.http_routes.iter().map(|route| &**route).collect()
    }

    pub(super) fn grpc_routes(&self) -> Vec<&GrpcRoute> {
        self.grpc_routes.iter().map(|route| &**route).collect()
    }

    pub(super) fn tls_routes(&self) -> Vec<&TlsRoute> {
        self.tls_routes.iter().map(|route| &**route).collect()
    }

    pub(super) fn tcp_routes(&self) -> Vec<&TcpRoute> {
        self.tcp_routes.iter().map(|route| &**route).collect()
    }

    pub(super) fn udp_routes(&self) -> Vec<&UdpRoute> {
        self.udp_routes.iter().map(|route| &**route).collect()
    }

    pub(super) fn tls_policies(&self) -> Vec<&BackendTlsPolicy> {
        self.tls_policies.iter().map(|policy| &**policy).collect()
    }

    pub(super) fn grants(&self) -> Vec<&ReferenceGrant> {
        self.grants.iter().map(|grant| &**grant).collect()
    }

    /// Whether the Gateway that a ListenerSet is for is there, whoever runs it.
    pub(super) fn has_parent(&self, set: &ListenerSet) -> bool {
        let (place, parent) = (place_of(set), &set.spec.parent_ref);
        let of = Place::new(parent.namespace.as_deref().unwrap_or(&place.namespace), &parent.name);
        self.gateways.iter().any(|gateway| place_of(&**gateway) == of)
    }

    /// The Services of Gateways, the oldest first.
    pub(super) fn opened(&self, system_namespace: &str) -> Vec<&Service> {
        let is_one = |service: &&Service| service.namespace().as_deref() == Some(system_namespace) && doors(service).is_some();
        let mut opened: Vec<&Service> = self.all_services.iter().map(|service| &**service).filter(is_one).collect();
        opened.sort_by_cached_key(|service| (service.creation_timestamp().map(|time| time.0), service.name_any()));
        opened
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

//! What is known of the Gateway API's objects.

use std::collections::BTreeMap;

use eddy_gateway_api::types::{
    BackendTlsPolicy, Gateway, GatewayClass, GrpcRoute, HttpRoute, ListenerSet, ReferenceGrant, TcpRoute, TlsRoute, UdpRoute,
};
use eddy_gateway_api::{CONTROLLER, Door, Place, ServiceInput, World, place_of};
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

/// What becomes of objects of one kind.
#[derive(Debug)]
pub(crate) enum Turn<T> {
    /// One is new, or another than before.
    Is(T),
    /// One is gone.
    Gone(Place),
    /// These are all.
    All(Vec<T>),
}

/// A change to objects of one of the kinds.
#[derive(Debug)]
pub(crate) enum ApiChange {
    Classes(Turn<GatewayClass>),
    Gateways(Turn<Gateway>),
    ListenerSets(Turn<ListenerSet>),
    HttpRoutes(Turn<HttpRoute>),
    GrpcRoutes(Turn<GrpcRoute>),
    TlsRoutes(Turn<TlsRoute>),
    TcpRoutes(Turn<TcpRoute>),
    UdpRoutes(Turn<UdpRoute>),
    TlsPolicies(Turn<BackendTlsPolicy>),
    Grants(Turn<ReferenceGrant>),
    Namespaces(Turn<Namespace>),
    Services(Turn<Service>),
}

/// Everything that is known of them. Objects are without what says nothing to the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ApiInputs {
    /// Whether each class is run here.
    classes: BTreeMap<String, bool>,
    #[serde(with = "by_place")]
    gateways: BTreeMap<Place, Gateway>,
    #[serde(with = "by_place", default)]
    listener_sets: BTreeMap<Place, ListenerSet>,
    #[serde(with = "by_place")]
    http_routes: BTreeMap<Place, HttpRoute>,
    #[serde(with = "by_place", default)]
    grpc_routes: BTreeMap<Place, GrpcRoute>,
    #[serde(with = "by_place", default)]
    tls_routes: BTreeMap<Place, TlsRoute>,
    #[serde(with = "by_place", default)]
    tcp_routes: BTreeMap<Place, TcpRoute>,
    #[serde(with = "by_place", default)]
    udp_routes: BTreeMap<Place, UdpRoute>,
    /// None before they were listed: who must be reached by TLS is not known.
    #[serde(default)]
    tls_policies: Option<Policies>,
    #[serde(with = "by_place")]
    grants: BTreeMap<Place, ReferenceGrant>,
    /// Labels by name.
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(with = "by_place")]
    services: BTreeMap<Place, ServiceInput>,
    /// What is opened for Gateways, by the Service that says so.
    #[serde(with = "by_place")]
    doors: BTreeMap<Place, (Place, Vec<Door>)>,
}

/// Policies by their place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Policies(#[serde(with = "by_place")] BTreeMap<Place, BackendTlsPolicy>);

/// Keys of maps in JSON are text, which a place is not.
mod by_place {
    use std::collections::BTreeMap;

    use eddy_gateway_api::Place;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<V: Serialize, S: Serializer>(map: &BTreeMap<Place, V>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Place, V>, D::Error> {
        Vec::<(Place, V)>::deserialize(deserializer).map(|pairs| pairs.into_iter().collect())
    }
}

impl ApiInputs {
    /// Takes in a change; true if tables may be others by it. Only Services of this namespace say what is opened for Gateways: whoever writes
    /// others could take the ports of Gateways that are not theirs.
    pub(crate) fn apply(&mut self, change: ApiChange, system_namespace: &str) -> bool {
        match change {
            ApiChange::Classes(turn) => apply(
                &mut self.classes,
                turn,
                |class| class.name_any(),
                |place| place.name.clone(),
                |class| class.spec.controller_name == CONTROLLER && class.spec.parameters_ref.is_none(),
            ),
            ApiChange::Gateways(turn) => apply_objects(&mut self.gateways, turn, |gateway| gateway.status = None),
            ApiChange::ListenerSets(turn) => apply_objects(&mut self.listener_sets, turn, |set| set.status = None),
            ApiChange::HttpRoutes(turn) => apply_objects(&mut self.http_routes, turn, |route| route.status = None),
            ApiChange::GrpcRoutes(turn) => apply_objects(&mut self.grpc_routes, turn, |route| route.status = None),
            ApiChange::TlsRoutes(turn) => apply_objects(&mut self.tls_routes, turn, |route| route.status = None),
            ApiChange::TcpRoutes(turn) => apply_objects(&mut self.tcp_routes, turn, |route| route.status = None),
            ApiChange::UdpRoutes(turn) => apply_objects(&mut self.udp_routes, turn, |route| route.status = None),
            ApiChange::TlsPolicies(turn) => {
                let is_first = self.tls_policies.is_none() && matches!(turn, Turn::All(_));
                let known = &mut self.tls_policies.get_or_insert_default().0;
                apply_objects(known, turn, |policy| policy.status = None) || is_first
            }
            ApiChange::Grants(turn) => apply_objects(&mut self.grants, turn, |_| {}),
            ApiChange::Namespaces(turn) => {
                let labels = |namespace: Namespace| namespace.metadata.labels.unwrap_or_default();
                apply(&mut self.namespaces, turn, ResourceExt::name_any, |place| place.name.clone(), labels)
            }
            ApiChange::Services(turn) => self.apply_services(turn, system_namespace),
        }
    }

    fn apply_services(&mut self, turn: Turn<Service>, system_namespace: &str) -> bool {
        let doors = |service: &Service| {
            eddy_gateway_api::doors(service).filter(|_| service.namespace().as_deref() == Some(system_namespace))
        };
        let before = self.doors.clone();
        match &turn {
            Turn::Is(service) => {
                let place = place_of(service);
                match doors(service) {
                    Some(doors) => drop(self.doors.insert(place, doors)),
                    None => drop(self.doors.remove(&place)),
                }
            }
            Turn::Gone(place) => drop(self.doors.remove(place)),
            Turn::All(services) => {
                self.doors = services.iter().filter_map(|service| Some((place_of(service), doors(service)?))).collect();
            }
        }
        let changed = apply(&mut self.services, turn, place_of, Clone::clone, |service| ServiceInput::of(&service));
        changed || self.doors != before
    }

    /// What is opened for each Gateway.
    pub(super) fn doors(&self) -> impl Iterator<Item = (&Place, Door)> {
        self.doors.values().flat_map(|(gateway, doors)| doors.iter().map(move |door| (gateway, *door)))
    }

    /// Calls with what there is to decide about.
    pub(super) fn with_world<R>(&self, decide: impl FnOnce(&World<'_>) -> R) -> R {
        let is_ours = |gateway: &&Gateway| self.classes.get(&gateway.spec.gateway_class_name).is_some_and(|is_ours| *is_ours);
        let gateways: Vec<&Gateway> = self.gateways.values().filter(is_ours).collect();
        let (http_routes, grpc_routes): (Vec<_>, Vec<_>) =
            (self.http_routes.values().collect(), self.grpc_routes.values().collect());
        let grants: Vec<_> = self.grants.values().collect();
        let (namespaces, services) = (&self.namespaces, &self.services);
        let tls_policies: Option<Vec<_>> = self.tls_policies.as_ref().map(|policies| policies.0.values().collect());
        decide(&World {
            gateways: &gateways,
            listener_sets: &self.listener_sets.values().collect::<Vec<_>>(),
            http_routes: &http_routes,
            grpc_routes: &grpc_routes,
            tls_routes: &self.tls_routes.values().collect::<Vec<_>>(),
            tcp_routes: &self.tcp_routes.values().collect::<Vec<_>>(),
            udp_routes: &self.udp_routes.values().collect::<Vec<_>>(),
            tls_policies: tls_policies.as_deref(),
            grants: &grants,
            namespaces,
            services,
        })
    }
}

/// What is needed of an object's metadata.
fn essence(metadata: ObjectMeta) -> ObjectMeta {
    let ObjectMeta { name, namespace, creation_timestamp, .. } = metadata;
    ObjectMeta { name, namespace, creation_timestamp, ..ObjectMeta::default() }
}

/// The same of objects that are kept as they are, without what says nothing to the gateway.
fn apply_objects<T: ResourceExt + PartialEq>(known: &mut BTreeMap<Place, T>, turn: Turn<T>, forget_status: fn(&mut T)) -> bool {
    apply(known, turn, place_of, Clone::clone, |mut object| {
        forget_status(&mut object);
        let metadata = std::mem::take(object.meta_mut());
        *object.meta_mut() = essence(metadata);
        object
    })
}

/// Takes objects of one kind in; true if anything is another than before.
fn apply<T, K: Ord, V: PartialEq>(
    known: &mut BTreeMap<K, V>,
    turn: Turn<T>,
    key: impl Fn(&T) -> K,
    key_of: impl Fn(&Place) -> K,
    value: impl Fn(T) -> V,
) -> bool {
    match turn {
        Turn::Is(object) => {
            let (key, value) = (key(&object), value(object));
            if known.get(&key) == Some(&value) {
                return false;
            }
            known.insert(key, value);
            true
        }
        Turn::Gone(place) => known.remove(&key_of(&place)).is_some(),
        Turn::All(objects) => {
            let all = objects.into_iter().map(|object| (key(&object), value(object))).collect();
            let changed = *known != all;
            *known = all;
            changed
        }
    }
}

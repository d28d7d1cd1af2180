//! Watches of the Gateway API's objects, and of what they name.

use std::fmt::Debug;

use eddy_gateway_api::Place;
use eddy_watch::watch;
use kube::core::DeserializeGuard;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::inputs::{ApiChange, Turn};
use crate::metrics::Metrics;
use crate::watch::{Change, Kind};

/// Which kinds have been listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u16);

impl Kinds {
    /// All of them.
    const ALL: u16 = 0b1111_1111_1111;

    /// Takes note of what a change lists.
    pub(crate) fn note(&mut self, change: &ApiChange) {
        self.0 |= match change {
            ApiChange::Classes(Turn::All(_)) => 1,
            ApiChange::Gateways(Turn::All(_)) => 1 << 1,
            ApiChange::HttpRoutes(Turn::All(_)) => 1 << 2,
            ApiChange::Grants(Turn::All(_)) => 1 << 3,
            ApiChange::Namespaces(Turn::All(_)) => 1 << 4,
            ApiChange::Services(Turn::All(_)) => 1 << 5,
            ApiChange::GrpcRoutes(Turn::All(_)) => 1 << 6,
            ApiChange::TlsRoutes(Turn::All(_)) => 1 << 7,
            ApiChange::TcpRoutes(Turn::All(_)) => 1 << 8,
            ApiChange::UdpRoutes(Turn::All(_)) => 1 << 9,
            ApiChange::ListenerSets(Turn::All(_)) => 1 << 10,
            ApiChange::TlsPolicies(Turn::All(_)) => 1 << 11,
            _ => 0,
        };
    }

    /// Whether all have been.
    pub(crate) fn are_all(self) -> bool {
        self.0 == Self::ALL
    }
}

/// Watches all kinds for as long as somebody takes their changes.
pub(crate) async fn follow(client: Client, changes: mpsc::Sender<Change>, metrics: Metrics) {
    macro_rules! follow {
        ($kind:ident, $name:literal) => {
            kind($name, |turn| Change::GatewayApi(Box::new(ApiChange::$kind(turn))), &client, &changes, &metrics)
        };
    }
    tokio::join!(
        follow!(Classes, "GatewayClasses"),
        follow!(Gateways, "Gateways"),
        follow!(ListenerSets, "ListenerSets"),
        follow!(HttpRoutes, "HTTPRoutes"),
        follow!(GrpcRoutes, "GRPCRoutes"),
        follow!(TlsRoutes, "TLSRoutes"),
        follow!(TcpRoutes, "TCPRoutes"),
        follow!(UdpRoutes, "UDPRoutes"),
        follow!(TlsPolicies, "BackendTLSPolicies"),
        follow!(Grants, "ReferenceGrants"),
        follow!(Namespaces, "Namespaces"),
        follow!(Services, "Services"),
    );
}

async fn kind<K>(
    name: &'static str,
    change: fn(Turn<K>) -> Change,
    client: &Client,
    changes: &mpsc::Sender<Change>,
    metrics: &Metrics,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let kind = Kind {
        name,
        read: move |guarded: DeserializeGuard<K>| match guarded.0 {
            Ok(object) => Some(object),
            Err(invalid) => {
                tracing::warn!(namespace = ?invalid.metadata.namespace, name = ?invalid.metadata.name, error = invalid.error, "skipped one of {name} that is malformed");
                None
            }
        },
        one: move |object| change(Turn::Is(object)),
        gone: move |place: Place| change(Turn::Gone(place)),
        all: move |objects| change(Turn::All(objects)),
    };
    let api = Api::<DeserializeGuard<K>>::all(client.clone());
    kind.follow(watch(api, watcher::Config::default()), changes.clone(), metrics.clone()).await;
}

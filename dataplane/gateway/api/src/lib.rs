//! The Gateway API v1.6 without I/O: which Routes are attached to which listeners of which Gateways, and what becomes of their requests.
//!
//! The gateway serves from a [`Decision`], and the operator writes it into statuses: both by [`decide`], so a status never says other than what
//! is served. The objects as they are written are in [`types`].

mod decide;
mod doors;
mod place;
pub mod types;

pub use self::decide::{
    Attachment, Authorities, Backend, BackendPort, BackendTls, CONTROLLER, CertificateName, Clients, Decision, FEATURES,
    GatewayDecision, HttpRule, ListenerDecision, ListenerSetDecision, Mirrored, ParentDecision, PolicyDecision, Problem,
    Protocol, RouteDecision, RouteKind, ServiceInput, ServicePortInput, World, decide,
};
pub use self::doors::{DOOR_PORTS, Door, GATEWAY_ANNOTATION, doors};
pub use self::place::{Place, place_of};

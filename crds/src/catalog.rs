//! Every kind's definition, and its YAML.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{Container, Domain, Namespace, Network, Route, ServiceAccount, Token, User, Vm, Volume};

/// The definition of every kind, in the order of the documentation.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        User::crd(),
        Namespace::crd(),
        Container::crd(),
        Vm::crd(),
        Volume::crd(),
        Network::crd(),
        Route::crd(),
        Domain::crd(),
        ServiceAccount::crd(),
        Token::crd(),
    ]
}

/// A definition as YAML, ready for `kubectl apply`.
///
/// # Errors
/// Where the definition cannot be serialised, which would be a fault of its type.
pub fn to_yaml(definition: &CustomResourceDefinition) -> Result<String, serde_saphyr::SerializeError> {
    serde_saphyr::to_string(definition)
}

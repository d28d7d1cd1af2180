//! Whose objects a Gateway or a listener lets in, by their namespaces.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};

use super::World;
use crate::types::Namespaces;

/// Whether objects of a namespace are let in by what is of another. `unless_said` is what holds where nothing is.
pub(super) fn are_let(
    namespaces: Option<&Namespaces>,
    unless_said: &str,
    (namespace, own): (&str, &str),
    world: &World<'_>,
) -> bool {
    match namespaces.and_then(|namespaces| namespaces.from.as_deref()).unwrap_or(unless_said) {
        "All" => true,
        "Same" => namespace == own,
        "Selector" => {
            let selector = namespaces.and_then(|namespaces| namespaces.selector.as_ref());
            selector.is_some_and(|selector| selects(selector, namespace, world))
        }
        _ => false,
    }
}

fn selects(selector: &LabelSelector, namespace: &str, world: &World<'_>) -> bool {
    let Ok(selector) = Selector::try_from(selector.clone()) else { return false };
    world.namespaces.get(namespace).is_some_and(|labels| selector.matches(labels))
}

//! Who may name what from other namespaces.

use std::collections::HashMap;

use kube::ResourceExt;

use crate::place::Place;
use crate::types::{GROUP, ReferenceGrant};

/// Grants by the namespace that they are of.
pub(super) struct Grants<'a>(HashMap<String, Vec<&'a ReferenceGrant>>);

impl<'a> Grants<'a> {
    pub(super) fn new(grants: &[&'a ReferenceGrant]) -> Self {
        let mut by_namespace: HashMap<String, Vec<&ReferenceGrant>> = HashMap::new();
        for grant in grants {
            by_namespace.entry(grant.namespace().unwrap_or_default()).or_default().push(grant);
        }
        Self(by_namespace)
    }

    /// Whether objects of a kind of the Gateway API, in a namespace, may name this object of Kubernetes' own group.
    pub(super) fn permit(&self, (kind, namespace): (&str, &str), (to_kind, to): (&str, &Place)) -> bool {
        namespace == to.namespace
            || self.0.get(&to.namespace).into_iter().flatten().any(|grant| {
                let from =
                    |from: &crate::types::GrantFrom| from.group == GROUP && from.kind == kind && from.namespace == namespace;
                let names = |one: &crate::types::GrantTo| {
                    one.group.is_empty() && one.kind == to_kind && one.name.as_ref().is_none_or(|name| *name == to.name)
                };
                grant.spec.from.iter().any(from) && grant.spec.to.iter().any(names)
            })
    }
}

//! Scopes: what a principal may do, to what.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A scope and what may be done within it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Scope {
    /// `<service>.<user>.<resource>[.<id>]`. A broader scope grants the narrower.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^(compute|storage|networking|registry|queue|datastore|observability|identity)[.][a-z]([-a-z0-9]*[a-z0-9])?[.][a-z]+([.][^ ]+)?$')")
        .message("must be <service>.<user>.<resource>[.<id>], as in storage.ada.files, with service one of compute, storage, networking, registry, queue, datastore, observability, identity"))]
    pub scope: String,
    /// What may be done, as in `read`, `create`, `delete`.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 32)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(a, a.matches('^[a-z]+$'))").message("each action is one lower-case word, as in read"))]
    pub actions: Vec<String>,
}

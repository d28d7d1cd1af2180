//! The custom resources of `eddy.cloud/v1alpha1`: types, schemas and validation rules, and nothing else.
//!
//! Every kind carries its rules in the schema (OpenAPI bounds and CEL), so that the API server
//! refuses a bad object with a sentence that says what to do, whoever writes it.
//! `crds/yaml/` holds what these types generate; the tests compare the two.

// The derive macro copies each struct into a function to compute its schema; the copies keep their `pub`.
#![allow(unreachable_pub)]

mod catalog;
mod condition;
mod container;
mod domain;
mod meta;
mod namespace;
mod network;
mod probe;
mod route;
mod rules;
mod scope;
mod service_account;
mod token;
mod user;
mod vm;
mod volume;

pub use self::catalog::{all, to_yaml};
pub use self::condition::{Conditioned, Status};
pub use self::container::{
    Access, Arch, Container, ContainerPort, ContainerSpec, ContainerStatus, EnvVar, PortProtocol, Resources, RestartPolicy,
    SecretKey, Ssh, VolumeMount,
};
pub use self::domain::{Domain, DomainAnswer, DomainChallenge, DomainFailure, DomainOrder, DomainSpec, DomainStatus};
pub use self::meta::{
    CONTAINER_LABEL, FIELD_MANAGER, GROUP, MANAGED_BY, MANAGED_BY_LABEL, STORAGE_FINALIZER, TENANT_LABEL, core_namespace,
    tenant_of,
};
pub use self::namespace::{
    DeletionPolicy, Lifecycle, Namespace, NamespaceQuota, NamespaceSpec, NamespaceStatus, Redundancy, RedundancyMode, TierPolicy,
    Visibility,
};
pub use self::network::{Network, NetworkSpec};
pub use self::probe::{ExecProbe, HttpProbe, Probe, Probes, TcpProbe};
pub use self::route::{
    Backend, Cors, FieldMatch, FieldMatchType, HeaderEdits, HeaderValue, IpFilter, Mirror, PathEdit, PathMatch, PathMatchType,
    RateLimit, RateLimitKey, Redirect, RedirectScheme, Retries, Rewrite, Route, RouteMethod, RouteProtocol, RouteSpec,
    RouteStatus, RouteTls, Timeouts,
};
pub use self::scope::Scope;
pub use self::service_account::{ServiceAccount, ServiceAccountSpec};
pub use self::token::{TOKEN_SECRET_TYPE, Token, TokenRotation, TokenSecret, TokenSpec, TokenStatus};
pub use self::user::{OidcSubject, Quota, SshKey, User, UserSpec, UserStatus};
pub use self::vm::{CloudInit, Disk, RunStrategy, Vm, VmSpec, VmStatus};
pub use self::volume::{SnapshotPolicy, Volume, VolumeAccess, VolumeSpec, VolumeStatus};

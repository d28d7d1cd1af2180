//! The platform's own paths on its own host: what leads to the API, to identity and to files.

use std::str::FromStr;

use eddy_crds::{Backend, PathMatch, RouteSpec, Timeouts};
use eddy_router::Claimant;

use crate::inputs::{Place, RouteInput};

/// The platform's own services end requests themselves that nobody waits for, and are silent for long where they do much, as where a door
/// copies a large file.
const IDLE_SECONDS: i32 = 900;

/// The platform's own host, and what is behind it.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct PlatformOptions {
    /// The host of the platform itself, which no tenant's Route may have
    #[arg(long, env = "EDDY_PLATFORM_HOST")]
    platform_host: Option<String>,

    /// What is served there, as /path=service:port, where the port is that of the pods; may be given several times
    #[arg(long = "platform-path")]
    platform_paths: Vec<PlatformPath>,

    /// The core namespace of the platform's Services
    #[arg(long, env = "POD_NAMESPACE", default_value = "eddy-system")]
    platform_namespace: String,
}

/// A path, and the Service that answers there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlatformPath {
    path: String,
    service: String,
    port: u16,
}

/// It is written otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form /path=service:port")]
pub(crate) struct PlatformPathError(String);

impl FromStr for PlatformPath {
    type Err = PlatformPathError;

    fn from_str(text: &str) -> Result<Self, PlatformPathError> {
        let parsed = || {
            let (path, backend) = text.split_once('=').filter(|(path, _)| path.starts_with('/'))?;
            let (service, port) = backend.split_once(':').filter(|(service, _)| !service.is_empty())?;
            Some(Self { path: path.to_owned(), service: service.to_owned(), port: port.parse().ok()? })
        };
        parsed().ok_or_else(|| PlatformPathError(text.to_owned()))
    }
}

impl PlatformOptions {
    /// Where the platform is.
    pub(crate) fn namespace(&self) -> &str {
        &self.platform_namespace
    }

    /// Routes that lead there; none without a host. They come before all tenants'.
    pub(crate) fn routes(&self) -> Vec<RouteInput> {
        let Some(host) = self.platform_host.as_deref().filter(|host| !host.is_empty()) else { return Vec::new() };
        let claimant = Claimant::platform(&self.platform_namespace, vec![host.to_ascii_lowercase()]);
        let route = |path: &PlatformPath| RouteInput {
            place: Place { namespace: claimant.namespace.clone(), name: path.service.clone() },
            created: claimant.created,
            spec: RouteSpec {
                hosts: claimant.hosts.clone(),
                paths: vec![PathMatch { path: path.path.clone(), kind: None }],
                backends: vec![Backend { container: Some(path.service.clone()), vm: None, port: path.port.into(), weight: None }],
                timeouts: Timeouts { idle_seconds: IDLE_SECONDS, ..Timeouts::default() },
                ..RouteSpec::default()
            },
        };
        self.platform_paths.iter().map(route).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::endpoints::Registry;
    use crate::snapshot::compile;

    #[test]
    fn a_path_leads_to_a_service_and_a_port() {
        let path = PlatformPath { path: "/api/v1".into(), service: "eddy-api".into(), port: 7700 };
        assert_eq!("/api/v1=eddy-api:7700".parse(), Ok(path));
        for wrong in ["", "/api", "api=x:1", "/api=x", "/api=:1", "/api=x:70000", "/api=x:"] {
            assert!(wrong.parse::<PlatformPath>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_platforms_host_is_its_own_and_serves_nothing_else() {
        let options = PlatformOptions {
            platform_host: Some("Cloud.example.com".into()),
            platform_paths: vec!["/api/v1=eddy-api:7700".parse().unwrap(), "/auth=eddy-identity:7800".parse().unwrap()],
            platform_namespace: "eddy-system".into(),
        };
        let spec = serde_json::json!({"hosts": ["cloud.example.com"], "backends": [{"container": "web", "port": 80}]});
        let place = Place { namespace: "u-eve".into(), name: "grabs".into() };
        let mut routes = vec![RouteInput { place, created: 0, spec: serde_json::from_value(spec).unwrap() }];
        routes.extend(options.routes());
        let snapshot = compile(routes.iter(), &[], &std::collections::HashMap::new(), &mut Registry::default());
        let found = |path: &str| {
            let (method, headers) = (&http::Method::GET, &http::HeaderMap::new());
            let asked = eddy_router::Asked { path, query: None, method, headers };
            snapshot.table.find("cloud.example.com", &asked).map(|entry| entry.id.to_string())
        };
        assert_eq!(found("/api/v1/whoami").as_deref(), Some("eddy-system/eddy-api"));
        assert_eq!(found("/auth/v1/session").as_deref(), Some("eddy-system/eddy-identity"));
        assert_eq!((found("/"), snapshot.left_out), (None, 1));
        assert!(options.routes().iter().all(|route| route.spec.timeouts.idle_seconds == IDLE_SECONDS));
        assert!(PlatformOptions::default().routes().is_empty());
    }
}

//! What requests reach, and by which paths.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use eddy_audit::Recorder;
use eddy_authz::feed::Feed;
use eddy_authz::is_user_name;
use eddy_telemetry::Shutdown;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use kube::Client;
use tokio::sync::Semaphore;

use crate::access::Target;
use crate::body::{AT_ONCE, gathered};
use crate::follow::Followed;
use crate::item::Place;
use crate::kinds::ServedKind;
use crate::metrics::{Answered, ApiMetrics};
use crate::per_user::PerUser;
use crate::problem::Problem;
use crate::{read, secret, write};

/// Requests with bodies that one user may have under way.
const BODIES_A_USER: usize = 8;
/// Streams that one user may have open.
const STREAMS_A_USER: usize = 2000;

/// What requests reach. Clones reach the same.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>);

struct Shared {
    feed: Feed,
    client: Client,
    kinds: Vec<(ServedKind, Followed)>,
    metrics: ApiMetrics,
    openapi: Bytes,
    shutdown: Shutdown,
    recorder: Recorder,
    bodies: Semaphore,
    bodies_by_user: PerUser,
    streams_by_user: PerUser,
}

impl Api {
    pub(crate) fn new(
        feed: Feed,
        client: Client,
        kinds: Vec<(ServedKind, Followed)>,
        metrics: ApiMetrics,
        openapi: Bytes,
        shutdown: Shutdown,
        recorder: Recorder,
    ) -> Self {
        let (bodies, bodies_by_user, streams_by_user) =
            (Semaphore::new(AT_ONCE), PerUser::new(BODIES_A_USER), PerUser::new(STREAMS_A_USER));
        Self(Arc::new(Shared {
            feed,
            client,
            kinds,
            metrics,
            openapi,
            shutdown,
            recorder,
            bodies,
            bodies_by_user,
            streams_by_user,
        }))
    }

    pub(crate) fn feed(&self) -> &Feed {
        &self.0.feed
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    pub(crate) fn metrics(&self) -> &ApiMetrics {
        &self.0.metrics
    }

    pub(crate) fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// Of who did what.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    /// Of requests with bodies.
    pub(crate) fn bodies(&self) -> &Semaphore {
        &self.0.bodies
    }

    /// Of requests with bodies of one user.
    pub(crate) fn bodies_by_user(&self) -> &PerUser {
        &self.0.bodies_by_user
    }

    /// Of streams of one user.
    pub(crate) fn streams_by_user(&self) -> &PerUser {
        &self.0.streams_by_user
    }

    /// The kind that a path names, whose objects are in core namespaces exactly where the path names a tenant.
    pub(crate) fn kind(&self, plural: &str, is_tenanted: bool) -> Result<(&ServedKind, &Followed), Problem> {
        self.listed(plural, is_tenanted).and_then(|found| match found.0.is_tenanted == is_tenanted {
            true => Ok(found),
            false => Err(no_kind(plural)),
        })
    }

    /// The same for a list, which all tenants' objects have together as well.
    pub(crate) fn listed(&self, plural: &str, is_tenanted: bool) -> Result<(&ServedKind, &Followed), Problem> {
        let found = self.0.kinds.iter().find(|(kind, _)| kind.plural == plural && (kind.is_tenanted || !is_tenanted));
        let (kind, followed) = found.ok_or_else(|| no_kind(plural))?;
        if followed.read().is_filled() {
            Ok((kind, followed))
        } else {
            Err(Problem::unavailable("this replica has just started"))
        }
    }

    /// All paths.
    pub(crate) fn router(self) -> Router {
        let list = || get(read::list).post(write::create);
        let one = || get(read::get).put(write::replace).patch(write::patch).delete(write::delete);
        Router::new()
            .route("/api/v1/whoami", get(read::whoami))
            .route("/api/v1/openapi.json", get(openapi))
            .route("/api/v1/{plural}", list())
            .route("/api/v1/{plural}/{name}", one())
            .route("/api/v1/tenants/{tenant}/{plural}", list())
            .route("/api/v1/tenants/{tenant}/{plural}/{name}", one())
            .route("/api/v1/tenants/{tenant}/{plural}/{name}/secret", get(secret::get))
            .fallback(async || Problem::not_found("such path: see /api/v1/openapi.json"))
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "this path takes no such method")
            })
            // Bodies are whole by then, and no longer than they may be.
            .layer(DefaultBodyLimit::disable())
            .layer(from_fn_with_state(self.clone(), gathered))
            .layer(from_fn_with_state(self.clone(), counted))
            .with_state(self)
    }
}

fn no_kind(plural: &str) -> Problem {
    Problem::not_found(format!("kind {plural:?}"))
}

async fn openapi(State(api): State<Api>) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], api.0.openapi.clone()).into_response()
}

/// A method as metrics have it: clients make up whatever they like.
fn known(method: &Method) -> &'static str {
    let all = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    all.into_iter().find(|known| method.as_str() == *known).unwrap_or("other")
}

/// Counts a request, and tells in our form what the library told in its own.
async fn counted(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (began, method) = (Instant::now(), known(request.method()));
    let mut response = next.run(request).await;
    let status = response.status();
    let is_ours = response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != "text/plain; charset=utf-8");
    if status.is_client_error() && !is_ours {
        let (_, body) = response.into_parts();
        let said = axum::body::to_bytes(body, 4096).await.unwrap_or_default();
        response = Problem::new(status, "BadRequest", String::from_utf8_lossy(&said)).into_response();
    }
    api.0.metrics.seconds.observe(began.elapsed().as_secs_f64());
    api.0.metrics.requests.get_or_create(&Answered { method, status: status.as_u16() }).inc();
    response
}

/// All objects of a kind, of a tenant if one is named.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) tenant: Option<String>,
    pub(crate) plural: String,
}

/// One object.
#[derive(Debug)]
pub(crate) struct Found {
    /// Whose it is; of what is in no core namespace, its own name.
    pub(crate) tenant: String,
    pub(crate) is_tenanted: bool,
    pub(crate) plural: String,
    pub(crate) name: String,
}

impl Found {
    pub(crate) fn target<'a>(&'a self, kind: &'a ServedKind) -> Target<'a> {
        Target { kind, tenant: &self.tenant, name: &self.name }
    }

    pub(crate) fn place(&self) -> Place {
        let namespace = if self.is_tenanted { eddy_crds::core_namespace(&self.tenant) } else { String::new() };
        Place::new(&namespace, &self.name)
    }
}

impl FromRequestParts<Api> for Listed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        match segments(parts, api).await?.as_slice() {
            [plural] => Ok(Self { tenant: None, plural: plural.clone() }),
            [tenant, plural] => Ok(Self { tenant: Some(tenant_of(tenant)?), plural: plural.clone() }),
            _ => Err(Problem::not_found("such path")),
        }
    }
}

impl FromRequestParts<Api> for Found {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let (tenant, plural, name) = match segments(parts, api).await?.as_slice() {
            [plural, name] => (None, plural.clone(), name.clone()),
            [tenant, plural, name] => (Some(tenant_of(tenant)?), plural.clone(), name.clone()),
            _ => return Err(Problem::not_found("such path")),
        };
        if !is_name(&name) {
            return Err(Problem::bad("a name has at most 253 lower-case letters, digits, dashes and dots"));
        }
        Ok(Self { is_tenanted: tenant.is_some(), tenant: tenant.unwrap_or_else(|| name.clone()), plural, name })
    }
}

async fn segments(parts: &mut Parts, api: &Api) -> Result<Vec<String>, Problem> {
    let path = Path::<Vec<(String, String)>>::from_request_parts(parts, api).await;
    let path = path.map_err(|_| Problem::bad("the path is no text"))?;
    Ok(path.0.into_iter().map(|(_, segment)| segment).collect())
}

fn tenant_of(text: &str) -> Result<String, Problem> {
    if is_user_name(text) { Ok(text.to_owned()) } else { Err(Problem::not_found(format!("tenant {text:?}"))) }
}

/// As Kubernetes has names: nothing in it leads out of a path.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [text.bytes().next(), text.bytes().next_back()];
    text.len() <= 253
        && ends.into_iter().all(|end| end.is_some_and(plain))
        && text.bytes().all(|byte| plain(byte) || b"-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        assert!(is_name("web") && is_name("a.b-c") && is_name("7"));
        for wrong in ["", ".", "..", "a/b", "../a", "a?b", "a%2f", "-a", "a.", "A", "ä", "a b", &"a".repeat(254)] {
            assert!(!is_name(wrong), "{wrong:?}");
        }
    }
}

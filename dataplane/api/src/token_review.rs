//! Whom a token stands for, to the Kubernetes API (`authentication.k8s.io/v1`, TokenReview): so that kubectl works with a token of Eddy.
//!
//! Kubernetes knows no scopes: only tokens without limits are good there, and only while it is known that they still are. Their user is
//! `eddy:<user>`, whom the operator lets into their core namespace, and of administrators the group `eddy:admins`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use eddy_authz::feed::{Feed, Standing};
use eddy_authz::{Refused, Token};
use eddy_http::{connection, listen};
use eddy_telemetry::Shutdown;
use eddy_tls::{TlsError, Watched};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use hyper_util::service::TowerToHyperService;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewStatus, UserInfo};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::kubernetes_audit::Audits;
use crate::metrics::{ApiMetrics, Reviewed};
use crate::upstream::ADMINS;

/// What users of Eddy are called there before their names,
pub(crate) const USER_PREFIX: &str = "eddy:";
/// and what is said of them besides: the Token that they showed,
pub(crate) const TOKEN: &str = "eddy.cloud/token";
/// or that they have signed in.
pub(crate) const SESSION: &str = "eddy.cloud/session";
/// All who have a token.
const USERS: &str = "eddy:users";
/// Longer than any review.
const BYTES_MAX: usize = 64 * 1024;
/// A review comes within this, and so does a handshake.
const WITHIN: Duration = Duration::from_secs(10);
/// API servers keep a few connections each.
const CONNECTIONS_MAX: usize = 1024;

/// Where the Kubernetes API asks whom tokens stand for.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TokenReviewOptions {
    /// Where the Kubernetes API asks whom a token stands for, by TLS; nowhere if not given
    #[arg(long, requires = "token_review_tls_folder")]
    pub(crate) token_review_bind: Option<SocketAddr>,

    /// A folder with tls.crt and tls.key, as a Secret is mounted; they are read again when they change
    #[arg(long)]
    pub(crate) token_review_tls_folder: Option<PathBuf>,

    /// A file with the token that the Kubernetes API shows to tell, at the same address, what is asked of it (its audit webhook); it may tell
    /// nothing if not given
    #[arg(long, requires = "token_review_bind")]
    pub(crate) kubernetes_audit_token_file: Option<PathBuf>,
}

/// A listener that answers once it is served.
pub(crate) struct TokenReviews {
    listener: TcpListener,
    certificates: Arc<Watched<Arc<ServerConfig>>>,
}

/// Why tokens cannot be reviewed.
#[derive(Debug, thiserror::Error)]
pub enum TokenReviewError {
    /// The certificate is none.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be listened on.
    #[error("failed to listen on {address}: choose another --token-review-bind")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl TokenReviewOptions {
    /// The listener, if one is asked for.
    ///
    /// # Errors
    /// See [`TokenReviewError`].
    pub(crate) async fn open(&self) -> Result<Option<TokenReviews>, TokenReviewError> {
        let (Some(address), Some(folder)) = (self.token_review_bind, &self.token_review_tls_folder) else { return Ok(None) };
        let certificates = Arc::new(Watched::open(folder, eddy_tls::server)?);
        let listener = TcpListener::bind(address).await.map_err(|source| TokenReviewError::Bind { address, source })?;
        Ok(Some(TokenReviews { listener, certificates }))
    }
}

impl TokenReviews {
    /// Answers until the end is requested, and takes what the Kubernetes API tells.
    pub(crate) async fn serve(self, feed: Feed, metrics: ApiMetrics, audits: Option<Audits>, shutdown: Shutdown) {
        let router = Router::new().route("/token-review", post(answer)).with_state((feed, metrics));
        let router = audits.into_iter().fold(router, |router, audits| router.merge(audits.router()));
        let serve = |stream| served(stream, self.certificates.now(), router.clone(), shutdown.clone());
        listen(self.listener, CONNECTIONS_MAX, &shutdown, serve).await;
    }
}

async fn served(stream: TcpStream, certificates: Arc<ServerConfig>, router: Router, shutdown: Shutdown) {
    let _ = stream.set_nodelay(true);
    match timeout(WITHIN, TlsAcceptor::from(certificates).accept(stream)).await {
        Ok(Ok(stream)) => connection(stream, TowerToHyperService::new(router), WITHIN, &shutdown).await,
        Ok(Err(error)) => tracing::debug!(%error, "a connection was no TLS"),
        Err(_) => tracing::debug!("a connection was no TLS in time"),
    }
}

async fn answer(State((feed, metrics)): State<(Feed, ApiMetrics)>, body: Body) -> Response {
    let Ok(Ok(body)) = timeout(WITHIN, axum::body::to_bytes(body, BYTES_MAX)).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Ok(mut review) = serde_json::from_slice::<TokenReview>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    // What was shown goes nowhere, not even back.
    let shown = review.spec.token.take().unwrap_or_default();
    let (outcome, status) = status(known(&feed, &shown));
    metrics.reviews.get_or_create(&Reviewed { outcome }).inc();
    review.status = Some(status);
    match serde_json::to_vec(&review) {
        Ok(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "failed to write a review");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Why a token is not good for Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NotGood {
    #[error("this is no token of Eddy that is good")]
    Unknown,
    #[error("what is known of permissions is too old")]
    Stale,
    #[error("this token is limited, and Kubernetes knows no scopes: use the REST API, or a token without any")]
    Limited,
    #[error(
        "this token ends, and Kubernetes would let it make others that do not: use the REST API, or a token that does not end"
    )]
    Ends,
}

fn known(feed: &Feed, shown: &str) -> Result<UserInfo, NotGood> {
    let token = Token::parse(shown).ok_or(NotGood::Unknown)?;
    let who = feed.authenticate(&token).map_err(|refused| match refused {
        Refused::Stale => NotGood::Stale,
        Refused::Unknown | Refused::Expired | Refused::Suspended => NotGood::Unknown,
    })?;
    // RBAC cannot be told that somebody may only read for now.
    if feed.standing() != Standing::Fresh {
        return Err(NotGood::Stale);
    }
    if who.is_limited() || who.account().is_some() {
        return Err(NotGood::Limited);
    }
    if who.expires_s().is_some() && !who.is_session() {
        return Err(NotGood::Ends);
    }
    let groups = [Some(USERS), who.is_admin().then_some(ADMINS)];
    let token = who.token().map(|token| (TOKEN.to_owned(), vec![token.to_owned()]));
    let session = who.is_session().then(|| (SESSION.to_owned(), vec!["true".to_owned()]));
    Ok(UserInfo {
        username: Some(format!("{USER_PREFIX}{}", who.user())),
        groups: Some(groups.into_iter().flatten().map(str::to_owned).collect()),
        extra: Some(token.into_iter().chain(session).collect()),
        uid: None,
    })
}

/// What is said of a token, and in one word.
fn status(known: Result<UserInfo, NotGood>) -> (&'static str, TokenReviewStatus) {
    let (outcome, error) = match &known {
        Ok(_) => ("known", None),
        // Most are of others, who are asked besides.
        Err(NotGood::Unknown) => ("unknown", None),
        Err(error @ NotGood::Stale) => ("stale", Some(error.to_string())),
        Err(error @ (NotGood::Limited | NotGood::Ends)) => ("limited", Some(error.to_string())),
    };
    let user = known.ok();
    (outcome, TokenReviewStatus { authenticated: Some(user.is_some()), user, error, audiences: None })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use eddy_authz::feed::Ages;
    use eddy_authz::{Action, Entry, Permissions, Scopes, TokenEntry, UserEntry, token_key, user_key};

    use super::*;

    fn permissions(entries: &[(&Token, &str, Option<Scopes>, Option<i64>)], admins: &[&str]) -> Permissions {
        let rows: Vec<(String, Vec<u8>)> = entries
            .iter()
            .flat_map(|(token, user, scopes, expires_s)| {
                let entry = TokenEntry {
                    user: (*user).into(),
                    name: "t".into(),
                    account: None,
                    scopes: scopes.clone(),
                    hash: token.hash(),
                    expires_s: *expires_s,
                };
                let about = UserEntry { admin: admins.contains(user), suspended: false, since_s: 0 };
                [(token_key(token.id()), Entry::Token(entry)), (user_key(user), Entry::User(about))]
            })
            .map(|(key, entry)| (key, entry.to_bytes().unwrap()))
            .collect();
        let permissions = Permissions::default();
        permissions.replace(rows.iter().map(|(key, value)| (key.as_str(), &value[..])));
        permissions
    }

    #[test]
    fn only_tokens_without_limits_are_good_and_only_while_that_is_known() {
        let [ada, root, limited, ends, gone] = [(); 5].map(|()| Token::draw().unwrap());
        let reads = eddy_authz::Scope::parse("compute.ada.containers", [Action::Read.as_str()]).unwrap();
        let scopes: Scopes = [reads].into_iter().collect();
        let tokens = [
            (&ada, "ada", None, None),
            (&root, "root", None, None),
            (&limited, "ada", Some(scopes), None),
            (&ends, "ada", None, Some(i64::MAX)),
        ];
        let all = || permissions(&tokens, &["root"]);
        let feed = Feed::fixed(all());
        let of = |token: &Token| known(&feed, token.expose());
        let user = of(&ada).unwrap();
        assert_eq!((user.username.as_deref(), user.groups.unwrap()), (Some("eddy:ada"), vec!["eddy:users".to_owned()]));
        assert_eq!(user.extra.unwrap()["eddy.cloud/token"], ["t"]);
        assert_eq!(of(&root).unwrap().groups.unwrap(), ["eddy:users", "eddy:admins"]);
        assert_eq!(
            [of(&limited), of(&ends), of(&gone)].map(Result::unwrap_err),
            [NotGood::Limited, NotGood::Ends, NotGood::Unknown]
        );
        for wrong in ["", "eyJhbGciOiJSUzI1NiJ9.e30.x", "eddy_x_y", &ada.expose()[1..]] {
            assert_eq!(known(&feed, wrong), Err(NotGood::Unknown));
        }
        let ages = Ages { writes_max: Duration::from_secs(10), reads_max: Duration::from_secs(20) };
        for age_s in [15, 25] {
            let old = Feed::fixed_at(all(), ages, Duration::from_secs(age_s));
            assert_eq!(known(&old, ada.expose()), Err(NotGood::Stale));
        }
        let said = |known| serde_json::to_value(status(known).1).unwrap().to_string();
        assert_eq!(said(Err(NotGood::Unknown)), r#"{"authenticated":false}"#);
        assert!(said(of(&limited)).contains("knows no scopes") && said(of(&ada)).contains("\"authenticated\":true"));
    }
}

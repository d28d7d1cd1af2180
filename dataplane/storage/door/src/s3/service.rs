//! Requests by the S3 API, and what is done for each besides its operation.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::response::Response;
use eddy_authz::Refused;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use percent_encoding::percent_decode_str;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto::CORSConfiguration;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3ErrorCode, S3Result};
use tokio::sync::Semaphore;

use super::Operations;
use super::cors::Origin;
use super::error::Failure;
use super::framing::{Framed, is_chunked};
use super::hosts::Hosts;
use super::signed::VERSION_4;
use super::{settings, signed};
use crate::arriving::{Arriving, silence_words};
use crate::door::Door;
use crate::http::CONTENTS_ONLY;

/// Longest document in a request: parts of an object, or objects that are to go.
const XML_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Forms of browsers are held in memory: how long their files are at most, and how many come at once.
const FORM_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
const FORM_FIELDS_BYTES_MAX: usize = 64 * 1024;
const FORM_PARTS_MAX: usize = 100;
const FORMS_AT_ONCE: usize = 16;
/// What of a bucket or of an object is a document, by its name in queries.
const DOCUMENTS: [&str; 18] = [
    "accelerate",
    "acl",
    "cors",
    "encryption",
    "legal-hold",
    "lifecycle",
    "logging",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "retention",
    "tagging",
    "versioning",
    "website",
];
/// What whoever shows nothing may ask for at all: whether they may is decided for each bucket.
const ANONYMOUS: [&str; 15] = [
    "DeleteObject",
    "GetBucketAcl",
    "GetBucketLocation",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAttributes",
    "GetObjectTagging",
    "HeadBucket",
    "HeadObject",
    "ListMultipartUploads",
    "ListObjectVersions",
    "ListObjects",
    "ListObjectsV2",
    "PostObject",
    "PutObject",
];

/// The S3 API. Clones are of the same.
#[derive(Clone)]
pub(crate) struct S3Door {
    door: Door,
    hosts: Hosts,
    service: S3Service,
    forms: Arc<Semaphore>,
}

/// What a request is called, for whoever asks why it failed.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

/// Whose signature it is.
struct Signatures(Door);

#[async_trait]
impl S3Auth for Signatures {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let found = self.0.authenticator().signer(access_key);
        found.map(|signer| SecretKey::from(signer.secret.expose())).map_err(|refused| match refused {
            Refused::Unknown => S3Error::with_message(S3ErrorCode::InvalidAccessKeyId, "there is no such access key"),
            Refused::Expired | Refused::Suspended => S3Error::with_message(S3ErrorCode::InvalidAccessKeyId, refused.to_string()),
            Refused::Stale => S3Error::with_message(S3ErrorCode::ServiceUnavailable, refused.to_string()),
        })
    }
}

/// What is decided before a body is read.
struct Gate;

#[async_trait]
impl S3Access for Gate {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_some() || ANONYMOUS.contains(&context.s3_op().name()) {
            return Ok(());
        }
        Err(S3Error::with_message(S3ErrorCode::AccessDenied, "sign the request with an access key"))
    }
}

impl S3Door {
    pub(crate) fn new(door: Door, hosts: Hosts) -> Self {
        let mut config = S3Config::default();
        config.xml_max_body_size = XML_BYTES_MAX;
        config.post_object_max_file_size = FORM_FILE_BYTES_MAX;
        config.form_max_field_size = FORM_FIELDS_BYTES_MAX;
        config.form_max_fields_size = FORM_FIELDS_BYTES_MAX;
        config.form_max_parts = FORM_PARTS_MAX;
        let mut builder = S3ServiceBuilder::new(Operations(door.clone()));
        builder.set_auth(Signatures(door.clone()));
        builder.set_access(Gate);
        builder.set_host(hosts.clone());
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        Self { door, hosts, service: builder.build(), forms: Arc::new(Semaphore::new(FORMS_AT_ONCE)) }
    }

    pub(crate) async fn answer(&self, request: Request<Arriving>) -> Response {
        let id = RequestId(format!("{:016X}", fastrand::u64(..)));
        let silence = request.body().silence();
        // What users store is shown on this host, too, where it is no bucket's own, and must not act for whoever looks at it.
        let is_shared = request.method() == Method::GET && self.bucket_of_host(&request).is_none();
        let mut response = if request.method() == Method::OPTIONS {
            self.preflight(&request).await.unwrap_or_else(failed)
        } else {
            let told = match Origin::of(request.method(), request.headers()) {
                Some(origin) => self.told(&origin, &request).await.unwrap_or_default(),
                None => HeaderMap::new(),
            };
            let mut response = self.operate(request, id.clone()).await;
            if silence.fell() && !response.status().is_success() {
                response = failed(Failure::new(S3ErrorCode::RequestTimeout, silence_words(self.door.silence_max())));
            }
            response.headers_mut().extend(told);
            response
        };
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&id.0) {
            headers.insert("x-amz-request-id", id);
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if is_shared {
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENTS_ONLY));
        }
        response
    }

    /// What a browser asks before a page of another origin may ask.
    async fn preflight(&self, request: &Request<Arriving>) -> Result<Response, Failure> {
        let origin = Origin::of(request.method(), request.headers());
        let missing = || Failure::new(S3ErrorCode::InvalidRequest, "say the Origin, and Access-Control-Request-Method");
        let told = self.told(&origin.ok_or_else(missing)?, request).await?;
        let mut response = Response::new(Body::empty());
        *response.headers_mut() = told;
        Ok(response)
    }

    async fn operate(&self, request: Request<Arriving>, id: RequestId) -> Response {
        let (mut parts, body) = request.into_parts();
        if let Err(failure) = signed::check(&parts) {
            return failed(failure);
        }
        parts.extensions.insert(id);
        let request = Request::from_parts(parts, body);
        if is_document(&request) && length_of(request.headers()).is_some_and(|length| length > XML_BYTES_MAX) {
            let message = format!("a document has at most {XML_BYTES_MAX} bytes");
            return failed(Failure::new(S3ErrorCode::MaxMessageLengthExceeded, message));
        }
        let of_attributes = request.method() == Method::GET && names(&request).any(|name| name == "attributes");
        let _room = if is_form(&request) {
            match self.forms.try_acquire() {
                Ok(room) => Some(room),
                Err(_) => return failed(Failure::new(S3ErrorCode::SlowDown, "too many forms come at once: try again")),
            }
        } else {
            None
        };
        let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let is_chunked = is_chunked(request.headers());
        if is_chunked && !authorization.starts_with(VERSION_4.as_bytes()) {
            let message = "only whoever signs a request in its headers sends a body in chunks";
            return failed(Failure::new(S3ErrorCode::InvalidRequest, message));
        }
        let request = match is_chunked {
            true => request.map(|body| s3s::Body::http_body_unsync(Framed::new(body))),
            false => request.map(s3s::Body::http_body_unsync),
        };
        match self.service.call(request).await {
            Ok(response) if of_attributes => without_quotes(response).await,
            Ok(response) => response.map(Body::new),
            Err(error) => {
                let error: s3s::StdError = error.into();
                tracing::error!(error = &*error, "an answer cannot be written");
                broken()
            }
        }
    }

    /// What a page of another origin is told.
    async fn told(&self, origin: &Origin, request: &Request<Arriving>) -> Result<HeaderMap, Failure> {
        let forbidden = || Failure::new(S3ErrorCode::AccessDenied, "the bucket's rules do not allow this to that origin");
        let name = self.bucket_of(request).ok_or_else(forbidden)?;
        let space = self.door.metadata().namespace(&name).await?;
        let rules: Option<CORSConfiguration> = settings::document(&self.door, space.id, settings::CORS).await?;
        origin.allowed(&rules.ok_or_else(forbidden)?).ok_or_else(forbidden)
    }

    fn bucket_of_host(&self, request: &Request<Arriving>) -> Option<String> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        host.and_then(|host| self.hosts.bucket(host))
    }

    fn bucket_of(&self, request: &Request<Arriving>) -> Option<String> {
        if let Some(bucket) = self.bucket_of_host(request) {
            return Some(bucket);
        }
        let name = request.uri().path().split('/').nth(1).filter(|name| !name.is_empty())?;
        percent_decode_str(name).decode_utf8().ok().map(|name| name.into_owned())
    }
}

/// Whether the body of a request is held in memory: all that are written, but objects, parts and forms.
fn is_document(request: &Request<Arriving>) -> bool {
    match *request.method() {
        Method::POST => !is_form(request),
        Method::PUT => names(request).any(|name| DOCUMENTS.contains(&name)),
        _ => false,
    }
}

/// The names in the query.
fn names(request: &Request<Arriving>) -> impl Iterator<Item = &str> {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').filter_map(|pair| pair.split('=').next())
}

fn is_form(request: &Request<Arriving>) -> bool {
    request.method() == Method::POST && request.headers().get_all(CONTENT_TYPE).iter().any(says_form)
}

/// Whether a type of media is that of forms, however it is written.
pub(super) fn says_form(kind: &HeaderValue) -> bool {
    const FORM: &[u8] = b"multipart/form-data";
    kind.as_bytes().trim_ascii_start().get(..FORM.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(FORM))
}

fn length_of(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The attributes of an object have its tag without quotes, unlike all else that has one; `s3s` does not know that.
async fn without_quotes(response: s3s::HttpResponse) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(text) = axum::body::to_bytes(Body::new(body), XML_BYTES_MAX).await else { return broken() };
    let text = String::from_utf8_lossy(&text).replace("<ETag>\"", "<ETag>").replace("\"</ETag>", "</ETag>");
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(text))
}

fn failed(failure: Failure) -> Response {
    match S3Error::from(failure).to_http_response() {
        Ok(response) => response.map(Body::new),
        Err(_) => broken(),
    }
}

fn broken() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_one_however_its_type_is_written() {
        for form in ["multipart/form-data; boundary=x", "Multipart/Form-Data;boundary=x", " MULTIPART/FORM-DATA"] {
            assert!(says_form(&HeaderValue::from_static(form)), "{form}");
        }
        for other in ["", "multipart/mixed", "application/xml", "multipart"] {
            assert!(!says_form(&HeaderValue::from_static(other)), "{other}");
        }
    }
}

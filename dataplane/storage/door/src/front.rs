//! Which API a request is for: the hosts of buckets and all paths but `/v1/…` are S3's. No bucket has so short a name.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST};
use http::{HeaderMap, HeaderValue, Request};
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::arriving::{Arriving, Silence};
use crate::door::Door;
use crate::error::Problem;
use crate::lingering::Lingering;
use crate::metrics::{Api, DoorMetrics};
use crate::rest;
use crate::s3::{Hosts, S3Door};

/// Both APIs. Clones are of the same.
#[derive(Clone)]
pub(crate) struct Front(Arc<Inner>);

struct Inner {
    files: Router,
    s3: S3Door,
    hosts: Hosts,
    metrics: DoorMetrics,
    silence_max: Duration,
}

impl Inner {
    async fn answer_files(&self, request: Request<Arriving>) -> Result<Response, Infallible> {
        let silence = request.body().silence();
        let response = self.files.clone().oneshot(request).await?;
        let fell = silence.fell() && !response.status().is_success();
        Ok(if fell { Problem::silence(self.silence_max).into_response() } else { response })
    }
}

impl Front {
    pub(crate) fn new(door: &Door, domains: &[String], metrics: DoorMetrics) -> Self {
        let hosts = Hosts::new(domains);
        let (files, s3) = (rest::router(door.clone()), S3Door::new(door.clone(), hosts.clone()));
        Self(Arc::new(Inner { files, s3, hosts, metrics, silence_max: door.silence_max() }))
    }

    fn is_for_files(&self, request: &Request<Incoming>) -> bool {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let names_bucket = host.is_some_and(|host| self.0.hosts.bucket(host).is_some());
        let path = request.uri().path();
        !names_bucket && (path == "/v1" || path.starts_with("/v1/"))
    }
}

/// Whoever sends a request waits to be asked for its body (RFC 9110, section 10.1.1).
fn is_awaited(headers: &HeaderMap) -> bool {
    headers.contains_key(EXPECT)
}

/// There is no body to be asked for.
fn is_empty(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0")
}

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let is_awaited = is_awaited(request.headers());
        let is_never_asked = is_awaited && is_empty(request.headers());
        let inner = self.0.clone();
        let api = if self.is_for_files(&request) { Api::Files } else { Api::S3 };
        let began = Instant::now();
        let silence = Silence::default();
        let request = request.map(|body| Lingering::new(body, is_awaited, silence.clone()));
        let whole = request.body().whole();
        let request = request.map(|body| Arriving::new(body, inner.silence_max, silence));
        async move {
            let mut response = match api {
                Api::Files => inner.answer_files(request).await?,
                Api::S3 => inner.s3.answer(request).await,
            };
            inner.metrics.answered(api, response.status().as_u16(), began.elapsed());
            let is_refused = is_awaited && !response.status().is_success();
            // Some clients (botocore) do not use a connection rightly any more after an answer that came instead of being asked,
            // and what comes of a body after the answer is no request: they are told to take a new one.
            if !whole.came() || is_never_asked || is_refused {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
        .boxed()
    }
}

//! Which API a request is for: the hosts of buckets and all paths but `/v1/…` are S3's. No bucket has so short a name.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::{IntoResponse, Response};
use eddy_audit::{Origin, Recorder};
use eddy_http::{Coming, Lingering, Silence};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Request;
use http::header::HOST;
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::arriving::Arriving;
use crate::door::Door;
use crate::error::Problem;
use crate::metrics::{Api, DoorMetrics};
use crate::noted::Noting;
use crate::rest;
use crate::s3::{Hosts, S3Door};

/// Both APIs. Clones are of the same.
#[derive(Clone)]
pub(crate) struct Front {
    inner: Arc<Inner>,
    /// Who is connected.
    address: Option<IpAddr>,
}

struct Inner {
    files: Router,
    s3: S3Door,
    hosts: Hosts,
    metrics: DoorMetrics,
    recorder: Recorder,
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
        let (recorder, silence_max) = (door.recorder().clone(), door.silence_max());
        let address = None;
        let inner = Arc::new(Inner { files, s3, hosts, metrics, recorder, silence_max });
        Self { inner, address }
    }

    /// For whoever connected from there.
    pub(crate) fn to(&self, address: Option<IpAddr>) -> Self {
        Self { inner: self.inner.clone(), address }
    }

    fn is_for_files(&self, request: &Request<Incoming>) -> bool {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let names_bucket = host.is_some_and(|host| self.inner.hosts.bucket(host).is_some());
        let path = request.uri().path();
        !names_bucket && (path == "/v1" || path.starts_with("/v1/"))
    }
}

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let coming = Coming::of(request.headers());
        let inner = self.inner.clone();
        let origin = Origin::of(request.headers(), self.address);
        let api = if self.is_for_files(&request) { Api::Files } else { Api::S3 };
        let began = Instant::now();
        let silence = Silence::default();
        let request = request.map(|body| Lingering::new(body, coming.is_awaited(), silence.clone()));
        let whole = request.body().whole();
        let request = request.map(|body| Arriving::new(body, inner.silence_max, silence));
        async move {
            let answer = async {
                match api {
                    Api::Files => inner.answer_files(request).await,
                    Api::S3 => Ok(inner.s3.answer(request).await),
                }
            };
            let noting = Noting::new(inner.recorder.clone(), origin);
            let mut response = Box::pin(noting.answer(answer)).await?;
            inner.metrics.answered(api, response.status().as_u16(), began.elapsed());
            coming.end(&whole, &mut response);
            Ok(response)
        }
        .boxed()
    }
}

//! What becomes of a request and its answer besides being passed on.

use std::time::Instant;

use bytes::Bytes;
use eddy_crds::RouteProtocol;
use eddy_router::{Came, Cors, HeaderEdits, Redirect};
use http::header::{self, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, ORIGIN, VARY};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use crate::client::Client;
use crate::entry::RouteEntry;
use crate::proxy::{Gateway, RequestContext};
use crate::rate::Who;
use crate::refusal::Refusal;
use crate::request::{X_REQUEST_ID, authority};

/// An answer of the gateway's own that is no refusal.
pub(crate) struct OwnAnswer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Gateway {
    /// Whether a request is let in, and what it is answered if that is not for a backend to say.
    pub(crate) fn filter(
        &self,
        request: &RequestHeader,
        route: &RouteEntry,
        context: &mut RequestContext,
    ) -> Result<Option<OwnAnswer>, Refusal> {
        let (filters, client) = (&route.filters, context.client);
        if let Some(addresses) = &filters.addresses
            && !client.address.is_some_and(|address| addresses.lets_in(address))
        {
            return Err(Refusal::Address);
        }
        if let Some(rule) = filters.rate {
            let who = Who { address: client.address, headers: &request.headers, permissions: self.permissions.as_ref() };
            let counted = self.rates.count(rule, &route.id, &who, Instant::now());
            counted.map_err(|wait| {
                context.retry_after = Some(wait);
                Refusal::TooMany
            })?;
        }
        if route.protocol == RouteProtocol::WebSocket && !asks_for_websocket(request) {
            return Err(Refusal::NoUpgrade);
        }
        if route.is_tls_only && !client.is_secure {
            return self.to_tls(request, route).map(Some);
        }
        // Whoever asks beforehand has nothing to show yet.
        if let Some(cors) = &filters.cors
            && Cors::is_preflight(&request.method, &request.headers)
        {
            let headers = cors.preflight(&request.headers);
            return Ok(Some(OwnAnswer { status: StatusCode::NO_CONTENT, headers, body: Bytes::new() }));
        }
        if let Some(max) = filters.body_bytes_max {
            let says = request.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
            if says.is_some_and(|says| says > max) {
                return Err(Refusal::TooLarge);
            }
        }
        let Some(redirect) = &filters.redirect else { return Ok(None) };
        send_elsewhere(redirect, request, route, client).map(Some)
    }

    /// The same URL by TLS.
    fn to_tls(&self, request: &RequestHeader, route: &RouteEntry) -> Result<OwnAnswer, Refusal> {
        let there = Redirect {
            scheme: Some("https".to_owned()),
            host: None,
            port: Some(self.tls_public_port),
            path: None,
            status: StatusCode::PERMANENT_REDIRECT.as_u16(),
        };
        send_elsewhere(&there, request, route, Client { address: None, is_secure: false, is_proxied: false })
    }

    /// More of a request's body came than its Route takes.
    pub(crate) fn count_body(context: &mut RequestContext, bytes: usize) -> Result<()> {
        context.body_bytes = context.body_bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let max = context.route.as_ref().and_then(|route| route.filters.body_bytes_max);
        if max.is_some_and(|max| context.body_bytes > max) {
            context.refusal = Some(Refusal::TooLarge);
            return Err(Error::new(ErrorType::HTTPStatus(Refusal::TooLarge.status())).into_down());
        }
        Ok(())
    }
}

fn send_elsewhere(
    redirect: &Redirect,
    request: &RequestHeader,
    route: &RouteEntry,
    client: Client,
) -> Result<OwnAnswer, Refusal> {
    let authority = authority(request).ok_or(Refusal::BadRequest)?;
    let (host, port) = split_port(authority);
    let came = Came {
        scheme: client.scheme(),
        host,
        port: port.unwrap_or(if client.is_secure { 443 } else { 80 }),
        path_and_query: request.uri.path_and_query().map_or("/", |path| path.as_str()),
        matched: route.matched.as_deref(),
    };
    let location = HeaderValue::from_str(&redirect.location(&came)).map_err(|_| Refusal::BadRequest)?;
    let status = StatusCode::from_u16(redirect.status).map_err(|_| Refusal::BadRequest)?;
    Ok(OwnAnswer { status, headers: vec![(LOCATION, location)], body: Bytes::new() })
}

impl RouteEntry {
    /// Makes of a request what its backend is to see.
    ///
    /// # Errors
    /// Where the header cannot be written.
    pub(crate) fn edit_request(&self, upstream: &mut RequestHeader, backend: Option<usize>) -> Result<()> {
        if let Some(edit) = &self.filters.path
            && let Some(path) = upstream.uri.path_and_query()
        {
            let path = edit.apply(self.matched.as_deref(), path.as_str());
            upstream.set_raw_path(path.as_bytes())?;
        }
        if let Some(host) = &self.filters.host {
            upstream.insert_header(HOST, host)?;
        }
        edit_asked(upstream, &self.filters.request_headers)?;
        let backend = backend.and_then(|place| self.backends.at(place));
        backend.map_or(Ok(()), |backend| edit_asked(upstream, &backend.request_headers))
    }

    /// Makes of a backend's answer what the client is to see, who sent this request.
    ///
    /// # Errors
    /// Where the header cannot be written.
    pub(crate) fn edit_response(
        &self,
        request: &RequestHeader,
        response: &mut ResponseHeader,
        backend: Option<usize>,
    ) -> Result<()> {
        if let Some(backend) = backend.and_then(|place| self.backends.at(place)) {
            edit_answer(response, &backend.response_headers)?;
        }
        edit_answer(response, &self.filters.response_headers)?;
        self.allow_origin(request, response)
    }

    /// Says which pages may know an answer: what the Route says of it, whatever the backend does.
    pub(crate) fn allow_origin(&self, request: &RequestHeader, response: &mut ResponseHeader) -> Result<()> {
        let Some(cors) = &self.filters.cors else { return Ok(()) };
        for name in
            [header::ACCESS_CONTROL_ALLOW_ORIGIN, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, header::ACCESS_CONTROL_EXPOSE_HEADERS]
        {
            response.remove_header(&name);
        }
        for (name, value) in cors.answer(&request.headers) {
            response.insert_header(name, value)?;
        }
        if cors.varies() {
            response.append_header(VARY, ORIGIN.as_str())?;
        }
        Ok(())
    }
}

impl OwnAnswer {
    /// What an authority is answered that looks whether a host leads here (RFC 8555, section 8.3).
    pub(crate) fn of_challenge(answer: &str) -> Self {
        let headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        Self { status: StatusCode::OK, headers, body: Bytes::copy_from_slice(answer.as_bytes()) }
    }

    /// Answers; the connection goes on. A Route, where it is one's, edits a redirect as it does answers.
    ///
    /// # Errors
    /// Where the client has gone.
    pub(crate) async fn send(self, session: &mut Session, route: Option<&RouteEntry>, request_id: &str) -> Result<()> {
        let mut response = ResponseHeader::build(self.status, Some(self.headers.len() + 3))?;
        for (name, value) in self.headers {
            response.insert_header(name, value)?;
        }
        if self.status != StatusCode::NO_CONTENT {
            response.insert_header(CONTENT_LENGTH, self.body.len())?;
        }
        if let Some(route) = route.filter(|_| self.status.is_redirection()) {
            route.edit_response(session.req_header(), &mut response, None)?;
        }
        response.insert_header(&X_REQUEST_ID, request_id)?;
        let ends = self.body.is_empty() || session.req_header().method == Method::HEAD;
        session.write_response_header(Box::new(response), ends).await?;
        if ends { Ok(()) } else { session.write_response_body(Some(self.body), true).await }
    }
}

/// Whether a request asks to go on as a WebSocket (RFC 6455, section 4.1).
fn asks_for_websocket(request: &RequestHeader) -> bool {
    let names = |name: &HeaderName, wanted: &str| {
        let values = request.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    request.version == Version::HTTP_11
        && request.method == Method::GET
        && names(&header::UPGRADE, "websocket")
        && names(&header::CONNECTION, "upgrade")
}

/// A host and its port, if it has one.
fn split_port(authority: &str) -> (&str, Option<u16>) {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    (host, port.and_then(|port| port.parse().ok()))
}

/// Changes headers of a request.
fn edit_asked(upstream: &mut RequestHeader, edits: &HeaderEdits) -> Result<()> {
    for name in &edits.remove {
        upstream.remove_header(name);
    }
    for (name, value) in &edits.set {
        upstream.insert_header(name.clone(), value)?;
    }
    for (name, value) in &edits.add {
        upstream.append_header(name.clone(), value)?;
    }
    Ok(())
}

/// Changes headers of an answer.
///
/// # Errors
/// Where one cannot be written.
pub(crate) fn edit_answer(response: &mut ResponseHeader, edits: &HeaderEdits) -> Result<()> {
    for name in &edits.remove {
        response.remove_header(name);
    }
    for (name, value) in &edits.set {
        response.insert_header(name.clone(), value)?;
    }
    for (name, value) in &edits.add {
        response.append_header(name.clone(), value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_from_its_port() {
        assert_eq!(split_port("a.example:8080"), ("a.example", Some(8080)));
        assert_eq!(split_port("a.example"), ("a.example", None));
        assert_eq!(split_port("[2001:db8::1]:80"), ("2001:db8::1", Some(80)));
        assert_eq!(split_port("[2001:db8::1]"), ("2001:db8::1", None));
    }
}

//! The short way for a request without a body, which most are: send it, pass the answer on, in one loop.
//!
//! Pingora's proxy joins two halves by channels, one a direction, for bodies that flow both ways, upgrades and a
//! cache. None of that is of use to a plain GET, and it takes a third of the processor time in user space
//! (docs/benchmarks.md). Parsing, framing and keep-alive are Pingora's here too; all that is not plain
//! goes the long way.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, Version, header};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use tokio::sync::Semaphore;

use crate::attempt::check_switch;
use crate::entry::RouteEntry;
use crate::proxy::{Gateway, RequestContext};

/// Whether a request may go the short way.
pub(crate) fn is_plain(request: &RequestHeader) -> bool {
    request.version == Version::HTTP_11
        && request.method != Method::CONNECT
        // Not the absolute form, whose host would take precedence over the header, nor "OPTIONS *".
        && request.raw_path().first() == Some(&b'/')
        && request.headers.contains_key(header::HOST)
        && request.headers.iter().all(|(name, value)| is_plain_field(name.as_str(), value.as_bytes()))
}

/// Whether a header field neither announces a body nor concerns one connection alone (RFC 9110, section 7.6.1).
fn is_plain_field(name: &str, value: &[u8]) -> bool {
    match name {
        "connection" => value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close"),
        "content-length"
        | "transfer-encoding"
        | "trailer"
        | "te"
        | "expect"
        | "upgrade"
        | "http2-settings"
        | "keep-alive"
        | "proxy-connection"
        | "proxy-authenticate"
        | "proxy-authorization" => false,
        _ => true,
    }
}

impl Gateway {
    /// Answers a plain request from its route's backends.
    ///
    /// # Errors
    /// When no try was left: what the last one met.
    pub(crate) async fn forward(&self, session: &mut Session, context: &mut RequestContext) -> Result<()> {
        loop {
            match self.attempt(session, context).await {
                Err(error) if error.retry() => {}
                ended => return ended,
            }
        }
    }

    /// The same, within the time that the route gives a request.
    pub(crate) async fn forward_in_time(&self, session: &mut Session, context: &mut RequestContext) -> Result<()> {
        match context.left() {
            None => self.forward(session, context).await,
            Some(left) => tokio::time::timeout(left, self.forward(session, context))
                .await
                .unwrap_or_else(|_| Err(Error::new(ErrorType::ReadTimedout).into_up())),
        }
    }

    async fn attempt(&self, session: &mut Session, context: &mut RequestContext) -> Result<()> {
        let (route, address) = self.choose(context)?;
        let connected = self.pool.connect(address, route.connect_timeout.min(route.try_timeout.unwrap_or(Duration::MAX))).await;
        let (stream, reused) = connected.map_err(|error| self.connect_failed(context, error))?;
        if !reused {
            self.metrics.upstream_connections.inc();
        }
        let mut upstream = HttpSession::new(stream);
        upstream.read_timeout = Some(route.idle_timeout);
        upstream.write_timeout = Some(route.idle_timeout);
        let mut request = session.req_header().clone();
        request.remove_header(&header::CONNECTION);
        self.prepare(session, &mut request, context)?;
        let backend = context.backend;
        let passed_on = pass_on(request, (&route, backend), &mut upstream, session.as_downstream_mut(), &self.compressors);
        let passed_on = match route.try_timeout {
            None => passed_on.await,
            Some(within) => tokio::time::timeout(within.saturating_sub(context.try_started.elapsed()), passed_on)
                .await
                .unwrap_or_else(|_| Err(Error::new(ErrorType::ReadTimedout).into_up())),
        };
        passed_on.map_err(|error| self.broke(session, context, error, reused))?;
        context.answered();
        upstream.respect_keepalive();
        if let Some(stream) = upstream.reuse().await {
            self.pool.keep(address, stream);
        }
        Ok(())
    }
}

/// Sends the request, and the answer back as it comes.
async fn pass_on(
    request: RequestHeader,
    (route, backend): (&RouteEntry, Option<usize>),
    upstream: &mut HttpSession,
    client: &mut ServerSession,
    room: &Arc<Semaphore>,
) -> Result<()> {
    let head = request.method == Method::HEAD;
    let mut compressor = None;
    upstream.write_request_header(Box::new(request)).await.map_err(Error::into_up)?;
    loop {
        unless_gone(client, upstream.read_response()).await?;
        let mut response = upstream.resp_header().cloned().ok_or_else(|| Error::new(ErrorType::InternalError))?;
        // A plain request asks for no other protocol.
        check_switch(false, &response)?;
        let interim = response.status.is_informational();
        if !interim {
            route.edit_response(client.req_header(), &mut response, backend)?;
            compressor = route.compress(client.req_header(), &mut response, room)?;
            frame(&mut response, head)?;
        }
        client.write_response_header(Box::new(response)).await.map_err(Error::into_down)?;
        if !interim {
            break;
        }
    }
    while let Some(body) = unless_gone(client, upstream.read_body_bytes()).await? {
        let body = compressor.as_mut().map_or(Ok(body.clone()), |compressor| compressor.take(Some(&body), false))?;
        if !body.is_empty() {
            client.write_response_body(body, false).await.map_err(Error::into_down)?;
        }
    }
    if let Some(mut compressor) = compressor {
        client.write_response_body(compressor.take(None, true)?, false).await.map_err(Error::into_down)?;
    }
    client.finish_body().await.map_err(Error::into_down)
}

/// A body that ends with the backend's connection is sent on in chunks, so that the client's connection outlives it.
fn frame(response: &mut ResponseHeader, head: bool) -> Result<()> {
    let bodyless = head || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framed = [header::TRANSFER_ENCODING, header::CONTENT_LENGTH].iter().any(|name| response.headers.contains_key(name));
    if !bodyless && !framed {
        response.set_version(Version::HTTP_11);
        response.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    Ok(())
}

/// Reads from a backend for as long as the client is there to be answered.
async fn unless_gone<T>(client: &mut ServerSession, read: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        read = read => read.map_err(Error::into_up),
        // The request has no body, so what arrives is the client's end or a fault of its.
        gone = client.read_body_or_idle(true) => {
            Err(gone.map_or_else(Error::into_down, |_| Error::new(ErrorType::ConnectionClosed).into_down()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str, headers: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut request = RequestHeader::build(method, path.as_bytes(), None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    #[test]
    fn what_has_no_body_and_no_say_on_connections_is_plain() {
        for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST"] {
            assert!(is_plain(&request(method, "/a?b", &[("host", "h"), ("accept", "*/*")])), "{method}");
        }
        for connection in ["Keep-Alive", "close"] {
            assert!(is_plain(&request("GET", "/", &[("Host", "h"), ("Connection", connection)])));
        }
    }

    #[test]
    fn everything_else_is_not() {
        let host = ("host", "h");
        for (name, value) in [
            ("content-length", "0"),
            ("transfer-encoding", "chunked"),
            ("connection", "keep-alive, x-secret"),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("expect", "100-continue"),
            ("te", "trailers"),
            ("trailer", "expires"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eA=="),
            ("proxy-authenticate", "Basic"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
        ] {
            assert!(!is_plain(&request("GET", "/", &[host, (name, value)])), "{name}: {value}");
        }
        assert!(!is_plain(&request("GET", "/", &[])));
        assert!(!is_plain(&request("GET", "http://other/", &[host])));
        assert!(!is_plain(&request("OPTIONS", "*", &[host])));
        assert!(!is_plain(&request("CONNECT", "h:1", &[host])));
        let mut old = request("GET", "/", &[host]);
        old.set_version(Version::HTTP_10);
        assert!(!is_plain(&old));
    }

    #[test]
    fn only_a_body_of_unknown_length_is_chunked() {
        let framed = |status: u16, length: bool, head: bool| {
            let mut response = ResponseHeader::build(status, None).unwrap();
            if length {
                response.insert_header(header::CONTENT_LENGTH, "3").unwrap();
            }
            frame(&mut response, head).unwrap();
            response.headers.contains_key(header::TRANSFER_ENCODING)
        };
        assert!(framed(200, false, false));
        assert!(!framed(200, true, false));
        assert!(!framed(200, false, true));
        assert!(!framed(204, false, false));
        assert!(!framed(304, false, false));
    }
}

//! Copies of requests, for whoever is to see them besides. Nobody waits for what becomes of a copy, and its answer is nobody's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eddy_router::Share;
use http::{HeaderName, HeaderValue, Version, header};
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::{ErrorType, OrErr, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::balance::Backends;
use crate::bridge::{Bridges, Connector};
use crate::pool::Pool;
use crate::proxy::{Gateway, RequestContext};
use crate::request::authority;
use crate::secured::{Secured, Speaks};

/// Copies under way at once, of a thread. More are left out.
const AT_ONCE: usize = 256;
/// Parts of a body that wait for whoever takes a copy. Whoever is further behind gets no more of it.
const PARTS_MAX: usize = 16;
/// A copy ends within this.
const WITHIN: Duration = Duration::from_secs(60);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Who is to see copies of a Route's requests, and of how many.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) backends: Backends,
    pub(crate) share: Share,
}

/// A part of a request's body.
enum Part {
    Data(Bytes),
    End,
}

/// Those who are sent the body of a request besides.
#[derive(Default)]
pub(crate) struct Copies(Vec<mpsc::Sender<Part>>);

impl Copies {
    /// Sends on what came of the body; whoever is too far behind gets no more, and sees that it is not whole.
    pub(crate) fn send(&mut self, data: Option<&Bytes>, is_end: bool) {
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            self.0.retain(|copy| copy.try_send(Part::Data(data.clone())).is_ok());
        }
        if is_end {
            self.0.drain(..).for_each(|copy| drop(copy.try_send(Part::End)));
        }
    }
}

/// Headers that concern one connection alone (RFC 9110, section 7.6.1), and what waits for an answer before the body.
const HOP_BY_HOP: [HeaderName; 6] =
    [header::CONNECTION, header::TE, header::TRAILER, header::UPGRADE, header::TRANSFER_ENCODING, header::EXPECT];

impl Gateway {
    /// Sends copies of a request to whoever its Route says.
    ///
    /// # Errors
    /// Where what they would be sent cannot be written.
    pub(crate) fn mirror(&self, session: &mut Session, context: &mut RequestContext) -> Result<()> {
        let Some(route) = context.route.clone().filter(|route| !route.mirrors.is_empty()) else { return Ok(()) };
        if session.is_upgrade_req() {
            return Ok(());
        }
        let has_body = !session.as_mut().is_body_empty();
        for mirror in &route.mirrors {
            if !mirror.share.takes(fastrand::u32(..)) {
                continue;
            }
            let (Ok(chosen), Ok(permit)) = (mirror.backends.choose(None), self.copies.clone().try_acquire_owned()) else {
                self.metrics.mirrors_left_out.inc();
                continue;
            };
            let mut request = session.req_header().clone();
            self.prepare(session, &mut request, context)?;
            to_http1(session.req_header(), &mut request, has_body)?;
            let (sender, parts) = mpsc::channel(PARTS_MAX);
            if has_body {
                context.copies.0.push(sender);
            }
            let secured = mirror.backends.at(chosen.backend).and_then(|backend| backend.secured.clone());
            let secured = secured.map(|secured| (secured, self.bridges.clone()));
            let address = chosen.endpoint.address;
            let copy = Copy { address, secured, request, parts: has_body.then_some(parts), _permit: permit };
            self.metrics.mirrored.inc();
            tokio::spawn(copy.send(self.pool.clone()));
        }
        Ok(())
    }
}

/// Makes of a client's request one of HTTP/1.1, on a connection of its own.
fn to_http1(asked: &RequestHeader, request: &mut RequestHeader, has_body: bool) -> Result<()> {
    let nominated: Vec<HeaderName> = asked
        .headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&nominated) {
        request.remove_header(name);
    }
    if !request.headers.contains_key(header::HOST)
        && let Some(host) = authority(asked)
    {
        request.insert_header(header::HOST, host)?;
    }
    if has_body && !request.headers.contains_key(header::CONTENT_LENGTH) {
        request.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    }
    request.set_version(Version::HTTP_11);
    Ok(())
}

/// A copy that is under way.
struct Copy {
    address: SocketAddr,
    /// How it is reached by TLS, if it is.
    secured: Option<(Arc<Secured>, Arc<Bridges>)>,
    request: RequestHeader,
    /// The body; none if there is none.
    parts: Option<mpsc::Receiver<Part>>,
    _permit: OwnedSemaphorePermit,
}

impl Copy {
    async fn send(mut self, pool: Arc<Pool>) {
        let sent = timeout(WITHIN, self.try_send(&pool)).await;
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, address = %self.address, "a copy of a request was not taken"),
            Err(_) => tracing::debug!(address = %self.address, "a copy of a request was not answered"),
        }
    }

    async fn try_send(&mut self, pool: &Pool) -> Result<()> {
        if let Some((secured, bridges)) = self.secured.clone() {
            let connector = Connector { secured, address: self.address, speaks: Speaks::Http1, bridges };
            let connected = timeout(CONNECT_WITHIN, connector.connect(&self.address.into())).await;
            let stream = connected.or_err(ErrorType::ConnectTimedout, "connecting to who takes copies")??;
            return self.exchange(HttpSession::new(Box::new(stream)), None).await;
        }
        // A connection that was kept may have been closed just now: without a body, another is as good.
        let mut again = self.parts.is_none();
        loop {
            let (stream, was_kept) = pool.connect(self.address, CONNECT_WITHIN).await?;
            match self.exchange(HttpSession::new(stream), Some(pool)).await {
                Err(_) if was_kept && std::mem::take(&mut again) => {}
                ended => return ended,
            }
        }
    }

    async fn exchange(&mut self, mut session: HttpSession, pool: Option<&Pool>) -> Result<()> {
        session.write_request_header(Box::new(self.request.clone())).await?;
        if let Some(parts) = &mut self.parts {
            loop {
                match parts.recv().await {
                    Some(Part::Data(data)) => drop(session.write_body(&data).await?),
                    Some(Part::End) => break,
                    // The rest of it will not come: the connection ends with it.
                    None => return Ok(()),
                }
            }
            session.finish_body().await?;
        }
        session.read_response().await?;
        while session.get_status().is_some_and(|status| status.is_informational()) {
            session.read_response().await?;
        }
        while session.read_body_bytes().await?.is_some() {}
        session.respect_keepalive();
        if let (Some(pool), Some(stream)) = (pool, session.reuse().await) {
            pool.keep(self.address, stream);
        }
        Ok(())
    }
}

/// Room for copies.
pub(crate) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_ONCE))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_a_request_of_http1_whatever_was_sent() {
        let mut asked = RequestHeader::build("POST", b"/a", None).unwrap();
        for (name, value) in [("connection", "close, x-mine"), ("x-mine", "1"), ("expect", "100-continue"), ("x-other", "2")] {
            asked.append_header(name, value).unwrap();
        }
        asked.set_version(Version::HTTP_2);
        asked.set_uri("http://h.example/a".parse().unwrap());
        let mut copy = asked.clone();
        to_http1(&asked, &mut copy, true).unwrap();
        assert_eq!(
            (copy.version, &copy.headers["host"], &copy.headers["transfer-encoding"]),
            (Version::HTTP_11, &"h.example".parse().unwrap(), &"chunked".parse().unwrap())
        );
        for name in ["connection", "x-mine", "expect"] {
            assert!(!copy.headers.contains_key(name), "{name}");
        }
        assert!(copy.headers.contains_key("x-other"));
    }
}

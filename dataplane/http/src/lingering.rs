//! Bodies of requests that were answered before they had come. A connection that is closed while bytes are on their way to it is
//! reset, and the answer may be lost with it: as nginx does (`lingering_close`), what comes is thrown away for a while instead.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::{HttpService, service_fn};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tower::ServiceExt;

/// Whoever goes on sending after the answer is listened to for so long,
const LINGER: Duration = Duration::from_secs(20);
/// and no longer when nothing comes for so long.
const SILENCE: Duration = Duration::from_secs(5);

/// A body of which the rest is thrown away when nobody reads on.
pub struct Lingering {
    body: Option<Incoming>,
    /// It is only sent when it is asked for, which reading does.
    is_awaited: bool,
    whole: Whole,
    /// Whoever fell silent before is not listened to any more.
    silence: Silence,
}

/// Whether a body was given up because nothing came of it: who reads it only hears that it is broken.
#[derive(Clone, Debug, Default)]
pub struct Silence(Arc<AtomicBool>);

impl Silence {
    /// Whether it was.
    pub fn fell(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// It was.
    pub fn fall(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether all of a body was read.
#[derive(Clone, Debug, Default)]
pub struct Whole(Arc<AtomicBool>);

impl Whole {
    /// Whether it was.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Lingering {
    /// With `is_awaited`, its sender waits to be asked for it (RFC 9110, section 10.1.1).
    pub fn new(body: Incoming, is_awaited: bool, silence: Silence) -> Self {
        let whole = Whole(Arc::new(AtomicBool::new(body.is_end_stream())));
        Self { body: Some(body), is_awaited, whole, silence }
    }

    /// Whether all of it was read, by and by.
    pub fn whole(&self) -> Whole {
        self.whole.clone()
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.is_awaited = false;
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(context));
        if frame.is_none() || body.is_end_stream() {
            self.whole.0.store(true, Ordering::Relaxed);
        }
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let comes = !self.is_awaited && !self.silence.fell();
        let rest = self.body.take().filter(|body| comes && !body.is_end_stream());
        if let (Some(rest), Ok(runtime)) = (rest, Handle::try_current()) {
            runtime.spawn(timeout(LINGER, throw_away(rest)));
        }
    }
}

async fn throw_away(mut rest: Incoming) {
    while let Ok(Some(Ok(_))) = timeout(SILENCE, rest.frame()).await {}
}

/// How the body of a request is to come.
#[derive(Clone, Copy, Debug)]
pub struct Coming {
    is_awaited: bool,
    is_never_asked: bool,
}

impl Coming {
    /// As its head says it.
    pub fn of(headers: &HeaderMap) -> Self {
        // Whoever sends a request waits to be asked for its body (RFC 9110, section 10.1.1).
        let is_awaited = headers.contains_key(EXPECT);
        // There is no body to be asked for.
        let is_empty = headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0");
        Self { is_awaited, is_never_asked: is_awaited && is_empty }
    }

    /// Whether its sender waits to be asked for it.
    pub fn is_awaited(self) -> bool {
        self.is_awaited
    }

    /// Ends the connection after an answer that came before all of the body, or in the place of asking for it: some clients (botocore) do not use it
    /// rightly any more then, and what comes of a body after the answer is no request.
    pub fn end<B>(self, whole: &Whole, response: &mut http::Response<B>) {
        let is_refused = self.is_awaited && !response.status().is_success();
        if !whole.came() || self.is_never_asked || is_refused {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Serves a router so that whoever is answered before all of their body has come hears the answer.
pub fn hearing(router: Router) -> impl HttpService<Incoming, ResBody = axum::body::Body, Error = Infallible, Future: Send> {
    service_fn(move |request: Request<Incoming>| {
        let coming = Coming::of(request.headers());
        let request = request.map(|body| Lingering::new(body, coming.is_awaited, Silence::default()));
        let whole = request.body().whole();
        let answer = router.clone().oneshot(request.map(axum::body::Body::new));
        async move {
            let mut response: Response = answer.await?;
            coming.end(&whole, &mut response);
            Ok::<_, Infallible>(response)
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::StatusCode;
    use axum::routing::post;
    use eddy_telemetry::Shutdown;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::{HEAD_WITHIN, connection};

    #[tokio::test]
    async fn whoever_is_refused_before_their_body_came_hears_of_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", post(async || StatusCode::FORBIDDEN));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = hearing(router.clone());
                tokio::spawn(async move { connection(stream, service, HEAD_WITHIN, &Shutdown::default()).await });
            }
        });
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 400000\r\n\r\n").await.unwrap();
            // It is refused by then, and the body is on its way, as from a proxy.
            stream.readable().await.unwrap();
            stream.write_all(&[b'x'; 200_000]).await.unwrap();
            tokio::task::yield_now().await;
            stream.write_all(&[b'x'; 200_000]).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("connection: close"), "{answer}");
        }
    }
}

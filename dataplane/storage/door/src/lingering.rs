//! Bodies of requests that were answered before they had come. A connection that is closed while bytes are on their way to it is
//! reset, and the answer may be lost with it: as nginx does (`lingering_close`), what comes is thrown away for a while instead.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::arriving::Silence;

/// Whoever goes on sending after the answer is listened to for so long,
const LINGER: Duration = Duration::from_secs(20);
/// and no longer when nothing comes for so long.
const SILENCE: Duration = Duration::from_secs(5);

/// A body of which the rest is thrown away when nobody reads on.
pub(crate) struct Lingering {
    body: Option<Incoming>,
    /// It is only sent when it is asked for, which reading does.
    is_awaited: bool,
    whole: Whole,
    /// Whoever fell silent before is not listened to any more.
    silence: Silence,
}

/// Whether all of a body was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whole(Arc<AtomicBool>);

impl Whole {
    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Lingering {
    /// With `is_awaited`, its sender waits to be asked for it (RFC 9110, section 10.1.1).
    pub(crate) fn new(body: Incoming, is_awaited: bool, silence: Silence) -> Self {
        let whole = Whole(Arc::new(AtomicBool::new(body.is_end_stream())));
        Self { body: Some(body), is_awaited, whole, silence }
    }

    pub(crate) fn whole(&self) -> Whole {
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

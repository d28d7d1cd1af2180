//! Bodies of requests on their way. Whoever sends nothing of one for too long, or hardly anything, has gone, whatever it is for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use eddy_http::{Lingering, Silence};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::patience::Patience;

/// A body that is given up when nothing comes of it.
pub(crate) struct Arriving<B = Lingering> {
    body: B,
    patience: Patience,
    came: u64,
    /// Since when the next bytes are waited for, and until when that is worth it.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    silence: Silence,
}

#[derive(Debug, thiserror::Error)]
#[error("nothing came for too long, or hardly anything")]
struct GivenUp;

/// What whoever sent it is told.
pub(crate) fn silence_words(silence_max: Duration) -> String {
    format!("nothing came for {} s, or hardly anything", silence_max.as_secs())
}

impl<B> Arriving<B> {
    /// From somebody who has gone after saying nothing for so long.
    pub(crate) fn new(body: B, silence_max: Duration, silence: Silence) -> Self {
        Self { body, patience: Patience::new(silence_max), came: 0, waiting: None, silence }
    }

    pub(crate) fn silence(&self) -> Silence {
        self.silence.clone()
    }
}

impl<B> Body for Arriving<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<s3s::StdError>,
{
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, s3s::StdError>>> {
        if self.silence.fell() {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            let left = this.patience.left();
            let (_, end) = this.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
            ready!(end.as_mut().poll(context));
            this.silence.fall();
            return Poll::Ready(Some(Err(GivenUp.into())));
        };
        if let Some((since, _)) = this.waiting.take() {
            this.patience.waited(since.elapsed());
        }
        if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
            this.came += data.map_or(0, Bytes::len) as u64;
            this.patience.set_moved(this.came);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// So many bytes every ten seconds, so often, and then nothing for ever.
    fn slow(bytes: usize, times: usize) -> Arriving<impl Body<Data = Bytes, Error = Infallible> + Unpin> {
        let pieces = stream::iter(0..times).then(move |_| async move {
            sleep(Duration::from_secs(10)).await;
            Ok(Frame::data(Bytes::from(vec![0; bytes])))
        });
        Arriving::new(StreamBody::new(Box::pin(pieces.chain(stream::pending()))), MINUTE, Silence::default())
    }

    async fn given_up_after(mut body: Arriving<impl Body<Data = Bytes, Error = Infallible> + Unpin>) -> (u64, u64) {
        let (start, silence) = (Instant::now(), body.silence());
        let mut came = 0;
        loop {
            match body.frame().await.unwrap() {
                Ok(frame) => came += frame.into_data().unwrap().len() as u64,
                Err(_) => break,
            }
            assert!(!silence.fell());
        }
        assert!(silence.fell() && body.frame().await.is_none());
        (came, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_nothing_is_waited_for_a_while() {
        assert_eq!(given_up_after(slow(1, 0)).await, (0, 60));
        assert_eq!(given_up_after(slow(20_000, 2)).await, (40_000, 80));
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_hardly_anything_is_waited_for_no_longer_and_who_is_slow_is() {
        assert_eq!(given_up_after(slow(1, 1000)).await, (6, 60));
        let (came, seconds) = given_up_after(slow(20_000, 1000)).await;
        assert_eq!((came, seconds), (20_000_000, 10_060));
    }
}

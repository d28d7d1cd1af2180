//! Writing records, without anybody waiting for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use eddy_http::{Limits, Rate};
use futures::StreamExt;
use futures::stream;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::often::{self, Lost, Often};
use crate::record::{Outcome, Record};

/// Records that wait for the bus; some KiB each.
const WAITING_MAX: usize = 10_000;
/// Records under way at once.
const AT_ONCE: usize = 64;
/// What was not done is written down so often of one who tried: who may not, may try for ever.
const NOT_DONE: Rate = Rate { at_once: 200, one_more_every: Duration::from_secs(30) };
/// At the end, what waits has so long.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Between tries to write one.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes records. Clones write to the same.
#[derive(Clone)]
pub struct Recorder {
    waiting: Option<mpsc::Sender<Record>>,
    not_done: Arc<Limits>,
    often: Arc<Often>,
    lost: Counter,
    left_out: Counter,
}

/// The writing of records, to be ended in order.
pub struct Writing {
    recorder: Recorder,
    end: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

impl Writing {
    /// Takes no more records, and waits a while until those that wait are written.
    pub async fn end(self) {
        self.recorder.end_minute();
        let _ = self.end.send(());
        if timeout(END_WITHIN, self.done).await.is_err() {
            tracing::warn!("records of who did what were not written: the bus is away");
        }
    }
}

impl Recorder {
    /// One that writes to the stream, and counts what it wrote and what was lost.
    pub fn open(client: &Client, registry: &mut Registry) -> (Self, Writing) {
        let (written, lost, left_out) = (Counter::default(), Counter::default(), Counter::default());
        registry.register("eddy_audit_records", "Records of who did what that were written", written.clone());
        registry.register("eddy_audit_lost", "Records of who did what that found no room to wait for the bus", lost.clone());
        registry.register("eddy_audit_left_out", "Records of what was not done, of who tried too often", left_out.clone());
        let (waiting, coming) = mpsc::channel(WAITING_MAX);
        let (end, ended) = oneshot::channel();
        let done = tokio::spawn(write_all(jetstream::new(client.clone()), coming, ended, written));
        let recorder = Self::of(Some(waiting), lost, left_out);
        tokio::spawn(recorder.clone().tell_numbers());
        (recorder.clone(), Writing { recorder, end, done })
    }

    fn of(waiting: Option<mpsc::Sender<Record>>, lost: Counter, left_out: Counter) -> Self {
        Self { waiting, not_done: Arc::new(Limits::new(NOT_DONE)), often: Arc::new(Often::new()), lost, left_out }
    }

    async fn tell_numbers(self) {
        loop {
            sleep(often::EVERY).await;
            for record in self.often.end_minute() {
                // There may be more than room for them: they wait, and nothing for them.
                let Some(waiting) = &self.waiting else { continue };
                if waiting.send(record).await.is_err() {
                    return;
                }
            }
        }
    }

    fn end_minute(&self) {
        for record in self.often.end_minute() {
            self.record(record);
        }
    }

    /// One that writes nowhere.
    pub fn nowhere() -> Self {
        Self::of(None, Counter::default(), Counter::default())
    }

    /// Writes a record of what is done often, to something in a place, as to a file in a namespace: soon if it is news, or at the end of
    /// the minute how often it was done. Whoever does very much is told of only as a number of what they did in that place.
    pub fn record_often(&self, record: Record, place: &str) {
        if record.outcome != Outcome::Done {
            return self.record(record);
        }
        match self.often.take(record, place, Instant::now()) {
            Ok(Some(record)) => self.record(record),
            Ok(None) => {}
            Err(Lost) => drop(self.lost.inc()),
        }
    }

    /// Writes records soon, all or none of them, of those that count. Returns how many do.
    ///
    /// # Errors
    /// That there is no room for them now.
    pub fn record_all(&self, records: Vec<Record>) -> Result<usize, NoRoom> {
        let Some(waiting) = &self.waiting else { return Ok(0) };
        let room = waiting.try_reserve_many(records.len()).map_err(|_| NoRoom)?;
        let counting = records.into_iter().filter(|record| self.counts(record));
        Ok(room.zip(counting).map(|(place, record)| place.send(record)).count())
    }

    /// Writes a record soon. Of what somebody tries again and again and is not let do, not all.
    pub fn record(&self, record: Record) {
        let Some(waiting) = &self.waiting else { return };
        if self.counts(&record) && waiting.try_send(record).is_err() {
            self.lost.inc();
        }
    }

    /// Whether it is written down.
    fn counts(&self, record: &Record) -> bool {
        // Nobody in particular is many: what one of them tries in somebody's name hides nothing of what is tried in another's.
        let who = (&record.actor.user, &record.actor.kubernetes_user, &record.tenant);
        let counts = record.outcome == Outcome::Done || self.not_done.count(who, Instant::now()).is_ok();
        if !counts {
            self.left_out.inc();
        }
        counts
    }
}

/// Too many records wait for the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many records wait to be written")]
pub struct NoRoom;

async fn write_all(context: Context, coming: mpsc::Receiver<Record>, ended: oneshot::Receiver<()>, written: Counter) {
    let next = |(mut coming, mut ended): (mpsc::Receiver<Record>, Option<oneshot::Receiver<()>>)| async move {
        loop {
            let Some(waits) = &mut ended else { return coming.recv().await.map(|record| (record, (coming, None))) };
            tokio::select! {
                record = coming.recv() => return record.map(|record| (record, (coming, ended))),
                _ = waits => {
                    // What is there is still written.
                    coming.close();
                    ended = None;
                }
            }
        }
    };
    let records = stream::unfold((coming, Some(ended)), next);
    let write = records.map(|record| write(&context, record, &written));
    write.buffer_unordered(AT_ONCE).for_each(|()| async {}).await;
}

/// Tries until it is written. Who reads is not told of one twice: the bus knows it again by what it says, its time among it.
async fn write(context: &Context, record: Record, written: &Counter) {
    let Ok(payload) = serde_json::to_vec(&record) else { return };
    let name = format!("{:x}", Bytes::copy_from_slice(&Sha256::digest(&payload)));
    for subject in record.subjects() {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{name}-{subject}"));
        loop {
            let sent = context.publish_with_headers(subject.clone(), headers.clone(), payload.clone().into()).await;
            let done = match sent {
                Ok(acknowledged) => acknowledged.await.map(drop),
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => break,
                Err(error) => {
                    tracing::debug!(%error, "failed to write a record; it is tried again");
                    sleep(PAUSE).await;
                }
            }
        }
    }
    written.inc();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::record::Actor;

    #[test]
    fn of_what_comes_together_all_is_written_or_nothing() {
        let (waiting, mut coming) = mpsc::channel(3);
        let recorder = Recorder::of(Some(waiting), Counter::default(), Counter::default());
        let done = |count: usize| vec![Record::now(Actor::default(), "containers.create", "ada", "web", Outcome::Done); count];
        assert_eq!((recorder.record_all(done(2)), recorder.record_all(done(2))), (Ok(2), Err(NoRoom)));
        assert_eq!(coming.len(), 2);
        coming.close();
        assert_eq!(recorder.record_all(done(1)), Err(NoRoom), "nobody writes any more");
    }

    #[test]
    fn what_is_tried_in_one_name_hides_nothing_of_another() {
        let (waiting, mut coming) = mpsc::channel(WAITING_MAX);
        let recorder = Recorder::of(Some(waiting), Counter::default(), Counter::default());
        let failed = |tenant: &str| Record::now(Actor::default(), "session.begin", tenant, "", Outcome::Failed);
        for _ in 0..NOT_DONE.at_once + 50 {
            recorder.record(failed("bob"));
        }
        recorder.record(failed("ada"));
        recorder.record(Record { outcome: Outcome::Done, ..failed("bob") });
        let mut tenants = Vec::new();
        while let Ok(record) = coming.try_recv() {
            tenants.push((record.tenant, record.outcome));
        }
        assert_eq!(tenants.len(), usize::try_from(NOT_DONE.at_once).unwrap() + 2);
        assert!(tenants.contains(&("ada".into(), Outcome::Failed)) && tenants.contains(&("bob".into(), Outcome::Done)));
        assert_eq!(recorder.left_out.get(), 50);
    }
}

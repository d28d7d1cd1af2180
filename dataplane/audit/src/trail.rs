//! The stream that records are in.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::context::CreateStreamError;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use futures::StreamExt;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::timeout;

use crate::STREAM;
use crate::record::{ALL, Record, of};

/// Records stay for so long,
const AGE_MAX: Duration = Duration::from_secs(400 * 24 * 3600);
/// and so many bytes of them, all together,
const BYTES_MAX: i64 = 512 * 1024 * 1024;
/// and so many of each sort of one tenant's: who does much pushes out no others', nor what strangers try what was done.
const A_SORT: i64 = 50_000;
/// A page is read within this.
const WITHIN: Duration = Duration::from_secs(10);
/// More records come by pages.
const PAGE_MAX: usize = 1000;

/// Records, to be read.
#[derive(Clone)]
pub struct Trail(Context);

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// The stream cannot be made.
    #[error("failed to make the stream {STREAM}")]
    Make(#[from] CreateStreamError),
    /// It cannot be read.
    #[error("failed to read the stream {STREAM}: {0}")]
    Read(String),
    /// The bus says nothing.
    #[error("the bus did not answer within {} s", WITHIN.as_secs())]
    Late,
}

/// Which records are asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Those of a user: what was done in their place, and what they did elsewhere; all if none.
    pub user: Option<String>,
    /// No older ones.
    pub since: Timestamp,
    /// Those after the one of this number.
    pub after: Option<u64>,
    /// So many at most.
    pub limit: usize,
}

/// Records, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Page {
    /// The records.
    pub items: Vec<Record>,
    /// The number of the last one, to ask for those after it; none if there are no more now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

impl Trail {
    /// Makes the stream, if it is not there, with so many replicas.
    ///
    /// # Errors
    /// That it cannot be made.
    pub async fn open(client: &Client, replicas: usize) -> Result<Self, TrailError> {
        let context = jetstream::new(client.clone());
        let config = Config {
            name: STREAM.to_owned(),
            description: Some("Who did what".to_owned()),
            subjects: vec!["eddy.audit.>".to_owned()],
            max_age: AGE_MAX,
            max_bytes: BYTES_MAX,
            max_messages_per_subject: A_SORT,
            max_message_size: 16 * 1024,
            discard: DiscardPolicy::Old,
            storage: StorageType::File,
            num_replicas: replicas,
            // A record that is sent again is known again for so long.
            duplicate_window: Duration::from_secs(600),
            // Nothing is taken away before its time.
            deny_delete: true,
            deny_purge: true,
            ..Config::default()
        };
        context.create_or_update_stream(config).await?;
        Ok(Self(context))
    }

    /// To read from a stream that is there.
    pub fn of(client: &Client) -> Self {
        Self(jetstream::new(client.clone()))
    }

    /// Reads records.
    ///
    /// # Errors
    /// See [`TrailError`].
    pub async fn read(&self, asked: &Asked) -> Result<Page, TrailError> {
        timeout(WITHIN, self.page(asked)).await.map_err(|_| TrailError::Late)?
    }

    async fn page(&self, asked: &Asked) -> Result<Page, TrailError> {
        fn failed(error: impl std::fmt::Display) -> TrailError {
            TrailError::Read(error.to_string())
        }
        let filter_subjects = asked.user.as_deref().map_or_else(|| ALL.map(str::to_owned).into(), |user| vec![of(user)]);
        let deliver_policy = match asked.after {
            Some(after) => DeliverPolicy::ByStartSequence { start_sequence: after.saturating_add(1) },
            None => {
                let start_time = time::OffsetDateTime::from_unix_timestamp(asked.since.as_second()).map_err(failed)?;
                DeliverPolicy::ByStartTime { start_time }
            }
        };
        let config = pull::OrderedConfig { filter_subjects, deliver_policy, ..pull::OrderedConfig::default() };
        let stream = self.0.get_stream(STREAM).await.map_err(failed)?;
        let mut consumer = stream.create_consumer(config).await.map_err(failed)?;
        let limit = asked.limit.clamp(1, PAGE_MAX);
        let pending = consumer.info().await.map_err(failed)?.num_pending;
        let mut page = Page::default();
        if pending == 0 {
            return Ok(page);
        }
        let mut messages = consumer.messages().await.map_err(failed)?;
        while let Some(message) = messages.next().await {
            let message = message.map_err(failed)?;
            let about = message.info().map_err(failed)?;
            let (number, left) = (about.stream_sequence, about.pending);
            match serde_json::from_slice::<Record>(&message.payload) {
                Ok(record) => page.items.push(record),
                Err(error) => tracing::warn!(%error, number, "a record is not as this version writes it"),
            }
            if left == 0 {
                break;
            }
            if page.items.len() >= limit {
                page.next = Some(number);
                break;
            }
        }
        Ok(page)
    }
}

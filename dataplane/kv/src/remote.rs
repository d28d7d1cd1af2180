//! A store in other processes: a client of its replicas.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eddy_rpc::{Answers, CallError, Client, Transport};
use futures::{StreamExt, stream};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::error::{KvError, Result};
use crate::model::{Read, ReadResult, Row, Transaction, Version, validate_reads};
use crate::protocol::{Refusal, Request, Status, decode, encode};
use crate::replicated::ImportedRow;
use crate::store::{RowStream, Store};

/// What takes longer is given up: a new leader is there within 3 s.
const PATIENCE: Duration = Duration::from_secs(10);
/// A read that takes longer is asked of another replica.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// Changing the members may mean sending all rows.
const MEMBERS_TIMEOUT: Duration = Duration::from_secs(1800);
/// Between tries, while no replica leads.
const PAUSE: Duration = Duration::from_millis(50);

/// A store in other processes.
pub struct Remote {
    replicas: Vec<Arc<Client>>,
    /// Whoever led when it was last asked; it may be none of these.
    leader: Mutex<Option<Arc<Client>>>,
    /// Which of them is asked next where nobody knows who leads.
    next: AtomicUsize,
    transport: Arc<dyn Transport>,
}

/// What became of asking one replica.
enum Asked<T> {
    Answered(T),
    /// It refused or has not heard: another may do it.
    Elsewhere(KvError, Option<String>),
    /// It may have done it.
    Lost(KvError),
}

impl Remote {
    /// A client of the replicas with these addresses, `host:port`; one is enough for the others to be found, while it lives.
    pub fn new(transport: Arc<dyn Transport>, addresses: &[String]) -> Self {
        let replicas = addresses.iter().map(|address| Arc::new(Client::new(transport.clone(), address))).collect();
        Self { replicas, leader: Mutex::default(), next: AtomicUsize::new(0), transport }
    }

    /// How each replica is, by the address it was asked at.
    pub async fn status(&self) -> Vec<(String, Result<Status>)> {
        let asked = self.replicas.iter().map(|replica| async {
            let status = match ask(replica, &Request::Status, READ_TIMEOUT).await {
                Asked::Answered(status) => Ok(status),
                Asked::Elsewhere(error, _) | Asked::Lost(error) => Err(error),
            };
            (replica.address().to_owned(), status)
        });
        futures::future::join_all(asked).await
    }

    /// Ends the membership of the replica with this address.
    ///
    /// # Errors
    /// [`KvError::Unavailable`], also where there is none or it is the only voter.
    pub async fn remove(&self, address: &str) -> Result<()> {
        self.of_leader(&Request::Remove(address.to_owned()), MEMBERS_TIMEOUT).await
    }

    /// Asks whoever leads, once it is known to have heard; before that, one after the other.
    async fn of_leader<T: DeserializeOwned>(&self, request: &Request, timeout: Duration) -> Result<T> {
        let deadline = Instant::now() + timeout;
        loop {
            let error = match self.ask_current(&self.current()?, request, deadline).await {
                Asked::Answered(answer) => return Ok(answer),
                Asked::Lost(error) => return Err(error),
                Asked::Elsewhere(error, _) => error,
            };
            if Instant::now() + PAUSE >= deadline {
                return Err(error);
            }
        }
    }

    /// Asks the one that led, and finds out whom to ask next.
    async fn ask_current<T: DeserializeOwned>(&self, current: &Arc<Client>, request: &Request, deadline: Instant) -> Asked<T> {
        let asked = ask(current, request, deadline.saturating_duration_since(Instant::now())).await;
        if let Asked::Elsewhere(_, leader) = &asked {
            let other = leader.as_deref().filter(|leader| *leader != current.address());
            if other.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
            self.ask_next(current, other);
        }
        asked
    }

    /// Whom to ask.
    fn current(&self) -> Result<Arc<Client>> {
        let mut leader = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leader) = &*leader {
            return Ok(leader.clone());
        }
        let next = self.next.load(Ordering::Relaxed) % self.replicas.len().max(1);
        let nobody = || KvError::Unavailable { reason: "no replica's address is known".into() };
        Ok(leader.insert(self.replicas.get(next).ok_or_else(nobody)?.clone()).clone())
    }

    /// From now on asks the one with this address, or the next if it is not known who leads; unless somebody found another than who was asked meanwhile.
    fn ask_next(&self, asked: &Arc<Client>, leader: Option<&str>) {
        let known = |leader| self.replicas.iter().find(|replica| replica.address() == leader).cloned();
        let client = |leader| known(leader).unwrap_or_else(|| Arc::new(Client::new(self.transport.clone(), leader)));
        let leader = leader.map(client);
        let mut now = self.leader.lock().unwrap_or_else(PoisonError::into_inner);
        if now.as_ref().is_some_and(|now| !Arc::ptr_eq(now, asked)) {
            return;
        }
        if leader.is_none() {
            self.next.fetch_add(1, Ordering::Relaxed);
        }
        *now = leader;
    }

    async fn import_all(&self, restore: Version, mut rows: RowStream<'_>) -> Result<()> {
        while let Some(batch) = rows.next().await {
            for some in ImportedRow::in_commands(batch?) {
                let () = self.of_leader(&Request::Import { restore, rows: some }, PATIENCE).await?;
            }
        }
        Ok(())
    }
}

async fn ask<T: DeserializeOwned>(replica: &Client, request: &Request, timeout: Duration) -> Asked<T> {
    let request = match encode(request) {
        Ok(request) => request,
        Err(error) => return Asked::Lost(error),
    };
    let late = || KvError::Unknown { reason: format!("{} has not answered for {} ms", replica.address(), timeout.as_millis()) };
    let Ok(called) = tokio::time::timeout(timeout, replica.call(request)).await else { return Asked::Lost(late()) };
    match called.map(|answer| read_answer(&answer)) {
        Ok(Ok(answer)) => Asked::Answered(answer),
        Ok(Err(Refusal::NotLeader { leader })) => {
            let reason = format!("{} does not lead", replica.address());
            Asked::Elsewhere(KvError::Unavailable { reason }, leader)
        }
        Ok(Err(Refusal::Store(error @ KvError::Unavailable { .. }))) => Asked::Elsewhere(error, None),
        Ok(Err(refusal)) => Asked::Lost(refusal.into()),
        Err(error @ CallError::NotSent { .. }) => Asked::Elsewhere(KvError::Unavailable { reason: error.to_string() }, None),
        Err(error @ CallError::Lost { .. }) => Asked::Lost(KvError::Unknown { reason: error.to_string() }),
    }
}

fn call_failed(error: CallError) -> KvError {
    KvError::Unavailable { reason: error.to_string() }
}

fn read_answer<T: DeserializeOwned>(answer: &Bytes) -> Result<T, Refusal> {
    decode::<Result<T, Refusal>>(answer)?
}

#[async_trait]
impl Store for Remote {
    async fn read(&self, reads: Vec<Read>) -> Result<Vec<ReadResult>> {
        validate_reads(&reads)?;
        let request = Request::Read(reads);
        let (deadline, mut others) = (Instant::now() + PATIENCE, self.replicas.len());
        loop {
            let current = self.current()?;
            // Asking twice does no harm.
            let error = match self.ask_current(&current, &request, deadline.min(Instant::now() + READ_TIMEOUT)).await {
                Asked::Answered(answer) => return Ok(answer),
                Asked::Lost(KvError::Unknown { reason }) => {
                    self.ask_next(&current, None);
                    KvError::Unavailable { reason }
                }
                // Its disk changed what others still have.
                Asked::Lost(error @ KvError::Broken { .. }) if others > 1 => {
                    others -= 1;
                    self.ask_next(&current, None);
                    error
                }
                Asked::Lost(error) => return Err(error),
                Asked::Elsewhere(error, _) => error,
            };
            if Instant::now() + PAUSE >= deadline {
                return Err(error);
            }
        }
    }

    async fn commit(&self, transaction: Transaction) -> Result<Version> {
        transaction.validate()?;
        self.of_leader(&Request::Commit(transaction), PATIENCE).await
    }

    async fn export(&self) -> Result<RowStream<'_>> {
        let request = encode(&Request::Export)?;
        // One that led may be none of them.
        let mut left = self.replicas.len() + 1;
        let (client, answers) = loop {
            // A connection of its own: whoever takes the rows slowly holds up nobody.
            let current = self.current()?;
            let client = Client::new(self.transport.clone(), current.address());
            match client.stream(request.clone()).await {
                Ok(answers) => break (client, answers),
                Err(error) if left <= 1 => return Err(call_failed(error)),
                Err(_) => self.ask_next(&current, None),
            }
            left -= 1;
        };
        let batches = stream::try_unfold((client, answers), async |(client, mut answers): (Client, Answers)| {
            let Some(answer) = answers.next().await.map_err(call_failed)? else { return Ok(None) };
            let rows: Vec<Row> = read_answer(&answer)?;
            Ok((!rows.is_empty()).then_some((rows, (client, answers))))
        });
        Ok(batches.boxed())
    }

    async fn import(&self, rows: RowStream<'_>) -> Result<()> {
        let restore = self.of_leader(&Request::BeginImport, PATIENCE).await?;
        let filled = self.import_all(restore, rows).await;
        let ended = self.of_leader(&Request::EndImport { restore, complete: filled.is_ok() }, PATIENCE).await;
        filled.and(ended)
    }
}

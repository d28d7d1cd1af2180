//! How a replica reaches the others: one connection to each, and another one while it sends all rows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use eddy_rpc::{Client, Transport};
use serde::de::DeserializeOwned;

use crate::error::KvError;
use crate::protocol::{Envelope, PeerMessage, Refusal, Request, decode, encode};

/// The others of the group. Clones share connections.
#[derive(Clone)]
pub(crate) struct Peers(Arc<Shared>);

struct Shared {
    transport: Option<Arc<dyn Transport>>,
    /// The group's number; 0 before there is one.
    group: AtomicU64,
    clients: Mutex<HashMap<String, Arc<Client>>>,
}

impl Peers {
    /// Without a transport, there are no others.
    pub(crate) fn new(transport: Option<Arc<dyn Transport>>) -> Self {
        Self(Arc::new(Shared { transport, group: AtomicU64::new(0), clients: Mutex::default() }))
    }

    /// The same replicas, over connections of their own: what takes long on one is not given up with what does not.
    pub(crate) fn apart(&self) -> Self {
        let group = AtomicU64::new(self.0.group.load(Ordering::Acquire));
        Self(Arc::new(Shared { transport: self.0.transport.clone(), group, clients: Mutex::default() }))
    }

    pub(crate) fn set_group(&self, group: u64) {
        self.0.group.store(group, Ordering::Release);
    }

    /// The group's number, where there is one.
    pub(crate) fn group(&self) -> Option<u64> {
        Some(self.0.group.load(Ordering::Acquire)).filter(|group| *group > 0)
    }

    /// Asks a replica that is at an address.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        address: &str,
        request: &Request,
        timeout: Duration,
    ) -> Result<T, Refusal> {
        let answer = self.call(address, encode(request)?, timeout).await?;
        decode::<Result<T, Refusal>>(&answer)?
    }

    /// Asks one replica and no other.
    pub(crate) async fn tell<T: DeserializeOwned>(
        &self,
        to: u64,
        address: &str,
        message: PeerMessage,
        timeout: Duration,
    ) -> Result<T, Refusal> {
        let group = self.group().unwrap_or_default();
        self.ask(address, &Request::Peer(Envelope { group, to, message }), timeout).await
    }

    async fn call(&self, address: &str, request: Bytes, timeout: Duration) -> Result<Bytes, KvError> {
        let client = self.client(address)?;
        let answered = tokio::time::timeout(timeout, client.call(request)).await;
        let late = |_| unavailable(&format!("{address} has not answered for {} ms", timeout.as_millis()));
        answered.map_err(late)?.map_err(|error| unavailable(&error))
    }

    fn client(&self, address: &str) -> Result<Arc<Client>, KvError> {
        let Some(transport) = &self.0.transport else { return Err(unavailable(&"this replica is the only one")) };
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(address) {
            return Ok(client.clone());
        }
        let client = Arc::new(Client::new(transport.clone(), address));
        clients.insert(address.to_owned(), client.clone());
        Ok(client)
    }
}

/// What cannot be asked now.
pub(crate) fn unavailable(reason: &dyn std::fmt::Display) -> KvError {
    KvError::Unavailable { reason: reason.to_string() }
}

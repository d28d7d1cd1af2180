//! Where a server is, and which.

use eddy_chunks::FileId;
use serde::{Deserialize, Serialize};

/// Where a server is, and which one that must be: an address may be another's by the time it is used, and what one server has says
/// nothing of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAddress {
    /// `host:port`.
    pub address: String,
    /// Its number; none for whoever is there.
    pub server: Option<u64>,
}

/// Who has a file of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The server.
    pub server: ServerAddress,
    /// The file's number.
    pub file: u64,
}

impl Source {
    /// What the server calls the file.
    pub const fn id(&self, chunk: u64) -> FileId {
        FileId { chunk, file: self.file }
    }
}

impl ServerAddress {
    /// Where a certain server is.
    pub fn of(server: u64, address: impl Into<String>) -> Self {
        Self { address: address.into(), server: Some(server) }
    }

    pub(crate) fn is(&self, server: u64) -> bool {
        self.server.is_none_or(|wanted| wanted == server)
    }
}

impl From<&Self> for ServerAddress {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

impl From<&str> for ServerAddress {
    fn from(address: &str) -> Self {
        Self { address: address.to_owned(), server: None }
    }
}

impl From<&String> for ServerAddress {
    fn from(address: &String) -> Self {
        Self::from(address.as_str())
    }
}

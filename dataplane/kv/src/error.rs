//! What can go wrong, by what the caller can do about it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{
    KEY_BYTES_MAX, READS_MAX, SCAN_ROWS_MAX, TRANSACTION_BYTES_MAX, TRANSACTION_OPERATIONS_MAX, VALUE_BYTES_MAX, as_bytes,
};

/// What a store returns.
pub type Result<T, E = KvError> = std::result::Result<T, E>;

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum KvError {
    /// No store could do it. Nothing happened.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A row changed since it was read. Nothing happened: read again and decide anew.
    #[error("the row {key:?} changed since it was read")]
    Conflict {
        /// The row.
        #[serde(with = "as_bytes")]
        key: Bytes,
    },
    /// A counter would grow beyond its bound. Nothing happened.
    #[error("the counter {key:?} holds {number} and may hold {at_most} at most")]
    Exceeded {
        /// The counter.
        #[serde(with = "as_bytes")]
        key: Bytes,
        /// What it holds.
        number: i64,
        /// What it may hold.
        at_most: i64,
    },
    /// The store cannot be reached or does not serve. Nothing happened: try again later.
    #[error("the store does not answer: {reason}")]
    Unavailable {
        /// What is known of it.
        reason: String,
    },
    /// The connection or the leader was lost while a transaction was under way: it may have happened or not.
    /// Read what it would have written to find out.
    #[error("it is unknown whether the transaction happened: {reason}")]
    Unknown {
        /// What is known of it.
        reason: String,
    },
    /// The disk failed or the store's files are damaged. It serves no more until it is opened again.
    #[error("the store's files cannot be used: {reason}")]
    Broken {
        /// What is known of it.
        reason: String,
    },
    /// What is left on the disk is reserved: only what removes at least as many rows as it writes is taken. Nothing happened.
    #[error("the store's disk is full: {available_bytes} bytes are left, of which {reserved_bytes} are kept for what makes room")]
    Full {
        /// What is left.
        available_bytes: u64,
        /// What must be.
        reserved_bytes: u64,
    },
}

impl KvError {
    /// What everything is told while rows are restored, and after a restore that broke off.
    pub(crate) fn restoring() -> Self {
        Self::Unavailable { reason: "its rows are being restored; if that broke off, restore them again".into() }
    }
}

/// What breaks a limit of [`model`](crate::model).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum Invalid {
    #[error("a key is empty")]
    EmptyKey,
    #[error("a key has {0} bytes; {KEY_BYTES_MAX} are allowed")]
    KeyBytes(usize),
    #[error("a value has {0} bytes; {VALUE_BYTES_MAX} are allowed")]
    ValueBytes(usize),
    #[error("a transaction has {0} checks and writes; {TRANSACTION_OPERATIONS_MAX} are allowed")]
    Operations(usize),
    #[error("a transaction has {0} bytes; {TRANSACTION_BYTES_MAX} are allowed")]
    TransactionBytes(usize),
    #[error("a transaction names the key {0:?} twice")]
    KeyTwice(#[serde(with = "as_bytes")] Bytes),
    #[error("{0} reads are asked for at once; {READS_MAX} are allowed")]
    Reads(usize),
    #[error("a scan asks for {0} rows; {SCAN_ROWS_MAX} are allowed")]
    ScanRows(usize),
    #[error("the row {0:?} holds no counter")]
    NotACounter(#[serde(with = "as_bytes")] Bytes),
    #[error("the counter {0:?} would overflow")]
    CounterOverflow(#[serde(with = "as_bytes")] Bytes),
    #[error("rows are restored into an empty store only")]
    NotEmpty,
    #[error("another restore of the same store took over")]
    OtherRestore,
}

//! `kv`: the platform's transactional key-value store, of which storage's metadata, identity, the registry and the
//! datastore are layers.
//!
//! One small trait, [`Store`], that every backend keeps to the letter: ordered byte keys, reads at one
//! version, transactions of versions checked and keys written. [`model`] says what may be asked, `tests/conformance` what
//! must be answered: every backend passes the same suite. [`Store::export`] and [`backup`] copy a whole store to a file
//! while it serves.

pub mod backup;
pub mod component;
mod embedded;
mod error;
mod etcd;
#[cfg(feature = "fdb")]
mod fdb;
mod file;
pub mod journal;
pub mod model;
mod protocol;
mod remote;
mod replicated;
mod rows;
mod saved;
mod store;

pub use self::embedded::{Embedded, EmbeddedOptions, OpenError};
pub use self::error::{Invalid, KvError, Result};
pub use self::etcd::{Etcd, EtcdAccess, EtcdOptions};
#[cfg(feature = "fdb")]
pub use self::fdb::{Fdb, FdbClient, FdbOptions};
pub use self::model::{
    Check, KeyRange, Page, Read, ReadResult, Row, SCAN_ROWS_MAX, Scan, Transaction, Value, Version, Write, after_prefix,
};
pub use self::protocol::{Member, Status};
pub use self::remote::Remote;
pub use self::replicated::{GroupOptions, LogOptions, ReplicaError, Replicated, ReplicatedOptions, SalvageError, salvage, serve};
pub use self::store::{RowStream, Store};

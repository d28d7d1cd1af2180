//! What consensus is about.

use bytes::Bytes;
use openraft::BasicNode;
use serde::{Deserialize, Serialize};

use super::runtime::Runtime;
use super::state_machine::RowsView;
use crate::error::{Invalid, KvError, Result};
use crate::model::{Row, TRANSACTION_BYTES_MAX, Transaction, Version, as_bytes};

openraft::declare_raft_types!(
    /// The types of this Raft.
    pub(crate) Types:
        D = Command,
        R = Outcome,
        NodeId = u64,
        Node = BasicNode,
        Entry = openraft::Entry<Types>,
        SnapshotData = RowsView,
        AsyncRuntime = Runtime,
);

pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Entry = openraft::Entry<Types>;
pub(crate) type Membership = openraft::StoredMembership<u64, BasicNode>;
pub(crate) type StorageError = openraft::StorageError<u64>;

/// What every replica does, in the same order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Transactions within the limits, one after the other.
    Commits(Vec<Transaction>),
    /// Rows are going to be restored into an empty store, or anew where a restore broke off, or goes on without anyone's knowledge: its
    /// outcome's version is what the two below must name, so that of two restores the first changes nothing any more.
    BeginImport,
    /// Some of them.
    Import { restore: Version, rows: Vec<ImportedRow> },
    /// All are there, or the restore was given up and none may stay.
    EndImport { restore: Version, complete: bool },
}

/// A row without a version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ImportedRow {
    #[serde(with = "as_bytes")]
    pub(crate) key: Bytes,
    #[serde(with = "as_bytes")]
    pub(crate) value: Bytes,
}

impl ImportedRow {
    /// Rows in as many commands as keep each within what one transaction may have, or a row more.
    pub(crate) fn in_commands(rows: Vec<Row>) -> Vec<Vec<Self>> {
        let (mut commands, mut command, mut bytes) = (Vec::new(), Vec::new(), 0);
        for Row { key, value } in rows {
            bytes += key.len() + value.bytes.len();
            command.push(Self { key, value: value.bytes });
            if bytes >= TRANSACTION_BYTES_MAX {
                commands.push(std::mem::take(&mut command));
                bytes = 0;
            }
        }
        commands.push(command);
        commands
    }
}

/// What became of a command, the same on every replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// What became of each of several.
    Commits(Vec<Outcome>),
    /// It happened.
    Done(Version),
    /// [`KvError::Conflict`].
    Conflict(#[serde(with = "as_bytes")] Bytes),
    /// [`KvError::Exceeded`].
    Exceeded {
        #[serde(with = "as_bytes")]
        key: Bytes,
        number: i64,
        at_most: i64,
    },
    /// [`Invalid::NotACounter`].
    NotACounter(#[serde(with = "as_bytes")] Bytes),
    /// [`Invalid::CounterOverflow`].
    CounterOverflow(#[serde(with = "as_bytes")] Bytes),
    /// [`Invalid::NotEmpty`].
    NotEmpty,
    /// Rows are being restored.
    Restoring,
    /// The restore has ended, or another one has begun.
    OtherRestore,
    /// It was nothing that has an outcome, as a change of members.
    Nothing,
    /// [`KvError::Broken`]: it met a row that is not what was written, where no other replica has it.
    Damaged(String),
}

impl Outcome {
    /// What became of a transaction; none for what no transaction can meet.
    pub(crate) fn of(result: Result<(), KvError>, version: Version) -> Option<Self> {
        Some(match result {
            Ok(()) => Self::Done(version),
            Err(KvError::Conflict { key }) => Self::Conflict(key),
            Err(KvError::Exceeded { key, number, at_most }) => Self::Exceeded { key, number, at_most },
            Err(KvError::Invalid(Invalid::NotACounter(key))) => Self::NotACounter(key),
            Err(KvError::Invalid(Invalid::CounterOverflow(key))) => Self::CounterOverflow(key),
            Err(_) => return None,
        })
    }

    pub(crate) fn into_result(self) -> Result<Version> {
        Err(match self {
            Self::Done(version) => return Ok(version),
            Self::Nothing | Self::Commits(_) => return Ok(0),
            Self::Conflict(key) => KvError::Conflict { key },
            Self::Exceeded { key, number, at_most } => KvError::Exceeded { key, number, at_most },
            Self::NotACounter(key) => Invalid::NotACounter(key).into(),
            Self::CounterOverflow(key) => Invalid::CounterOverflow(key).into(),
            Self::NotEmpty => Invalid::NotEmpty.into(),
            Self::Restoring => KvError::restoring(),
            Self::OtherRestore => Invalid::OtherRestore.into(),
            Self::Damaged(reason) => KvError::Broken { reason },
        })
    }
}

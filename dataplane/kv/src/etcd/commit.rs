//! Transactions.

use bytes::Bytes;
use etcd_client::{Compare, CompareOp, Error, GetOptions, Txn, TxnOp};

use super::{Etcd, gets, revision_of, version_of};
use crate::error::{KvError, Result};
use crate::model::{Check, Transaction, Value, Version, Write, encode_counter};
use crate::rows::sum;

impl Etcd {
    pub(super) async fn commit_valid(&self, transaction: &Transaction) -> Result<Version> {
        let counters: Vec<&Bytes> = transaction.writes.iter().filter_map(counter).collect();
        let mut known = if counters.is_empty() { Vec::new() } else { self.values(&counters).await? };
        loop {
            let attempt = self.attempt(transaction, &counters, &known)?;
            // Whether it happened is unknown where no answer came.
            let answer = self.ask(attempt).await.map_err(unknown)?;
            if answer.succeeded() {
                return Ok(revision_of(&answer)?.unsigned_abs());
            }
            let mut found = gets(&answer).into_iter().map(|mut get| get.take_kvs().pop());
            if found.next().flatten().is_some() {
                return Err(KvError::restoring());
            }
            for Check { key, version } in &transaction.checks {
                let now = found.next().flatten().map(|found| version_of(&found));
                if now != *version {
                    return Err(KvError::Conflict { key: key.clone() });
                }
            }
            // Then a counter changed meanwhile, and this is what it holds now.
            known = found.map(|found| found.map(|found| self.row(found).value)).collect();
        }
    }

    async fn values(&self, keys: &[&Bytes]) -> Result<Vec<Option<Value>>> {
        let operations = keys.iter().map(|key| TxnOp::get(self.etcd_key(key), None)).collect();
        let (_, answers) = self.read_at_once(operations).await?;
        Ok(answers.into_iter().map(|mut answer| answer.take_kvs().pop().map(|found| self.row(found).value)).collect())
    }

    /// The transaction in etcd's terms, given what its counters hold. Where it does not hold, it tells what is there.
    fn attempt(&self, transaction: &Transaction, counters: &[&Bytes], known: &[Option<Value>]) -> Result<Txn> {
        let mut compares = vec![self.in_service()];
        compares.extend(transaction.checks.iter().map(|check| self.unchanged(&check.key, check.version)));
        let mut sums = known.iter();
        let mut writes = Vec::with_capacity(transaction.writes.len());
        for write in &transaction.writes {
            writes.push(match write {
                Write::Put { key, value } => TxnOp::put(self.etcd_key(key), value.clone(), None),
                Write::Delete { key } => TxnOp::delete(self.etcd_key(key), None),
                Write::Add { key, delta, at_most } => {
                    let before = sums.next().and_then(Option::as_ref);
                    let sum = sum(key, before.map(|value| value.bytes.as_ref()), *delta, *at_most)?;
                    compares.push(self.unchanged(key, before.map(|value| value.version)));
                    TxnOp::put(self.etcd_key(key), encode_counter(sum), None)
                }
            });
        }
        let keys_only = || Some(GetOptions::new().with_keys_only());
        let mut look = vec![TxnOp::get(self.restoring.clone(), keys_only())];
        look.extend(transaction.checks.iter().map(|check| TxnOp::get(self.etcd_key(&check.key), keys_only())));
        look.extend(counters.iter().map(|key| TxnOp::get(self.etcd_key(key), None)));
        Ok(Txn::new().when(compares).and_then(writes).or_else(look))
    }

    fn unchanged(&self, key: &[u8], version: Option<Version>) -> Compare {
        // A key that is not there has revision 0. What no revision can be equals none.
        let revision = version.map_or(0, |version| i64::try_from(version).unwrap_or(i64::MAX));
        Compare::mod_revision(self.etcd_key(key), CompareOp::Equal, revision)
    }
}

fn counter(write: &Write) -> Option<&Bytes> {
    if let Write::Add { key, .. } = write { Some(key) } else { None }
}

/// What etcd says where it takes nothing more, and did not take this (its rpctypes, `ErrGRPCNoSpace`).
const NO_SPACE: &str = "database space exceeded";

fn unknown(error: Error) -> KvError {
    match &error {
        // How much there is, it does not say.
        Error::GRpcStatus(status) if status.message().contains(NO_SPACE) => {
            KvError::Full { available_bytes: 0, reserved_bytes: 0 }
        }
        _ => KvError::Unknown { reason: error.to_string() },
    }
}

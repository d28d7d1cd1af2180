//! Objects that come in parts, in any order, and become objects at once.

use std::collections::BTreeMap;

use eddy_kv::{KvError, Transaction, Value};

use super::changes::Changes;
use super::chunks::chunk_keys;
use super::commit::{NewObject, Precondition, check_key};
use super::pieces::runs;
use super::{Metadata, TRIES, now_ms};
use crate::error::{ObjectError, Result};
use crate::schema::{
    Attributes, Contents, GoneRow, MultipartRow, NamespaceRow, Needed, ObjectRow, Part, PieceRow, decode, encode, gone_key,
    key_and_number, multipart_key, multiparts, piece_key,
};

/// Most parts of an object, as in S3; the first is number 1.
pub const PARTS_MAX: u16 = 10_000;
/// Somebody who began to make an object of parts and was not heard of for so long has died.
const ENDING_MAX_MS: u64 = 60_000;

/// An object that comes in parts, in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedMultipart {
    /// The key that it will have.
    pub key: String,
    /// Its number.
    pub upload: u64,
    /// What is known of it.
    pub row: MultipartRow,
}

/// A part that an object is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedPart {
    /// Its number.
    pub number: u16,
    /// The digest by which whoever asks knows it.
    pub digest: Vec<u8>,
    /// The checksum by which they know it, if so.
    pub checksum: Option<Vec<u8>>,
}

/// How parts become an object.
#[derive(Clone, Copy, Debug)]
pub struct Completion<'a> {
    /// The object that comes in parts.
    pub upload: u64,
    /// The parts that it is to have.
    pub wanted: &'a [WantedPart],
    /// The length of the shortest part but the last.
    pub part_bytes_min: u64,
    /// What must be so.
    pub precondition: &'a Precondition,
}

impl Metadata {
    /// Begins an object that comes in parts; its number.
    ///
    /// # Errors
    /// [`ObjectError::NoNamespace`], [`ObjectError::BadName`], or the store's.
    pub async fn create_multipart(&self, namespace: &str, key: &str, owner: &str, attributes: Attributes) -> Result<u64> {
        check_key(key)?;
        let row = MultipartRow { since_ms: now_ms(), owner: owner.to_owned(), attributes, ending_ms: None };
        for _ in 0..TRIES {
            let (space, value) = self.namespace_and_value(namespace).await?;
            let upload = fastrand::u64(1..);
            let mut changes = Changes::of(&space, namespace, &value);
            changes.put(multipart_key(space.id, key, upload), encode(&row)?);
            // Whoever deletes the namespace has not seen it.
            changes.announce();
            match self.commit(changes, &space).await {
                Err(ObjectError::Contended) => {}
                done => return done.map(|()| upload),
            }
        }
        Err(ObjectError::Contended)
    }

    /// An object that comes in parts.
    ///
    /// # Errors
    /// [`ObjectError::NoUpload`], or the store's.
    pub async fn multipart(&self, namespace: u64, key: &str, upload: u64) -> Result<MultipartRow> {
        Ok(self.multipart_and_value(namespace, key, upload).await?.0)
    }

    /// Objects that come in parts and whose keys begin so, after an upload of a key, and whether there are more. All of the key
    /// are skipped with the greatest number.
    ///
    /// # Errors
    /// The store's.
    pub async fn list_multiparts(
        &self,
        namespace: u64,
        prefix: &str,
        after: Option<(&str, u64)>,
        limit: usize,
    ) -> Result<(Vec<ListedMultipart>, bool)> {
        let mut range = multiparts(namespace, prefix);
        if let Some((key, upload)) = after {
            range.start = range.start.max(crate::schema::after(&multipart_key(namespace, key, upload)));
        }
        let page = self.store.scan(eddy_kv::Scan::new(range, limit.clamp(1, eddy_kv::SCAN_ROWS_MAX))).await?;
        let listed = page.rows.iter().map(|row| {
            let (key, upload) = key_and_number(&row.key).ok_or_else(|| ObjectError::Broken("an upload has no key".into()))?;
            Ok(ListedMultipart { key: key.to_owned(), upload, row: decode(&row.value.bytes)? })
        });
        Ok((listed.collect::<Result<_>>()?, page.more))
    }

    /// Makes an upload a part of an object that comes in parts, in the place of the one that had its number.
    ///
    /// # Errors
    /// [`ObjectError::NoUpload`], [`ObjectError::QuotaExceeded`], [`ObjectError::BadPart`], or the store's.
    pub async fn put_part(&self, namespace: &str, key: &str, multipart: u64, number: u16, new: NewObject) -> Result<PieceRow> {
        if !(1..=PARTS_MAX).contains(&number) {
            return Err(ObjectError::BadPart(format!("parts have numbers from 1 to {PARTS_MAX}")));
        }
        let NewObject { upload, bytes, attributes, keeping, needles, taking } = new;
        let part = Part { digest: attributes.etag.digest, checksum: attributes.checksum, modified_ms: now_ms() };
        let contents = self.contents(upload, needles, &taking).await?;
        let row = PieceRow { upload, bytes, contents, part: Some(part) };
        let piece = piece_key(multipart, number);
        for _ in 0..TRIES {
            let (space, value) = self.namespace_and_value(namespace).await?;
            let (open, open_value) = self.multipart_and_value(space.id, key, multipart).await?;
            let before = self.store.get(piece.clone()).await?;
            let mut changes = Changes::of(&space, namespace, &value);
            keeping.come_to(&space, namespace, &mut changes)?;
            changes.check(multipart_key(space.id, key, multipart), Some(&open_value));
            if let Some(since_ms) = open.ending_ms {
                if now_ms().saturating_sub(since_ms) < ENDING_MAX_MS {
                    return Err(ObjectError::NoUpload);
                }
                changes.put(multipart_key(space.id, key, multipart), encode(&MultipartRow { ending_ms: None, ..open })?);
            }
            changes.check(piece.clone(), before.as_ref());
            let mut bytes_before = 0;
            if let Some(before) = &before {
                let before: PieceRow = decode(&before.bytes)?;
                bytes_before = signed(before.bytes);
                changes.discard(before.upload, &before.contents)?;
            }
            changes.put(piece.clone(), encode(&row)?);
            changes.count(0, signed(bytes) - bytes_before);
            let by = Needed::Piece { of: multipart, piece: number };
            let chunks = self.get_all(chunk_keys(row.contents.needles())).await?;
            self.adopt(&mut changes, upload, &by, &row.contents, chunks, &taking).await?;
            match self.commit(changes, &space).await {
                Err(ObjectError::Contended) => {}
                done => return done.map(|()| row),
            }
        }
        Err(ObjectError::Contended)
    }

    /// Parts that came, by their numbers.
    ///
    /// # Errors
    /// [`ObjectError::NoUpload`], or the store's.
    pub async fn parts(&self, namespace: u64, key: &str, multipart: u64) -> Result<Vec<(u16, PieceRow)>> {
        self.multipart(namespace, key, multipart).await?;
        self.pieces(multipart).await
    }

    /// Makes parts an object; as it is then. Parts that are not wanted are gone.
    ///
    /// `seal` says, of the attributes that were given first and of the parts, what the object is known by.
    ///
    /// # Errors
    /// [`ObjectError::NoUpload`], [`ObjectError::BadPart`], [`ObjectError::PartTooShort`], [`ObjectError::PreconditionFailed`], or
    /// the store's. After any, the parts are still there.
    pub async fn complete_multipart(
        &self,
        namespace: &str,
        key: &str,
        completion: Completion<'_>,
        seal: impl Fn(&Attributes, &[PieceRow]) -> Result<Attributes> + Send + Sync,
    ) -> Result<ObjectRow> {
        let multipart = completion.upload;
        for _ in 0..TRIES {
            let (space, value) = self.namespace_and_value(namespace).await?;
            let (row, sealed) = match self.begin_ending(&space, key, multipart).await {
                // Whoever asked twice, since they did not hear the answer, hears it now.
                Err(ObjectError::NoUpload) => {
                    let done = self.object(space.id, key).await.ok().filter(|row| row.upload == multipart);
                    return done.ok_or(ObjectError::NoUpload);
                }
                Err(ObjectError::Contended) => continue,
                begun => begun?,
            };
            let begun = (&row, &sealed);
            match self.complete(&space, (namespace, &value), key, begun, completion, &seal).await {
                Err(ObjectError::Contended) => {}
                Err(error) => {
                    self.reopen(&space, key, multipart, &row, &sealed).await?;
                    return Err(error);
                }
                done => return done,
            }
        }
        Err(ObjectError::Contended)
    }

    /// Gives up an object that comes in parts.
    ///
    /// # Errors
    /// [`ObjectError::NoUpload`], or the store's.
    pub async fn abort_multipart(&self, namespace: &str, key: &str, multipart: u64) -> Result<()> {
        for _ in 0..TRIES {
            let (space, value) = self.namespace_and_value(namespace).await?;
            let (_, sealed) = match self.begin_ending(&space, key, multipart).await {
                Err(ObjectError::Contended) => continue,
                begun => begun?,
            };
            let bytes: u64 = self.pieces(multipart).await?.iter().map(|(_, piece)| piece.bytes).sum();
            let mut changes = Changes::of(&space, namespace, &value);
            changes.check(multipart_key(space.id, key, multipart), Some(&sealed));
            changes.delete(multipart_key(space.id, key, multipart));
            changes.put(gone_key(multipart), encode(&GoneRow { since_ms: 0, pieces: None })?);
            changes.count(0, -signed(bytes));
            match self.commit(changes, &space).await {
                Err(ObjectError::Contended) => {}
                done => return done,
            }
        }
        Err(ObjectError::Contended)
    }

    async fn complete(
        &self,
        space: &NamespaceRow,
        (namespace, value): (&str, &Value),
        key: &str,
        (row, sealed): (&MultipartRow, &Value),
        completion: Completion<'_>,
        seal: &(impl Fn(&Attributes, &[PieceRow]) -> Result<Attributes> + Send + Sync),
    ) -> Result<ObjectRow> {
        let Completion { upload: multipart, wanted, part_bytes_min, precondition } = completion;
        let mut there: BTreeMap<u16, PieceRow> = self.pieces(multipart).await?.into_iter().collect();
        let all: u64 = there.values().map(|piece| piece.bytes).sum();
        let parts = chosen(wanted, &mut there, part_bytes_min)?;
        let bytes = parts.iter().map(|piece| piece.bytes).sum();
        let contents =
            runs(wanted.iter().zip(&parts).map(|(wanted, piece)| (wanted.number, piece.bytes))).map(Contents::Pieces)?;
        let attributes = seal(&row.attributes, &parts)?;
        let known = self.known(space, key).await?;
        precondition.check(known.present())?;
        let mut changes = Changes::of(space, namespace, value);
        changes.check(multipart_key(space.id, key, multipart), Some(sealed));
        changes.delete(multipart_key(space.id, key, multipart));
        let object = ObjectRow::written(multipart, bytes, attributes, contents);
        let put = changes.put_version(key, &known, object)?;
        // The parts were counted when they came.
        changes.count(0, -signed(all));
        if !there.is_empty() {
            let gone = GoneRow { since_ms: 0, pieces: Some(there.into_keys().collect()) };
            changes.put(gone_key(multipart), encode(&gone)?);
        }
        self.commit(changes, space).await.map(|()| put)
    }

    /// From now on no part comes.
    async fn begin_ending(&self, space: &NamespaceRow, key: &str, multipart: u64) -> Result<(MultipartRow, Value)> {
        let (row, value) = self.multipart_and_value(space.id, key, multipart).await?;
        if row.ending_ms.is_some_and(|since_ms| now_ms().saturating_sub(since_ms) < ENDING_MAX_MS) {
            // Another tries, too: whoever is first ends it.
            return Ok((row, value));
        }
        let ending = MultipartRow { ending_ms: Some(now_ms()), ..row };
        let row_key = multipart_key(space.id, key, multipart);
        let seal = Transaction::new().check(row_key.clone(), Some(&value)).put(row_key.clone(), encode(&ending)?);
        match self.store.commit(seal).await {
            Err(KvError::Conflict { .. }) => Err(ObjectError::Contended),
            done => {
                done?;
                // The row as it is now tells the next transaction whether it was changed meanwhile.
                let (row, value) = self.multipart_and_value(space.id, key, multipart).await?;
                if row == ending { Ok((row, value)) } else { Err(ObjectError::Contended) }
            }
        }
    }

    async fn reopen(&self, space: &NamespaceRow, key: &str, multipart: u64, row: &MultipartRow, sealed: &Value) -> Result<()> {
        let row_key = multipart_key(space.id, key, multipart);
        let open = encode(&MultipartRow { ending_ms: None, ..row.clone() })?;
        match self.store.commit(Transaction::new().check(row_key.clone(), Some(sealed)).put(row_key, open)).await {
            // Another goes on with it.
            Err(KvError::Conflict { .. }) => Ok(()),
            done => done.map(drop).map_err(Into::into),
        }
    }

    async fn multipart_and_value(&self, namespace: u64, key: &str, upload: u64) -> Result<(MultipartRow, Value)> {
        check_key(key)?;
        let found = self.store.get(multipart_key(namespace, key, upload)).await?;
        let value = found.ok_or(ObjectError::NoUpload)?;
        Ok((decode(&value.bytes)?, value))
    }
}

/// The parts that are wanted, which are not among the others any more.
fn chosen(wanted: &[WantedPart], there: &mut BTreeMap<u16, PieceRow>, part_bytes_min: u64) -> Result<Vec<PieceRow>> {
    if wanted.is_empty() {
        return Err(ObjectError::BadPart("an object has at least one part".into()));
    }
    if !wanted.is_sorted_by(|one, next| one.number < next.number) {
        return Err(ObjectError::PartOrder);
    }
    let mut parts = Vec::with_capacity(wanted.len());
    for (at, want) in wanted.iter().enumerate() {
        let number = want.number;
        let piece = there.remove(&number).ok_or_else(|| ObjectError::BadPart(format!("part {number} did not come")))?;
        let part = piece.part.as_ref();
        if part.is_none_or(|part| part.digest != want.digest) {
            return Err(ObjectError::BadPart(format!("part {number} has another digest")));
        }
        let checksum = part.and_then(|part| part.checksum.as_ref()).map(|checksum| &checksum.value);
        if want.checksum.as_ref().is_some_and(|wanted| checksum != Some(wanted)) {
            return Err(ObjectError::BadPart(format!("part {number} has another checksum")));
        }
        if piece.bytes < part_bytes_min && at + 1 < wanted.len() {
            return Err(ObjectError::PartTooShort { number, bytes: piece.bytes, at_least: part_bytes_min });
        }
        parts.push(piece);
    }
    Ok(parts)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

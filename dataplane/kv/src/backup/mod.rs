//! A whole store as a file, while it serves, and back.

mod frames;

use std::io;
use std::path::{Path, PathBuf};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};

pub use self::frames::{Damage, decode_rows};
use self::frames::{FRAME_BYTES_MAX, FRAME_HEAD_BYTES, MAGIC, check_frame, encode_frame, encode_rows, frame_head};
use crate::error::KvError;
use crate::model::Row;
use crate::store::{RowStream, Store};

/// What is written to, or read from, where that is no file.
pub(crate) const STREAM: &str = "-";

/// Why a backup or a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The disk is full, the folder is not there, and so on.
    #[error("failed to write or read the backup {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is cut off, damaged, or no backup.
    #[error("the backup {path} cannot be restored")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Damage,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] KvError),
}

/// Writes all rows of a store at one version to a file, which appears when it is whole and durable; returns how many
/// there were.
///
/// # Errors
/// See [`BackupError`]. What was at `path` before is still there then.
pub async fn backup(store: &dyn Store, path: &Path) -> Result<u64, BackupError> {
    write_rows(store.export().await?, path).await
}

/// Writes all rows of a store at one version to whoever takes them; returns how many there were. What was written before an
/// error is known to be cut off.
///
/// # Errors
/// See [`BackupError`].
pub async fn backup_to(store: &dyn Store, to: impl AsyncWrite + Unpin) -> Result<u64, BackupError> {
    let mut to = BufWriter::new(to);
    write(store.export().await?, &mut to, Path::new(STREAM)).await
}

/// Writes rows to a file, as [`backup`] does.
pub(crate) async fn write_rows(rows: RowStream<'_>, path: &Path) -> Result<u64, BackupError> {
    let unfinished = path.with_added_extension("unfinished");
    let written = write_file(rows, &unfinished).await;
    if written.is_err() {
        // It may not have been made.
        let _ = tokio::fs::remove_file(&unfinished).await;
        return written;
    }
    tokio::fs::rename(&unfinished, path).await.map_err(at(path))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).await.map_err(at(folder))?.sync_all().await.map_err(at(folder))?;
    written
}

async fn write_file(batches: RowStream<'_>, path: &Path) -> Result<u64, BackupError> {
    let mut file = BufWriter::new(File::create(path).await.map_err(at(path))?);
    let rows = write(batches, &mut file, path).await?;
    file.get_ref().sync_all().await.map_err(at(path))?;
    Ok(rows)
}

async fn write(mut batches: RowStream<'_>, to: &mut (impl AsyncWrite + Unpin), path: &Path) -> Result<u64, BackupError> {
    to.write_all(&encode_frame(MAGIC)).await.map_err(at(path))?;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        rows += batch.len() as u64;
        for payload in encode_rows(&batch) {
            to.write_all(&encode_frame(&payload)).await.map_err(at(path))?;
        }
    }
    to.write_all(&encode_frame(&[])).await.map_err(at(path))?;
    to.write_all(&encode_frame(&rows.to_le_bytes())).await.map_err(at(path))?;
    to.flush().await.map_err(at(path))?;
    Ok(rows)
}

/// Reads a whole backup; returns how many rows it holds.
///
/// # Errors
/// See [`BackupError`].
pub async fn verify(path: &Path) -> Result<u64, BackupError> {
    open(path).await?.try_fold(0, async |rows, batch| Ok(rows + batch.len() as u64)).await
}

/// Fills an empty store with the rows of a backup, which is read whole before; returns how many there were.
///
/// # Errors
/// See [`BackupError`]; the store is still empty then.
pub async fn restore(store: &dyn Store, path: &Path) -> Result<u64, BackupError> {
    let rows = verify(path).await?;
    let changed = |error: BackupError| KvError::Unavailable { reason: format!("after it was found whole, {error}") };
    store.import(open(path).await?.map_err(changed).boxed()).await?;
    Ok(rows)
}

/// Fills an empty store with the rows of a backup that comes but once; returns how many there were.
///
/// # Errors
/// See [`BackupError`]; a store that was empty is so again, or, where it could not be told, under restoration until another restore takes over.
pub async fn restore_from(store: &dyn Store, from: impl AsyncRead + Send + Unpin + 'static) -> Result<u64, BackupError> {
    let (mut rows, mut damage) = (0, None);
    let batches = read(Box::new(from), Path::new(STREAM)).await?;
    let counted = batches.map(|batch| {
        // The store is told that no more comes; whoever asked, why.
        batch.inspect(|batch| rows += batch.len() as u64).map_err(|error| {
            let reason = error.to_string();
            damage = Some(error);
            KvError::Unavailable { reason }
        })
    });
    let imported = store.import(counted.boxed()).await;
    damage.map_or(Ok(()), Err)?;
    imported?;
    Ok(rows)
}

async fn open(path: &Path) -> Result<impl Stream<Item = Result<Vec<Row>, BackupError>> + Send + use<>, BackupError> {
    read(Box::new(File::open(path).await.map_err(at(path))?), path).await
}

/// The batches of a backup; the stream ends well only after its last frame.
async fn read(
    from: Box<dyn AsyncRead + Send + Unpin>,
    path: &Path,
) -> Result<impl Stream<Item = Result<Vec<Row>, BackupError>> + Send + use<>, BackupError> {
    let mut reader = Reader { file: BufReader::new(from), path: path.to_owned(), rows: 0 };
    if reader.frame().await? != MAGIC {
        return Err(reader.damaged(Damage::NotABackup));
    }
    Ok(stream::try_unfold(reader, async |mut reader| Ok(reader.batch().await?.map(|batch| (batch, reader)))))
}

struct Reader {
    file: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
    path: PathBuf,
    rows: u64,
}

impl Reader {
    async fn batch(&mut self) -> Result<Option<Vec<Row>>, BackupError> {
        let payload = self.frame().await?;
        if payload.is_empty() {
            return self.end().await.map(|()| None);
        }
        let batch = decode_rows(&payload).map_err(|damage| self.damaged(damage))?;
        self.rows += batch.len() as u64;
        Ok(Some(batch))
    }

    async fn end(&mut self) -> Result<(), BackupError> {
        if self.frame().await? != self.rows.to_le_bytes() {
            return Err(self.damaged(Damage::RowsMissing));
        }
        match self.file.read_u8().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(at(&self.path)(error)),
            Ok(_) => Err(self.damaged(Damage::Trailing)),
        }
    }

    async fn frame(&mut self) -> Result<Vec<u8>, BackupError> {
        let mut head = [0; FRAME_HEAD_BYTES];
        self.fill(&mut head).await?;
        let (bytes, crc) = frame_head(head);
        if bytes > FRAME_BYTES_MAX {
            return Err(self.damaged(Damage::FrameTooLong(bytes)));
        }
        let mut payload = vec![0; bytes];
        self.fill(&mut payload).await?;
        check_frame(&payload, crc).map_err(|damage| self.damaged(damage))?;
        Ok(payload)
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> Result<(), BackupError> {
        match self.file.read_exact(buffer).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.damaged(Damage::CutOff)),
            Err(error) => Err(at(&self.path)(error)),
        }
    }

    fn damaged(&self, source: Damage) -> BackupError {
        BackupError::Damaged { path: self.path.clone(), source }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::File { path, source }
}

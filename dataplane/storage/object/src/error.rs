//! What can go wrong with objects, by what whoever asked can do about it.

use eddy_kv::KvError;

/// Why an object was not stored, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such namespace.
    #[error("there is no namespace {0:?}")]
    NoNamespace(String),
    /// There is one already.
    #[error("there is a namespace {0:?} already")]
    NamespaceExists(String),
    /// It still holds objects.
    #[error("the namespace {0:?} still holds {1} objects: delete them first")]
    NotEmpty(String, i64),
    /// There is no such object.
    #[error("there is no object {0:?}")]
    NoObject(String),
    /// There is no such object that comes in parts; it may have become one, or been given up.
    #[error("there is no such upload in parts: it has ended, or never began")]
    NoUpload,
    /// A part is not what was asked for.
    #[error("{0}")]
    BadPart(String),
    /// Parts are not in the order of their numbers.
    #[error("parts must be named in the order of their numbers, each once")]
    PartOrder,
    /// A part that is not the last is too short.
    #[error("part {number} has {bytes} bytes: all but the last must have {at_least}")]
    PartTooShort {
        /// Its number.
        number: u16,
        /// Its length.
        bytes: u64,
        /// The shortest.
        at_least: u64,
    },
    /// Older versions are kept under their key.
    #[error("the namespace keeps versions, which stay with their key: copy the object instead")]
    Versioned,
    /// A version must stay for now.
    #[error("the version is locked: it stays until its retention ends and nobody holds it")]
    Locked,
    /// The object is not as it must be for this request.
    #[error("the object is not as the request demands")]
    PreconditionFailed,
    /// The object was changed by others again and again while this was tried.
    #[error("the object was changed by others meanwhile: try again")]
    Contended,
    /// The namespace may hold no more.
    #[error("the namespace may hold {at_most} {what}: {holds} are there")]
    QuotaExceeded {
        /// Bytes or objects.
        what: &'static str,
        /// What it holds.
        holds: i64,
        /// What it may.
        at_most: i64,
    },
    /// A key or a name is too long, or empty.
    #[error("{0}")]
    BadName(String),
    /// Fewer bytes came than were announced, or more.
    #[error("{came} bytes came where {announced} were announced")]
    WrongLength {
        /// Bytes announced.
        announced: u64,
        /// Bytes that came.
        came: u64,
    },
    /// The object has too many pieces.
    #[error("the object is too long to be written at once: upload it in parts")]
    TooLong,
    /// Not enough chunkservers took the bytes.
    #[error("too few chunkservers can store this now: {0}")]
    NoRoom(String),
    /// There are enough chunkservers, and too few of them have room.
    #[error(
        "storage is full: {with_room} of {answering} chunkservers have room, and {needed} must: delete something or add disks"
    )]
    Full {
        /// Servers that have room.
        with_room: usize,
        /// Servers that answer and are not being emptied.
        answering: usize,
        /// Servers that must take what is written.
        needed: usize,
    },
    /// None of the servers that have the bytes gave them.
    #[error("the object cannot be read now: {0}")]
    Unreadable(String),
    /// The store of metadata failed.
    #[error("failed to read or write metadata")]
    Metadata(#[source] KvError),
    /// Rows are not what they should be.
    #[error("the metadata is damaged: {0}")]
    Broken(String),
}

impl ObjectError {
    /// What is full, in words, where that is the reason.
    pub fn full(&self) -> Option<String> {
        match self {
            Self::Full { .. } => Some(self.to_string()),
            Self::Metadata(full @ KvError::Full { .. }) => Some(full.to_string()),
            _ => None,
        }
    }
}

impl From<KvError> for ObjectError {
    fn from(error: KvError) -> Self {
        Self::Metadata(error)
    }
}

/// What objects return.
pub type Result<T, E = ObjectError> = std::result::Result<T, E>;

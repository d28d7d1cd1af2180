//! Access keys of a folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::{Credential, Principal, Secret};

/// The folder is read again this often: Kubernetes changes what it mounts by itself.
const RELOAD_EVERY: Duration = Duration::from_secs(2);
/// Lengths that ids and secrets may have.
const ID_BYTES: std::ops::RangeInclusive<usize> = 3..=64;
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=128;
/// More of a file is not read.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why keys cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read access keys from {folder}: it must be a folder with a file for each user")]
pub struct KeysError {
    folder: PathBuf,
    source: std::io::Error,
}

/// All access keys, as they were when last read. Clones share them.
#[derive(Clone, Default)]
pub struct Keys(Arc<ArcSwap<HashMap<String, Key>>>);

#[derive(Clone)]
struct Key {
    secret: Secret,
    principal: Principal,
}

impl Keys {
    /// The keys of a folder, read again while this lives.
    ///
    /// # Errors
    /// That it cannot be read now. Later, the keys that were read last stay.
    pub fn open(folder: &Path) -> Result<Self, KeysError> {
        let failed = |source| KeysError { folder: folder.to_owned(), source };
        let keys = Self(Arc::new(ArcSwap::from_pointee(read(folder).map_err(failed)?)));
        let (shared, folder) = (Arc::downgrade(&keys.0), folder.to_owned());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(RELOAD_EVERY).await;
                let Some(shared) = shared.upgrade() else { return };
                match read(&folder) {
                    Ok(keys) => shared.store(Arc::new(keys)),
                    Err(error) => tracing::warn!(%error, folder = %folder.display(), "failed to read access keys again"),
                }
            }
        });
        Ok(keys)
    }

    /// One user's only key.
    pub fn single(user: &str, id: &str, secret: &str) -> Self {
        let key = Key { secret: Secret::new(secret), principal: Principal::of_user(user) };
        Self(Arc::new(ArcSwap::from_pointee(HashMap::from([(id.to_owned(), key)]))))
    }

    /// Whose a credential is, if it is anybody's.
    pub fn authenticate(&self, credential: &Credential) -> Option<Principal> {
        let keys = self.0.load();
        let key = keys.get(&credential.id)?;
        key.secret.is(&credential.secret).then(|| key.principal.clone())
    }

    /// Whether somebody is a user who has a key.
    pub fn is_user(&self, name: &str) -> bool {
        self.0.load().values().any(|key| key.principal.user() == name)
    }

    /// A key's secret and whose it is, to check a signature with.
    pub fn secret(&self, id: &str) -> Option<(Secret, Principal)> {
        self.0.load().get(id).map(|key| (key.secret.clone(), key.principal.clone()))
    }
}

fn read(folder: &Path) -> std::io::Result<HashMap<String, Key>> {
    let mut keys = HashMap::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Kubernetes keeps what it swaps under names that begin so.
        let Some(user) = entry.file_name().to_str().filter(|name| !name.starts_with('.')).map(str::to_owned) else { continue };
        let about = std::fs::metadata(entry.path())?;
        if !about.is_file() || about.len() > FILE_BYTES_MAX {
            tracing::warn!(user, "the access keys of a user are no short file, and are ignored");
            continue;
        }
        let text = zeroize::Zeroizing::new(std::fs::read_to_string(entry.path())?);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let Some((id, secret)) = line.split_once(':').filter(|(id, secret)| is_good(id, secret)) else {
                tracing::warn!(
                    user,
                    "an access key is not id:secret, of 3 to 64 and 16 to 128 letters and digits, and is ignored"
                );
                continue;
            };
            let key = Key { secret: Secret::new(secret), principal: Principal::of_user(user.as_str()) };
            if let Some(other) = keys.insert(id.to_owned(), key).filter(|other: &Key| other.principal.user() != user) {
                // Neither may act as the other.
                tracing::warn!(user, other = other.principal.user(), "two users have an access key of one id: neither is taken");
                keys.remove(id);
            }
        }
    }
    Ok(keys)
}

fn is_good(id: &str, secret: &str) -> bool {
    let plain = |text: &str, more: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || more.contains(letter));
    ID_BYTES.contains(&id.len()) && plain(id, "-.") && SECRET_BYTES.contains(&secret.len()) && plain(secret, "+/=_-")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn shown(id: &str, secret: &str) -> Credential {
        Credential { id: id.into(), secret: Secret::new(secret) }
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_read_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let put = |user: &str, text: &str| std::fs::write(folder.path().join(user), text).unwrap();
        put("alice", &format!("one:{SECRET}\n\ntwo:{SECRET}x\n"));
        put("bob", &format!("shared:{SECRET}\nshort:abc\nnonsense\nx_y:{SECRET}\n"));
        put("carol", &format!("shared:{SECRET}z"));
        put("..data", "five:0123456789abcdef");
        let keys = Keys::open(folder.path()).unwrap();
        let user = |id: &str, secret: &str| keys.authenticate(&shown(id, secret)).map(|principal| principal.user().to_owned());
        assert_eq!(user("one", SECRET).as_deref(), Some("alice"));
        assert_eq!(user("two", &format!("{SECRET}x")).as_deref(), Some("alice"));
        for (id, secret) in [("one", "other"), ("one", ""), ("no", SECRET), ("shared", SECRET), ("short", "abc"), ("x_y", SECRET)]
        {
            assert_eq!(user(id, secret), None, "{id}");
        }
        put("alice", &format!("new:{SECRET}"));
        tokio::time::sleep(2 * RELOAD_EVERY).await;
        assert_eq!((user("one", SECRET), user("new", SECRET)), (None, Some("alice".into())));
        // What cannot be read does not take away what was.
        let path = folder.path().to_owned();
        drop(folder);
        tokio::time::sleep(2 * RELOAD_EVERY).await;
        assert!(keys.authenticate(&shown("new", SECRET)).is_some());
        assert!(Keys::open(&path).is_err());
    }
}

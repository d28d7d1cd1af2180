//! Passwords: argon2id (RFC 9106), as many at once as there are processors.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::secret::Hidden;

/// Shorter ones are refused. Of what is longer, length does more than kinds of letters (NIST SP 800-63B).
pub(crate) const LETTERS_MIN: usize = 12;
/// Longer ones are refused: whoever is not known yet must not make us work for long.
pub(crate) const BYTES_MAX: usize = 256;
/// The least that OWASP recommends (Password Storage Cheat Sheet): 19 MiB, two passes.
const MEMORY_KIBIBYTES: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// More who wait for it are told to come back.
const WAITING_MAX: usize = 64;
/// On machines of many processors, no more at once than this: each takes as much memory as was said.
const AT_ONCE_MAX: usize = 4;

/// Makes and checks hashes of passwords. Clones share the processors.
#[derive(Clone)]
pub(crate) struct Passwords(Arc<Shared>);

struct Shared {
    argon2: Argon2<'static>,
    waiting: Arc<Semaphore>,
    working: Arc<Semaphore>,
    /// Of a password that nobody has, to be as long about a name that nobody has.
    nobody: String,
}

/// Why a password is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WeakPassword {
    #[error("a password has at least {LETTERS_MIN} letters: a few words make a good one")]
    Short,
    #[error("a password has at most {BYTES_MAX} bytes")]
    Long,
    #[error("a password is not the user's name")]
    Name,
}

/// Why a password was not hashed or checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    #[error("too many are signing in at once")]
    Busy,
    #[error("failed to hash a password: {0}")]
    Hash(String),
}

/// Whether a password may be one.
pub(crate) fn check(user: &str, password: &str) -> Result<(), WeakPassword> {
    if password.len() > BYTES_MAX {
        Err(WeakPassword::Long)
    } else if password.chars().count() < LETTERS_MIN {
        Err(WeakPassword::Short)
    } else if password.trim().eq_ignore_ascii_case(user) {
        Err(WeakPassword::Name)
    } else {
        Ok(())
    }
}

impl Passwords {
    pub(crate) fn new() -> Result<Self, PasswordError> {
        let parameters =
            Params::new(MEMORY_KIBIBYTES, PASSES, 1, None).map_err(|error| PasswordError::Hash(error.to_string()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
        let nobody = hash(&argon2, "nobody has this one")?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let (waiting, working) = (Semaphore::new(WAITING_MAX), Semaphore::new(processors.min(AT_ONCE_MAX)));
        let shared = Shared { argon2, waiting: Arc::new(waiting), working: Arc::new(working), nobody };
        Ok(Self(Arc::new(shared)))
    }

    /// What is kept of a password, in the form of the Password Hashing Competition.
    pub(crate) async fn hash(&self, password: Hidden) -> Result<String, PasswordError> {
        self.work(move |shared| hash(&shared.argon2, &password)).await?
    }

    /// Whether a password is the one whose hash was kept. Where none was, it takes as long to say no.
    pub(crate) async fn is(&self, password: Hidden, kept: Option<String>) -> Result<bool, PasswordError> {
        let checked = self.work(move |shared| {
            let known = PasswordHash::new(kept.as_deref().unwrap_or(&shared.nobody));
            let same = known.is_ok_and(|known| shared.argon2.verify_password(password.as_bytes(), &known).is_ok());
            same && kept.is_some()
        });
        checked.await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce(&Shared) -> T + Send + 'static) -> Result<T, PasswordError> {
        let waiting = self.0.waiting.clone().try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let working = self.0.working.clone().acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        let shared = self.0.clone();
        let work = move || {
            // It goes on when whoever asked has gone, and takes their place until it ends.
            let _places = (waiting, working);
            work(&shared)
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| PasswordError::Hash(error.to_string()))
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<String, PasswordError> {
    let failed = |error: &dyn std::fmt::Display| PasswordError::Hash(error.to_string());
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| failed(&error))?;
    let hashed = argon2.hash_password_with_salt(password.as_bytes(), &salt).map_err(|error| failed(&error))?;
    Ok(hashed.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_nobody_has_any() {
        let passwords = Passwords::new().unwrap();
        let of = |text: &str| Hidden::new(text);
        let kept = passwords.hash(of("correct horse battery")).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(passwords.is(of("correct horse battery"), Some(kept.clone())).await.unwrap());
        assert!(!passwords.is(of("correct horse batterz"), Some(kept)).await.unwrap());
        assert!(!passwords.is(of("nobody has this one"), None).await.unwrap());
        assert!(!passwords.is(of("x"), Some("no hash".into())).await.unwrap());
    }

    #[test]
    fn short_and_obvious_ones_are_refused() {
        assert_eq!(check("ada", "correct horse battery"), Ok(()));
        assert_eq!(check("ada", "ääääääääääää"), Ok(()));
        assert_eq!(check("ada", "elevenchars"), Err(WeakPassword::Short));
        assert_eq!(check("ada", &"x".repeat(257)), Err(WeakPassword::Long));
        assert_eq!(check("ada-lovelace", "Ada-Lovelace "), Err(WeakPassword::Name));
    }
}

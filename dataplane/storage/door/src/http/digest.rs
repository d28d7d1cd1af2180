//! Digests of contents that whoever sends them knows (RFC 9530).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use sha2::{Digest, Sha256};

/// A SHA-256 that contents must have.
#[derive(Clone)]
pub struct ContentDigest {
    announced: [u8; 32],
    hasher: Sha256,
}

impl ContentDigest {
    /// That of a `Content-Digest` or `Repr-Digest` header, if there is one.
    ///
    /// # Errors
    /// A sentence, where there is one with a SHA-256 that cannot be read.
    pub fn announced(headers: &HeaderMap) -> Result<Option<Self>, String> {
        let values = ["content-digest", "repr-digest"].iter().filter_map(|name| headers.get(*name));
        for value in values {
            let text = value.to_str().map_err(|_| "the digest is no text")?;
            // Other digests may be there, too.
            let Some(digest) = text.split(',').find_map(|one| one.trim().strip_prefix("sha-256=")) else { continue };
            let digest = digest.strip_prefix(':').and_then(|digest| digest.strip_suffix(':'));
            let digest = digest.and_then(|digest| STANDARD.decode(digest).ok()).and_then(|digest| digest.try_into().ok());
            let announced = digest.ok_or("a digest is sha-256=:<32 bytes in base64>:")?;
            return Ok(Some(Self { announced, hasher: Sha256::new() }));
        }
        Ok(None)
    }

    /// Some contents came.
    pub fn update(&mut self, data: &[u8]) {
        self.hasher.update(data);
    }

    /// Whether all that came has the digest.
    pub fn holds(self) -> bool {
        self.hasher.finalize()[..] == self.announced
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn announced(value: &str) -> Result<Option<ContentDigest>, String> {
        ContentDigest::announced(&[("content-digest".parse().unwrap(), value.parse().unwrap())].into_iter().collect())
    }

    #[test]
    fn a_digest_is_checked() {
        // RFC 9530, appendix B.1.
        let value = "sha-512=:x:, sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
        let mut digest = announced(value).unwrap().unwrap();
        digest.update(b"{\"hello\": ");
        digest.update(b"\"world\"}\n");
        assert!(digest.clone().holds());
        digest.update(b"x");
        assert!(!digest.holds());
        assert!(announced("md5=:x:").unwrap().is_none());
        for bad in ["sha-256=abc", "sha-256=:YWJj:", "sha-256=:!:"] {
            assert!(announced(bad).is_err(), "{bad}");
        }
    }
}

//! One certificate with its key.

use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::subject::SubjectNames;

/// Larger than what is served; each process of the gateway keeps them all.
const BYTES_MAX: usize = 64 * 1024;
/// A chain is longer than this only by mistake.
const CHAIN_MAX: usize = 16;

/// A certificate with what leads to its authority, and its key.
#[derive(Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    not_before_s: i64,
    not_after_s: i64,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// There is none.
    #[error("tls.crt holds no certificate as PEM")]
    NoCertificate(#[source] pem::Error),
    /// Together they are larger than any.
    #[error("tls.crt and tls.key are longer than {BYTES_MAX} bytes together")]
    Large,
    /// There are too many.
    #[error("tls.crt holds more than {CHAIN_MAX} certificates: leave out those that do not lead from the first to its authority")]
    Long,
    /// It is malformed.
    #[error("the first certificate of tls.crt is malformed: {0}")]
    Malformed(String),
    /// There is no key.
    #[error("tls.key holds no private key as PEM, without a password")]
    NoKey(#[source] pem::Error),
    /// The key is of a kind that TLS has no use for.
    #[error("tls.key is of no kind that is served: RSA of 2,048 bits and more, ECDSA (P-256, P-384) or Ed25519")]
    Kind(#[source] rustls::Error),
    /// They do not belong together.
    #[error("tls.key is not the key of the first certificate of tls.crt")]
    OfAnother,
}

impl Certificate {
    /// Reads a chain, the host's own certificate first, and its key, both as PEM.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn read(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        if chain.len() + key.len() > BYTES_MAX {
            return Err(CertificateError::Large);
        }
        let chain = CertificateDer::pem_slice_iter(chain).take(CHAIN_MAX + 1).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(CertificateError::NoCertificate)?;
        if chain.len() > CHAIN_MAX {
            return Err(CertificateError::Long);
        }
        let first = chain.first().ok_or(CertificateError::NoCertificate(pem::Error::NoItemsFound))?;
        let (_, parsed) = X509Certificate::from_der(first).map_err(|error| CertificateError::Malformed(error.to_string()))?;
        let names =
            SubjectNames::of(&parsed).ok_or_else(|| CertificateError::Malformed("its names cannot be read".to_owned()))?;
        let (not_before_s, not_after_s) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        let key = PrivateKeyDer::from_pem_slice(key).map_err(CertificateError::NoKey)?;
        let key = any_supported_type(&key).map_err(CertificateError::Kind)?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| CertificateError::OfAnother)?;
        Ok(Self { key: Arc::new(key), names: names.hosts, not_before_s, not_after_s })
    }

    /// What TLS uses.
    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Whether clients take it for this host. A wildcard stands for one label (RFC 9525, section 6.3), so for a host like `*.example.com`, which is
    /// all names below `example.com`, it is for those right below it.
    pub fn covers(&self, host: &str) -> bool {
        let above = host.split_once('.').map(|(_, above)| above);
        let is_covered = |name: &str| name == host || name.strip_prefix("*.").is_some_and(|suffix| above == Some(suffix));
        self.names.iter().any(|name| is_covered(name))
    }

    /// Whether it is good at this time, in seconds since 1970.
    pub fn is_valid_at(&self, now_s: i64) -> bool {
        (self.not_before_s..=self.not_after_s).contains(&now_s)
    }

    /// The first second, since 1970, that it is good for.
    pub fn not_before_s(&self) -> i64 {
        self.not_before_s
    }

    /// The last second, since 1970, that it is good for.
    pub fn not_after_s(&self) -> i64 {
        self.not_after_s
    }
}

/// Without the key.
impl std::fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    pub(crate) fn of(names: &[&str]) -> Certificate {
        let (chain, key) = pem(names);
        Certificate::read(chain.as_bytes(), key.as_bytes()).unwrap()
    }

    fn pem(names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        (parameters.not_before, parameters.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
        (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn it_covers_its_names_and_one_label_below_its_wildcards() {
        let certificate = of(&["A.example.com", "*.b.example.com"]);
        for host in ["a.example.com", "x.b.example.com", "*.b.example.com"] {
            assert!(certificate.covers(host), "{host}");
        }
        for host in ["b.example.com", "x.y.b.example.com", "*.example.com", "x.a.example.com", "com", ""] {
            assert!(!certificate.covers(host), "{host}");
        }
    }

    #[test]
    fn it_is_good_for_its_time() {
        let certificate = of(&["a"]);
        let valid = [1_577_836_799, 1_577_836_800, 1_893_456_000, 1_893_456_001].map(|now_s| certificate.is_valid_at(now_s));
        assert_eq!((valid, certificate.not_after_s()), ([false, true, true, false], 1_893_456_000));
    }

    #[test]
    fn what_cannot_be_used_is_told_apart_and_keys_are_not_told() {
        let ((chain, key), (other, other_key)) = (pem(&["a"]), pem(&["a"]));
        let read = |chain: &str, key: &str| Certificate::read(chain.as_bytes(), key.as_bytes()).map(drop);
        assert!(matches!(read("", &key), Err(CertificateError::NoCertificate(_))));
        assert!(matches!(read(&key, &key), Err(CertificateError::NoCertificate(_))));
        assert!(matches!(read(&chain, ""), Err(CertificateError::NoKey(_))));
        assert!(matches!(read(&chain, &chain), Err(CertificateError::NoKey(_))));
        assert!(matches!(read(&chain, &other_key), Err(CertificateError::OfAnother)));
        assert!(matches!(read(&chain.repeat(CHAIN_MAX + 1), &key), Err(CertificateError::Long)));
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(read(no_certificate, &key), Err(CertificateError::Malformed(_))));
        assert!(matches!(read(&(chain.clone() + &"#".repeat(BYTES_MAX)), &key), Err(CertificateError::Large)));
        assert!(read(&(chain.clone() + &other), &key).is_ok(), "the first is the host's own");
        let said = format!("{:?}", Certificate::read(chain.as_bytes(), key.as_bytes()).unwrap());
        assert_eq!(said, r#"Certificate { names: ["a"], .. }"#);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(der in prop::collection::vec(any::<u8>(), 0..400), cut in 0usize..600) {
            let text = |der: &[u8]| format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der));
            let (_, key) = pem(&["a"]);
            let _ = Certificate::read(text(&der).as_bytes(), key.as_bytes());
            // And what was one.
            let whole = of(&["a.example.com"]).key().cert[0].to_vec();
            let _ = Certificate::read(text(&whole[..cut.min(whole.len())]).as_bytes(), key.as_bytes());
        }
    }
}

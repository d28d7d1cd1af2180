//! Whom a certificate is of, by the names in it.

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The names of a certificate (RFC 5280, section 4.2.1.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectNames {
    /// Of hosts, in lower case.
    pub hosts: Vec<String>,
    /// URIs, as SPIFFE's are.
    pub uris: Vec<String>,
}

impl SubjectNames {
    /// Those of a certificate as DER; none if it is malformed.
    pub fn of_der(certificate: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        Self::of(&parsed)
    }

    /// Those of a certificate; none if they are malformed.
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let mut names = Self::default();
        let alternative = certificate.subject_alternative_name().ok()?;
        for name in alternative.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(host) => names.hosts.push(host.to_ascii_lowercase()),
                GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
                _ => {}
            }
        }
        Some(names)
    }
}

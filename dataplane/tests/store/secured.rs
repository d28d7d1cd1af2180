//! An identity for all processes of a test.

use std::path::Path;

use eddy_rpc::TLS_NAME;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// Writes one to a folder, as a Secret is mounted, of an authority that signs nothing else.
pub(crate) fn write_identity(folder: &Path) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec![TLS_NAME.to_owned()]).unwrap();
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = parameters.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    std::fs::create_dir(folder).unwrap();
    let files = [("ca.crt", authority_certificate.pem()), ("tls.crt", certificate.pem()), ("tls.key", key.serialize_pem())];
    for (file, text) in files {
        std::fs::write(folder.join(file), text).unwrap();
    }
}

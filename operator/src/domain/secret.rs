//! The Secret that a Domain's certificate is in.

use std::collections::BTreeMap;

use eddy_certificates::Certificate;
use eddy_crds::{Domain, MANAGED_BY, MANAGED_BY_LABEL};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use rcgen::KeyPair;

use super::plan::Lifetime;

/// Where the key of a certificate to come is, so that it outlives the process that asks for it.
const NEXT_KEY: &str = "next.key";
/// Says which authority a certificate is of.
const DIRECTORY: &str = "eddy.cloud/acme-directory";

/// A Secret with this certificate and its key, both as PEM, of the authority with this directory.
pub(super) fn secret(domain: &Domain, chain: &str, key: &str, directory: &str) -> Secret {
    with(domain, [("tls.crt", chain.as_bytes()), ("tls.key", key.as_bytes())].into(), Some(directory))
}

/// What is there, and the key of a certificate to come, as PEM.
pub(super) fn with_next_key(domain: &Domain, found: Option<&Secret>, key: &str) -> Secret {
    let there = |name: &str| data(found, name).unwrap_or_default();
    // Also where it is empty: without both, it would be of another type.
    let data = [("tls.crt", there("tls.crt")), ("tls.key", there("tls.key")), (NEXT_KEY, key.as_bytes())];
    with(domain, data.into(), found.and_then(directory))
}

/// The key of a certificate to come, unless it is none: whoever may write Secrets may have written another.
pub(super) fn next_key(found: Option<&Secret>) -> Option<&str> {
    let key = data(found, NEXT_KEY).and_then(|key| std::str::from_utf8(key).ok());
    key.filter(|key| KeyPair::from_pem(key).is_ok())
}

fn data<'a>(secret: Option<&'a Secret>, name: &str) -> Option<&'a [u8]> {
    secret?.data.as_ref()?.get(name).map(|bytes| &bytes.0[..])
}

fn directory(secret: &Secret) -> Option<&str> {
    secret.annotations().get(DIRECTORY).map(String::as_str)
}

fn with(domain: &Domain, data: BTreeMap<&str, &[u8]>, directory: Option<&str>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(Domain::secret_of(&domain.name_any())),
            namespace: domain.namespace(),
            labels: Some(BTreeMap::from([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())])),
            annotations: directory.map(|directory| BTreeMap::from([(DIRECTORY.to_owned(), directory.to_owned())])),
            owner_references: Some(domain.controller_owner_ref(&()).into_iter().collect()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.into_iter().map(|(name, bytes)| (name.to_owned(), ByteString(bytes.to_vec()))).collect()),
        ..Secret::default()
    }
}

/// Whether a Secret is this Domain's.
pub(super) fn is_of(secret: &Secret, domain: &Domain) -> bool {
    secret.owner_references().iter().any(|owner| Some(&owner.uid) == domain.metadata.uid.as_ref())
}

/// How long the certificate in a Secret is valid, if it is one for this host; the authority that there is now has this directory, if there is one.
pub(super) fn lifetime(secret: &Secret, host: &str, now_of: Option<&str>) -> Option<Lifetime> {
    let there = |name: &str| data(Some(secret), name).unwrap_or_default();
    let certificate = Certificate::read(there("tls.crt"), there("tls.key")).ok()?;
    let is_current = now_of.is_none_or(|now_of| directory(secret) == Some(now_of));
    let lifetime = Lifetime { not_before_s: certificate.not_before_s(), not_after_s: certificate.not_after_s(), is_current };
    certificate.covers(host).then_some(lifetime)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use eddy_crds::DomainSpec;
    use rcgen::{CertificateParams, date_time_ymd};

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_of_another_host_is_nothing() {
        let mut domain = Domain::new("shop", DomainSpec { host: "shop.example".to_owned(), ..DomainSpec::default() });
        (domain.metadata.namespace, domain.metadata.uid) = (Some("u-ada".to_owned()), Some("1-2".to_owned()));
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
        (parameters.not_before, parameters.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 4, 1));
        let chain = parameters.self_signed(&key).unwrap().pem();
        let made = secret(&domain, &chain, &key.serialize_pem(), "https://ca/dir");
        assert_eq!((made.name_any().as_str(), made.type_.as_deref()), ("shop-domain-tls", Some("kubernetes.io/tls")));
        assert_eq!(made.metadata.owner_references.as_ref().unwrap()[0].uid, "1-2");
        assert_eq!(
            lifetime(&made, "shop.example", None).map(|lifetime| lifetime.not_after_s - lifetime.not_before_s),
            Some(90 * 24 * 3600)
        );
        assert!(is_of(&made, &domain) && !is_of(&Secret::default(), &domain));
        assert_eq!(lifetime(&made, "other.example", None), None);
        assert_eq!(lifetime(&Secret::default(), "shop.example", None), None);
        let is_current = |directory| lifetime(&made, "shop.example", Some(directory)).is_some_and(|lifetime| lifetime.is_current);
        assert!(is_current("https://ca/dir") && !is_current("https://staging/dir"));
        // A key to come leaves what is there.
        let before = with_next_key(&domain, Some(&made), &key.serialize_pem());
        assert_eq!((next_key(Some(&before)), next_key(Some(&made))), (Some(key.serialize_pem().as_str()), None));
        assert_eq!(next_key(Some(&with_next_key(&domain, None, "none"))), None);
        assert_eq!(
            lifetime(&before, "shop.example", Some("https://ca/dir")),
            lifetime(&made, "shop.example", Some("https://ca/dir"))
        );
        let first = with_next_key(&domain, None, "next").data.unwrap();
        assert!(first["tls.crt"].0.is_empty() && first["tls.key"].0.is_empty());
    }
}

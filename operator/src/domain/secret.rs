//! The Secret that a Domain's certificate is in.

use std::collections::BTreeMap;

use eddy_certificates::{Certificate, CertificateError};
use eddy_crds::{Domain, MANAGED_BY, MANAGED_BY_LABEL};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};

use super::plan::Lifetime;

/// The Secret with this certificate and key, both as PEM.
pub(super) fn secret(domain: &Domain, chain: &str, key: &str) -> Secret {
    let data = [("tls.crt", chain), ("tls.key", key)];
    Secret {
        metadata: ObjectMeta {
            name: Some(Domain::secret_of(&domain.name_any())),
            namespace: domain.namespace(),
            labels: Some(BTreeMap::from([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())])),
            owner_references: Some(domain.controller_owner_ref(&()).into_iter().collect()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.map(|(name, text)| (name.to_owned(), ByteString(text.as_bytes().to_vec()))).into()),
        ..Secret::default()
    }
}

/// Whether a Secret is this Domain's.
pub(super) fn is_of(secret: &Secret, domain: &Domain) -> bool {
    secret.owner_references().iter().any(|owner| Some(&owner.uid) == domain.metadata.uid.as_ref())
}

/// How long the certificate in a Secret is valid, if it is one for this host.
pub(super) fn lifetime(secret: &Secret, host: &str) -> Option<Lifetime> {
    let certificate = read(secret).ok()?;
    let lifetime = Lifetime { not_before_s: certificate.not_before_s(), not_after_s: certificate.not_after_s() };
    certificate.covers(host).then_some(lifetime)
}

fn read(secret: &Secret) -> Result<Certificate, CertificateError> {
    let data = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[][..], |bytes| &bytes.0);
    Certificate::read(data("tls.crt"), data("tls.key"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use eddy_crds::DomainSpec;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_of_another_host_is_nothing() {
        let mut domain = Domain::new("shop", DomainSpec { host: "shop.example".to_owned(), ..DomainSpec::default() });
        (domain.metadata.namespace, domain.metadata.uid) = (Some("u-ada".to_owned()), Some("1-2".to_owned()));
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
        (parameters.not_before, parameters.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 4, 1));
        let chain = parameters.self_signed(&key).unwrap().pem();
        let made = secret(&domain, &chain, &key.serialize_pem());
        assert_eq!((made.name_any().as_str(), made.type_.as_deref()), ("shop-domain-tls", Some("kubernetes.io/tls")));
        assert_eq!(made.metadata.owner_references.as_ref().unwrap()[0].uid, "1-2");
        assert_eq!(
            lifetime(&made, "shop.example").map(|lifetime| lifetime.not_after_s - lifetime.not_before_s),
            Some(90 * 24 * 3600)
        );
        assert!(is_of(&made, &domain) && !is_of(&Secret::default(), &domain));
        assert_eq!(lifetime(&made, "other.example"), None);
        assert_eq!(lifetime(&Secret::default(), "shop.example"), None);
    }
}

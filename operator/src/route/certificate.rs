//! Judging the certificate that a Route names.

use eddy_certificates::{Certificate, CertificateError, SECRETS_A_TENANT_MAX};
use eddy_crds::Route;
use eddy_telemetry::error_chain;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use crate::reason::{Reason, Verdict};

/// What is known of the Secret that a Route names.
#[derive(Debug)]
pub(super) enum Named {
    /// It names none: the platform's own certificate serves its hosts.
    None,
    /// It may not be read yet.
    Unreadable,
    /// There is none of that name.
    Missing,
    /// It holds this.
    Read(Result<Certificate, CertificateError>),
}

impl Named {
    /// What a Secret holds.
    pub(super) fn of(secret: &Secret) -> Self {
        let data = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[][..], |bytes| &bytes.0);
        Self::Read(Certificate::read(data("tls.crt"), data("tls.key")))
    }
}

/// Whether there is no certificate in a Secret yet, as in a Domain's that has only a key so far.
pub(super) fn is_empty(secret: &Secret) -> bool {
    secret.data.as_ref().is_some_and(|data| data.get("tls.crt").is_some_and(|chain| chain.0.is_empty()))
}

/// What keeps the hosts of a Route from being served by TLS with the certificate that it names, if anything does.
pub(super) fn obstacle(named: &Named, route: &Route, now: Timestamp) -> Option<Verdict> {
    let secret = route.spec.certificate_secret().unwrap_or_default();
    let invalid = |message: String| Some(Verdict::new(Reason::InvalidCertificate, message));
    let certificate = match named {
        Named::None => return None,
        Named::Unreadable => {
            return Some(Verdict::new(
                Reason::Progressing,
                format!(
                    "waiting until Secret {secret} may be read; those of a user's oldest Routes are, up to {SECRETS_A_TENANT_MAX}"
                ),
            ));
        }
        Named::Missing if route.spec.domain.is_some() => {
            let domain = route.spec.domain.as_deref().unwrap_or_default();
            let message = format!("waiting for the certificate of Domain {domain}, whose status says what becomes of it");
            return Some(Verdict::new(Reason::Progressing, message));
        }
        Named::Missing => {
            let message =
                format!("there is no Secret {secret}: create it with type kubernetes.io/tls, or name another in spec.tls.secret");
            return Some(Verdict::new(Reason::SecretMissing, message));
        }
        Named::Read(Err(error)) => return invalid(format!("Secret {secret} cannot be used: {}", error_chain(error))),
        Named::Read(Ok(certificate)) => certificate,
    };
    if !certificate.is_valid_at(now.as_second()) {
        let end = Timestamp::from_second(certificate.not_after_s()).map(|end| end.to_string()).unwrap_or_default();
        return invalid(format!("the certificate of Secret {secret} is not valid now (its end is {end}): renew it"));
    }
    let others: Vec<&str> = route.spec.hosts.iter().filter(|host| !certificate.covers(host)).map(String::as_str).collect();
    if others.is_empty() {
        return None;
    }
    invalid(format!("the certificate of Secret {secret} is not for {}: clients would refuse it there", others.join(", ")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use eddy_crds::{RouteSpec, RouteTls};
    use k8s_openapi::ByteString;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn secret(host: &str, until: i32) -> Secret {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
        (parameters.not_before, parameters.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
        let chain = parameters.self_signed(&key).unwrap().pem();
        let data = [("tls.crt", chain), ("tls.key", key.serialize_pem())];
        let data = data.map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes())));
        Secret { data: Some(data.into()), ..Secret::default() }
    }

    #[test]
    fn a_certificate_that_clients_would_refuse_is_said_to_be_one() {
        let now: Timestamp = "2026-11-30T00:00:00Z".parse().unwrap();
        let said = |named: &Named, hosts: &[&str]| {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            let tls = Some(RouteTls { secret: Some("s".to_owned()), ..RouteTls::default() });
            let route = Route::new("r", RouteSpec { hosts, tls, ..RouteSpec::default() });
            obstacle(named, &route, now).map(|verdict| (verdict.reason, verdict.message))
        };
        let good = Named::of(&secret("a.example", 2030));
        assert_eq!((said(&good, &["a.example"]), said(&Named::None, &["a.example"])), (None, None));
        let (reason, message) = said(&good, &["a.example", "b.example"]).unwrap();
        assert_eq!(reason, Reason::InvalidCertificate);
        assert!(message.contains("is not for b.example"), "{message}");
        let (_, message) = said(&Named::of(&secret("a.example", 2025)), &["a.example"]).unwrap();
        assert!(message.contains("its end is 2025-01-01T00:00:00Z"), "{message}");
        let (reason, message) = said(&Named::of(&Secret::default()), &["a.example"]).unwrap();
        assert_eq!(reason, Reason::InvalidCertificate);
        assert!(message.contains("holds no certificate"), "{message}");
        assert_eq!(said(&Named::Missing, &[]).unwrap().0, Reason::SecretMissing);
        assert_eq!(said(&Named::Unreadable, &[]).unwrap().0, Reason::Progressing);
        let of_domain = Route::new("r", RouteSpec { domain: Some("d".to_owned()), ..RouteSpec::default() });
        assert_eq!(obstacle(&Named::Missing, &of_domain, now).unwrap().reason, Reason::Progressing);
    }
}

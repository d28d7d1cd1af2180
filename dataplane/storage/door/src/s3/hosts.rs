//! Buckets that are named by the host: `<bucket>.<domain>`.

use std::sync::Arc;

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// The domains whose subdomains are buckets. Every other host is one whose paths begin with the bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts(Arc<Vec<String>>);

impl Hosts {
    /// These domains, without a port.
    pub(crate) fn new(domains: &[String]) -> Self {
        let plain = |domain: &String| domain.trim_matches('.').to_ascii_lowercase();
        Self(Arc::new(domains.iter().map(plain).filter(|domain| !domain.is_empty()).collect()))
    }

    /// The bucket that a `Host` header names, if it does.
    pub(crate) fn bucket(&self, host: &str) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let host = match host.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => host,
        };
        let host = host.to_ascii_lowercase();
        let bucket = self.0.iter().find_map(|domain| host.strip_suffix(domain.as_str())?.strip_suffix('.'))?;
        Some(bucket.to_owned()).filter(|bucket| !bucket.is_empty())
    }
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let found = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => found.with_bucket(bucket),
            None => found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subdomain_is_a_bucket() {
        let hosts = Hosts::new(&["S3.example.org".into(), ".files.local.".into()]);
        let bucket = |host: &str| hosts.bucket(host);
        assert_eq!(bucket("photos.s3.example.org").as_deref(), Some("photos"));
        assert_eq!(bucket("my.photos.S3.Example.org:7600").as_deref(), Some("my.photos"));
        assert_eq!(bucket("a-b.files.local").as_deref(), Some("a-b"));
        for none in ["s3.example.org", "xs3.example.org", "example.org", ".s3.example.org", "127.0.0.1:7600", "[::1]:7600", ""] {
            assert_eq!(bucket(none), None, "{none}");
        }
        assert_eq!(Hosts::default().bucket("a.b"), None);
    }
}

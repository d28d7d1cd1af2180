//! Hosts as requests name them.

use std::borrow::Cow;

/// The longest host name that DNS can carry (RFC 1035, section 2.3.4).
const LENGTH_MAX: usize = 253;

/// Why a request's host is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing but a port, or nothing at all.
    #[error("the host is empty")]
    Empty,
    /// Longer than any name can be.
    #[error("the host is longer than {LENGTH_MAX} bytes")]
    Long,
    /// A byte that no host holds.
    #[error("the host holds a byte that no host name may")]
    Byte,
}

/// The form that rules are kept by: lower case, without port and final dot. Borrowed where it is that already.
///
/// # Errors
/// Where it cannot be a host of any rule.
pub fn normalize_host(authority: &str) -> Result<Cow<'_, str>, HostError> {
    let (host, port) = match authority.strip_prefix('[') {
        // An address of IPv6 stands in brackets (RFC 3986, section 3.2.2).
        Some(rest) => rest.split_once(']').ok_or(HostError::Byte)?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    // What one server takes for a port, another may take for a host.
    let port = port.strip_prefix(':').unwrap_or(port);
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostError::Byte);
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return Err(HostError::Empty);
    }
    if host.len() > LENGTH_MAX {
        return Err(HostError::Long);
    }
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':')) {
        return Err(HostError::Byte);
    }
    Ok(match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    })
}

/// What a wildcard host stands for: `*.example.com` is every name that ends in `.example.com`.
pub(crate) fn wildcard_suffix(host: &str) -> Option<&str> {
    host.strip_prefix('*').filter(|suffix| suffix.starts_with('.'))
}

/// The suffixes by which wildcards may cover a host, the longest first: `.b.c` and `.c` for `a.b.c`.
pub(crate) fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    host.match_indices('.').map(|(dot, _)| &host[dot..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_dots_and_case_do_not_matter() {
        for authority in ["app.example.com", "APP.example.com", "app.example.com:8080", "app.example.com.", "App.Example.com.:80"]
        {
            assert_eq!(normalize_host(authority).unwrap(), "app.example.com");
        }
        assert_eq!(normalize_host("[2001:db8::1]:80").unwrap(), "2001:db8::1");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        assert_eq!(normalize_host(""), Err(HostError::Empty));
        assert_eq!(normalize_host(":80"), Err(HostError::Empty));
        assert_eq!(normalize_host("."), Err(HostError::Empty));
        assert_eq!(normalize_host("a b"), Err(HostError::Byte));
        assert_eq!(normalize_host("a/b"), Err(HostError::Byte));
        assert_eq!(normalize_host("user@host"), Err(HostError::Byte));
        for authority in ["a:80:b", "a:b", "a: 80", "[::1", "[::1]b", "[::1]:b", "a:80@b"] {
            assert_eq!(normalize_host(authority), Err(HostError::Byte), "{authority}");
        }
        assert_eq!(normalize_host(&"a".repeat(254)), Err(HostError::Long));
    }

    #[test]
    fn suffixes_go_from_long_to_short() {
        assert_eq!(suffixes("a.b.c").collect::<Vec<_>>(), [".b.c", ".c"]);
        assert_eq!(suffixes("localhost").count(), 0);
    }
}

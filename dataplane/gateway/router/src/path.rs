//! Paths as requests name them.

/// Why a request's path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not start with a slash.
    #[error("the path does not start with /")]
    Relative,
    /// It holds an element `.` or `..`, written out or encoded.
    #[error("the path holds a . or .. element: resolve it before sending the request")]
    Dots,
}

/// Refuses paths that a backend might read as another than the one that was routed by.
///
/// A client resolves `.` and `..` before it sends a request (RFC 3986, section 5.2.4). One that does not is
/// trying to reach behind a prefix rule.
///
/// # Errors
/// Where the path is not absolute or not resolved.
pub fn check_path(path: &str) -> Result<(), PathError> {
    if !path.starts_with('/') {
        return Err(PathError::Relative);
    }
    // Few paths hold a dot or a percent sign right behind a slash, so the costly look is rare.
    let bytes = path.as_bytes();
    let suspicious = bytes.windows(2).any(|pair| is_slash(pair[0]) && matches!(pair[1], b'.' | b'%'))
        || path.contains("%2")
        || path.contains("%5");
    if suspicious && elements(path).any(is_dots) {
        return Err(PathError::Dots);
    }
    Ok(())
}

fn is_slash(byte: u8) -> bool {
    // Some backends take a backslash for a slash.
    matches!(byte, b'/' | b'\\')
}

/// The path's elements, where encoded slashes part them too, as some backends have it.
fn elements(path: &str) -> impl Iterator<Item = String> {
    let lower = path.to_ascii_lowercase().replace("%2f", "/").replace("%5c", "/").replace('\\', "/");
    let elements: Vec<String> = lower.split('/').map(str::to_owned).collect();
    elements.into_iter()
}

fn is_dots(element: String) -> bool {
    let element = element.replace("%2e", ".");
    // Some backends cut parameters off an element before they resolve it.
    matches!(element.split(';').next(), Some("." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_pass() {
        for path in
            ["/", "/a/b", "/a//b", "/.well-known/acme-challenge/x", "/a/..b", "/a/b..", "/%20/x", "/...", "/a.b/c.d", "/x%2Fy"]
        {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn paths_that_are_not_resolved_are_refused() {
        for path in
            ["/..", "/a/../b", "/a/./b", "/%2e%2e/b", "/a/.%2E/b", "/a%2f..%2fb", "/a\\..\\b", "/a%5C..%5Cb", "/a/..;x=1/b"]
        {
            assert_eq!(check_path(path), Err(PathError::Dots), "{path}");
        }
        assert_eq!(check_path("a"), Err(PathError::Relative));
        assert_eq!(check_path("*"), Err(PathError::Relative));
    }
}

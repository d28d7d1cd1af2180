//! Hosts as Routes and Domains name them: single ones, and all names below one, as `*.example.com`.

/// Whether the first is for all names of which the second is one, or is for some.
pub(crate) fn covers(wide: &str, narrow: &str) -> bool {
    wide.strip_prefix('*').is_some_and(|suffix| narrow.ends_with(suffix))
}

/// Whether two hosts are one, or one covers the other.
pub(crate) fn overlap(left: &str, right: &str) -> bool {
    left == right || covers(left, right) || covers(right, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_for_what_is_below_it() {
        assert!(covers("*.b", "a.b") && covers("*.b", "*.a.b") && !covers("*.b", "b") && !covers("a.b", "*.b"));
        assert!(overlap("a.b", "*.b") && overlap("a", "a") && !overlap("a.b", "b.b"));
    }
}

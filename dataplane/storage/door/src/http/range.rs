//! Ranges of bytes (RFC 9110, section 14).

/// Bytes from `start` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first.
    pub start: u64,
    /// The first beyond.
    pub end: u64,
}

/// What a `Range` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All: also where the header means nothing, or asks for several ranges, which nobody has to serve.
    Whole,
    /// One range.
    Part(ByteRange),
    /// Bytes that are not there.
    Nothing,
}

impl Asked {
    /// What a header asks for of so many bytes.
    pub fn of(header: Option<&str>, length: u64) -> Self {
        let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else { return Self::Whole };
        let Some((first, last)) = spec.split_once('-').filter(|_| !spec.contains(',')) else { return Self::Whole };
        let number = |text: &str| {
            let text = text.trim();
            // No sign, and however long: more than fits is more than there is.
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u64::MAX))
        };
        let range = match (first.trim(), last.trim()) {
            ("", _) => match number(last) {
                Some(suffix) => ByteRange { start: length.saturating_sub(suffix), end: length },
                None => return Self::Whole,
            },
            (_, "") => match number(first) {
                Some(start) => ByteRange { start, end: length },
                None => return Self::Whole,
            },
            _ => match (number(first), number(last)) {
                (Some(start), Some(last)) if start <= last => ByteRange { start, end: last.saturating_add(1).min(length) },
                _ => return Self::Whole,
            },
        };
        if range.start < range.end { Self::Part(range) } else { Self::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_has_them() {
        let of = |header| Asked::of(Some(header), 100);
        let part = |start, end| Asked::Part(ByteRange { start, end });
        assert_eq!(Asked::of(None, 100), Asked::Whole);
        for (header, asked) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=10-19", part(10, 20)),
            ("bytes= 10 - 19 ", part(10, 20)),
            ("bytes=90-", part(90, 100)),
            ("bytes=90-1000", part(90, 100)),
            ("bytes=99-18446744073709551615", part(99, 100)),
            ("bytes=-10", part(90, 100)),
            ("bytes=-1000", part(0, 100)),
            ("bytes=100-", Asked::Nothing),
            ("bytes=99999999999999999999999-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
        ] {
            assert_eq!(of(header), asked, "{header}");
        }
        for nonsense in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=+1-2", "items=0-1", "bytes=0-1,3-4", "bytes=1--2"]
        {
            assert_eq!(of(nonsense), Asked::Whole, "{nonsense}");
        }
        assert_eq!(Asked::of(Some("bytes=0-"), 0), Asked::Nothing);
    }

    #[test]
    fn whatever_is_asked_what_is_served_is_there() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..100_000 {
            let mut header = if random.bool() { "bytes=".to_owned() } else { String::new() };
            header.extend((0..random.usize(0..12)).map(|_| *random.choice(b"0123459-- ,=+\xff").unwrap_or(&b' ') as char));
            let length = random.choice([0, 1, 10, 1 << 40, u64::MAX]).unwrap_or_default();
            if let Asked::Part(range) = Asked::of(Some(&header), length) {
                assert!(range.start < range.end && range.end <= length, "{header:?} of {length}");
            }
        }
    }
}

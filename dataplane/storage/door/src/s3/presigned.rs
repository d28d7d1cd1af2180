//! Links that somebody signed: how long they are good for at most ("Authenticating requests: using query parameters").

use s3s::S3ErrorCode;

use super::error::Failure;

/// A week.
const SECONDS_MAX: u32 = 7 * 24 * 60 * 60;

/// Checks how long a link says that it is good for. Whether it still is, is told by its signature.
pub(super) fn check(query: Option<&str>) -> Result<(), Failure> {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, seconds)) = pairs.find(|(name, _)| *name == "X-Amz-Expires") else { return Ok(()) };
    if seconds.parse().is_ok_and(|seconds: u32| (1..=SECONDS_MAX).contains(&seconds)) {
        return Ok(());
    }
    Err(Failure::new(S3ErrorCode::AccessDenied, format!("a signed link is good for 1 to {SECONDS_MAX} seconds")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_for_a_week_at_most() {
        for good in [None, Some(""), Some("a=b"), Some("X-Amz-Expires=1"), Some("a&X-Amz-Expires=604800&b=c")] {
            assert!(check(good).is_ok(), "{good:?}");
        }
        for bad in ["X-Amz-Expires=0", "X-Amz-Expires=-1000", "X-Amz-Expires=604801", "X-Amz-Expires=x", "X-Amz-Expires="] {
            assert!(check(Some(bad)).is_err(), "{bad}");
        }
    }
}

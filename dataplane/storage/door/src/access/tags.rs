//! What policies' conditions say of the tags that a request gives an object.

/// The values of a key that tags tell which a request gives an object.
pub(crate) fn of_tags(key: &str, tags: &[(String, String)]) -> Vec<String> {
    let Some((_, name)) = key.split_once(':').filter(|(service, _)| service.eq_ignore_ascii_case("s3")) else {
        return Vec::new();
    };
    match name.split_once('/') {
        Some((kind, tag)) if kind.eq_ignore_ascii_case("RequestObjectTag") => {
            tags.iter().filter(|(name, _)| name == tag).map(|(_, value)| value.clone()).collect()
        }
        None if name.eq_ignore_ascii_case("RequestObjectTagKeys") => tags.iter().map(|(name, _)| name.clone()).collect(),
        _ => Vec::new(),
    }
}

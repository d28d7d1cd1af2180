//! What objects are known by besides their bytes, as S3 has it.

use std::time::{Duration, UNIX_EPOCH};

use eddy_object::schema::{Attributes, ObjectRow};
use percent_encoding::percent_decode_str;
use s3s::S3ErrorCode;
use s3s::dto::{Metadata, Tag, TagSet, Tagging, Timestamp, TimestampFormat};
use s3s::xml::{Deserialize, Deserializer};

use super::error::Failure;

/// What is sent for objects that have no type.
pub(super) const FALLBACK_TYPE: &str = "binary/octet-stream";
/// All names and values that somebody gives an object, together.
const METADATA_BYTES_MAX: usize = 2048;
/// Tags of an object, and of a bucket.
const OBJECT_TAGS_MAX: usize = 10;
const BUCKET_TAGS_MAX: usize = 50;
/// Characters of a tag's name and of its value.
const TAG_NAME_MAX: usize = 128;
const TAG_VALUE_MAX: usize = 256;

/// What a request says of an object.
#[derive(Default)]
pub(super) struct Given {
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) expires: Option<Timestamp>,
    pub(super) metadata: Option<Metadata>,
    pub(super) tagging: Option<String>,
}

/// Takes what a request says of an object out of it.
macro_rules! given {
    ($input:ident) => {
        $crate::s3::attributes::Given {
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $input.content_encoding.take(),
            content_language: $input.content_language.take(),
            content_type: $input.content_type.take(),
            expires: $input.expires.take(),
            metadata: $input.metadata.take(),
            tagging: $input.tagging.take(),
        }
    };
}
pub(super) use given;

impl Given {
    pub(super) fn attributes(self) -> Result<Attributes, Failure> {
        let expires = self.expires.map(http_date).transpose()?;
        let headers = [
            ("cache-control", self.cache_control),
            ("content-disposition", self.content_disposition),
            ("content-encoding", self.content_encoding.and_then(|encoding| without_chunks(&encoding))),
            ("content-language", self.content_language),
            ("expires", expires),
        ];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let mut metadata: Vec<(String, String)> = self.metadata.unwrap_or_default().into_iter().collect();
        metadata.sort_unstable();
        if metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > METADATA_BYTES_MAX {
            let message = format!("names and values of metadata have at most {METADATA_BYTES_MAX} bytes together");
            return Err(Failure::new(S3ErrorCode::MetadataTooLarge, message));
        }
        let tags = self.tagging.map(|tagging| tags_of_text(&tagging)).transpose()?.unwrap_or_default();
        let content_type = self.content_type.unwrap_or_default();
        Ok(Attributes { content_type, headers, metadata, tags, ..Attributes::default() })
    }
}

/// How a body was sent is nothing that its object has.
fn without_chunks(encoding: &str) -> Option<String> {
    let kept: Vec<&str> = encoding.split(',').map(str::trim).filter(|one| !one.eq_ignore_ascii_case("aws-chunked")).collect();
    Some(kept.join(", ")).filter(|kept| !kept.is_empty())
}

/// A header that is kept with an object.
pub(super) fn header(row: &ObjectRow, name: &str) -> Option<String> {
    row.attributes.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
}

pub(super) fn expires(row: &ObjectRow) -> Option<Timestamp> {
    Timestamp::parse(TimestampFormat::HttpDate, &header(row, "expires")?).ok()
}

pub(super) fn content_type(row: &ObjectRow) -> String {
    let own = &row.attributes.content_type;
    if own.is_empty() { FALLBACK_TYPE.to_owned() } else { own.clone() }
}

pub(super) fn metadata(row: &ObjectRow) -> Option<Metadata> {
    let metadata: Metadata = row.attributes.metadata.iter().cloned().collect();
    Some(metadata).filter(|metadata| !metadata.is_empty())
}

pub(super) fn time(ms: u64) -> Timestamp {
    (UNIX_EPOCH + Duration::from_millis(ms)).into()
}

/// Seconds since 1970.
pub(super) fn seconds(time: &Timestamp) -> Option<u64> {
    milliseconds(time).map(|milliseconds| milliseconds / 1000)
}

/// Milliseconds since 1970.
pub(super) fn milliseconds(time: &Timestamp) -> Option<u64> {
    let mut text = Vec::new();
    time.format(TimestampFormat::DateTime, &mut text).ok()?;
    let time: jiff::Timestamp = std::str::from_utf8(&text).ok()?.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

fn http_date(time: Timestamp) -> Result<String, Failure> {
    let mut text = Vec::new();
    let written = time.format(TimestampFormat::HttpDate, &mut text).ok().and_then(|()| String::from_utf8(text).ok());
    written.ok_or_else(|| Failure::bad("Expires is no date"))
}

/// Tags of an object, as a header has them, or as a form has: that is a document.
fn tags_of_text(text: &str) -> Result<Vec<(String, String)>, Failure> {
    if !text.trim_start().starts_with('<') {
        return tags_of_header(text);
    }
    let tagging = Tagging::deserialize(&mut Deserializer::new(text.as_bytes()));
    object_tags(tagging.map_err(|_| Failure::new(S3ErrorCode::MalformedXML, "the tags are no such document"))?.tag_set)
}

/// Tags of an object, as the header has them: like a form's fields.
fn tags_of_header(header: &str) -> Result<Vec<(String, String)>, Failure> {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8().map(|text| text.into_owned())
    };
    let pairs = header.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (decoded(name), decoded(value)) {
            (Ok(name), Ok(value)) => Ok((name, value)),
            _ => Err(Failure::new(S3ErrorCode::InvalidTag, "tags are UTF-8")),
        }
    });
    let mut tags: Vec<(String, String)> = pairs.collect::<Result<_, _>>()?;
    tags.sort_unstable();
    check_tags(tags, OBJECT_TAGS_MAX)
}

/// Tags of an object, as a document has them.
pub(super) fn object_tags(tags: TagSet) -> Result<Vec<(String, String)>, Failure> {
    tags_of(tags, OBJECT_TAGS_MAX)
}

/// Tags of a bucket.
pub(super) fn bucket_tags(tags: TagSet) -> Result<Vec<(String, String)>, Failure> {
    tags_of(tags, BUCKET_TAGS_MAX)
}

fn tags_of(tags: TagSet, at_most: usize) -> Result<Vec<(String, String)>, Failure> {
    check_tags(tags.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect(), at_most)
}

fn check_tags(tags: Vec<(String, String)>, at_most: usize) -> Result<Vec<(String, String)>, Failure> {
    let invalid = |message: String| Err(Failure::new(S3ErrorCode::InvalidTag, message));
    if tags.len() > at_most {
        return invalid(format!("there are at most {at_most} tags"));
    }
    for (at, (name, value)) in tags.iter().enumerate() {
        if name.is_empty() || name.chars().count() > TAG_NAME_MAX || value.chars().count() > TAG_VALUE_MAX {
            return invalid(format!("a tag's name has 1 to {TAG_NAME_MAX} characters, its value at most {TAG_VALUE_MAX}"));
        }
        if tags[..at].iter().any(|(before, _)| before == name) {
            return invalid(format!("there are two tags {name:?}"));
        }
    }
    Ok(tags)
}

pub(super) fn tag_set(tags: &[(String, String)]) -> TagSet {
    tags.iter().map(|(name, value)| Tag { key: Some(name.clone()), value: Some(value.clone()) }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_a_header_are_a_form() {
        let tags = tags_of_header("a=1&b+c=%C3%A4&d").unwrap();
        let expected = [("a", "1"), ("b c", "ä"), ("d", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(tags, expected);
        assert!(tags_of_header("").unwrap().is_empty());
        let many = (0..11).map(|at| format!("{at}=x")).collect::<Vec<_>>().join("&");
        let long = format!("{}=x", "a".repeat(129));
        for bad in ["a=1&a=2", "=1", "a=%ff", many.as_str(), long.as_str()] {
            assert!(tags_of_header(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn chunks_are_no_encoding() {
        assert_eq!(without_chunks("aws-chunked"), None);
        assert_eq!(without_chunks("gzip, aws-chunked").as_deref(), Some("gzip"));
        assert_eq!(without_chunks("deflate,aws-chunked, gzip").as_deref(), Some("deflate, gzip"));
        assert_eq!(without_chunks("br").as_deref(), Some("br"));
    }
}

//! Entity tags.

use std::fmt::Write;

use eddy_object::schema::ObjectRow;

/// What an object's contents are known by, in quotes: its digest, with how many parts it has, or else the number of the
/// upload that wrote it. Strong (RFC 9110, section 8.8.3): other bytes have another one.
pub fn etag(row: &ObjectRow) -> String {
    let tag = &row.attributes.etag;
    let mut text = String::with_capacity(40);
    text.push('"');
    if tag.digest.is_empty() {
        let _ = write!(text, "{:016x}", row.upload);
    }
    for byte in &tag.digest {
        let _ = write!(text, "{byte:02x}");
    }
    if tag.parts > 0 {
        let _ = write!(text, "-{}", tag.parts);
    }
    text.push('"');
    text
}

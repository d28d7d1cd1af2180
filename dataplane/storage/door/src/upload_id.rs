//! How uploads in parts are named, in both APIs.

use eddy_object::ObjectError;

/// The name of an upload.
pub(crate) fn upload_id(number: u64) -> String {
    format!("{number:016x}")
}

/// Which upload is meant.
pub(crate) fn upload_number(text: &str) -> Result<u64, ObjectError> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| digits).ok_or(ObjectError::NoUpload)
}

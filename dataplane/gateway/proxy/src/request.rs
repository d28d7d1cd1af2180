//! What a request says of itself: whom it is for, who sent it, and by what id it is known.

use http::{HeaderName, header};
use pingora_http::RequestHeader;

static HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A request id from outside is kept up to this length.
const REQUEST_ID_BYTES_MAX: usize = 128;

pub(crate) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The host that a request is for: of its target if that names one, else of its header (RFC 9112, section 3.2.2).
pub(crate) fn authority(request: &RequestHeader) -> Option<&str> {
    match request.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers.get(header::HOST).and_then(|host| host.to_str().ok()),
    }
}

/// The client's own id if it is one, else a new one.
pub(crate) fn request_id(request: &RequestHeader) -> String {
    let given = request.headers.get(&X_REQUEST_ID).and_then(|id| id.to_str().ok());
    let well_formed = |id: &&str| {
        !id.is_empty()
            && id.len() <= REQUEST_ID_BYTES_MAX
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    given.filter(well_formed).map_or_else(new_request_id, str::to_owned)
}

/// 128 random bits in hexadecimal.
fn new_request_id() -> String {
    let random = fastrand::u128(..).to_be_bytes();
    random.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| char::from(HEX_DIGITS[usize::from(nibble)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_is_well_formed_and_new() {
        let ids = [new_request_id(), new_request_id()];
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| HEX_DIGITS.contains(&byte))), "{ids:?}");
        assert_ne!(ids[0], ids[1]);
    }
}

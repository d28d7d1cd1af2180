//! How a row is written.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::ObjectError;

/// The form of all values so far.
const FORM: u8 = 4;

/// A row's value.
///
/// # Errors
/// None that any of this module's rows can meet.
pub fn encode<T: Serialize>(row: &T) -> Result<Bytes, ObjectError> {
    let broken = |error: postcard::Error| ObjectError::Broken(format!("a row cannot be written: {error}"));
    postcard::to_extend(row, vec![FORM]).map(Bytes::from).map_err(broken)
}

/// What a row's value says.
///
/// # Errors
/// [`ObjectError::Broken`] where it was written by a later version, or by something else.
pub fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, ObjectError> {
    match value.split_first() {
        Some((&FORM, rest)) => {
            postcard::from_bytes(rest).map_err(|error| ObjectError::Broken(format!("a row cannot be read: {error}")))
        }
        other => Err(ObjectError::Broken(format!("a row has the form {:?}, not {FORM}", other.map(|(form, _)| form)))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Class, ServerRow};
    use super::*;

    #[test]
    fn a_row_comes_back_and_a_later_form_is_refused() {
        let row = ServerRow { address: "a:1".into(), failure_domain: "m".into(), class: Class::Slow };
        let value = encode(&row).unwrap();
        assert_eq!(decode::<ServerRow>(&value).unwrap(), row);
        assert!(decode::<ServerRow>(&[&[FORM + 1], &value[1..]].concat()).is_err());
        assert!(decode::<ServerRow>(&value[..3]).is_err() && decode::<ServerRow>(&[]).is_err());
    }
}

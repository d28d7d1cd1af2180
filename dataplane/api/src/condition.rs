//! Which version of an object whoever writes wants to change (RFC 9110, 13.1.1).

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};

use crate::problem::Problem;

/// The version that whoever asks wants to change, if they say one.
pub(crate) fn condition(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    if headers.contains_key(IF_NONE_MATCH) {
        return Err(Problem::bad("If-None-Match is for reading: make an object with POST, which never replaces one"));
    }
    let mut said = headers.get_all(IF_MATCH).iter();
    let (Some(first), None) = (said.next(), said.next()) else {
        return if headers.contains_key(IF_MATCH) { Err(wrong_condition()) } else { Ok(None) };
    };
    let text = first.to_str().map_err(|_| wrong_condition())?;
    if text == "*" {
        return Ok(None);
    }
    let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let version = version.filter(|version| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()));
    version.map(|version| Some(version.to_owned())).ok_or_else(wrong_condition)
}

fn wrong_condition() -> Problem {
    Problem::bad("If-Match is one ETag, as a read was answered with")
}

/// What a conflict is to whoever said a version.
pub(crate) fn conditioned(problem: Problem, condition: Option<&str>) -> Problem {
    if condition.is_some() && problem.code == "Conflict" {
        let detail = "the object is not of that version any more: read it again";
        return Problem::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", detail);
    }
    problem
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::headers;

    #[test]
    fn a_condition_is_one_tag() {
        let of = |value: &str| condition(&headers(&[(IF_MATCH, value)])).map_err(|problem| problem.status.as_u16());
        assert_eq!((of("\"7\""), of("*")), (Ok(Some("7".into())), Ok(None)));
        for wrong in ["7", "\"\"", "\"7", "W/\"7\"", "\"7\", \"8\"", "\"x\""] {
            assert_eq!(of(wrong), Err(400), "{wrong}");
        }
        assert!(condition(&headers(&[(IF_MATCH, "\"7\""), (IF_MATCH, "\"8\"")])).is_err());
        assert!(condition(&headers(&[(IF_NONE_MATCH, "*")])).is_err());
    }
}

//! What a provider says of somebody, besides who they are.

use std::collections::BTreeMap;

use openidconnect::AdditionalClaims;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// More groups are not looked at.
const GROUPS_MAX: usize = 1000;

/// Claims that the specification does not name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Claims {
    #[serde(flatten)]
    all: BTreeMap<String, Value>,
}

impl AdditionalClaims for Claims {}

impl Claims {
    /// The groups that a claim says; none if there is no such claim. A dot leads into an object, unless the whole is a claim's name: those
    /// of some providers are URLs.
    pub(crate) fn groups(&self, claim: &str) -> Option<Vec<String>> {
        let found = self.all.get(claim).or_else(|| {
            let mut parts = claim.split('.');
            let first = self.all.get(parts.next()?)?;
            parts.try_fold(first, |value, part| value.get(part))
        })?;
        Some(match found {
            Value::String(one) => vec![one.clone()],
            Value::Array(all) => all.iter().filter_map(Value::as_str).take(GROUPS_MAX).map(str::to_owned).collect(),
            _ => Vec::new(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_a_list_or_one_wherever_a_provider_has_them() {
        let claims: Claims = serde_json::from_str(
            r#"{"groups":["a",7,"b"],"role":"c","realm_access":{"roles":["d"]},"https://x.example/groups":["e"],"no":{"x":1}}"#,
        )
        .unwrap();
        let of = |claim: &str| claims.groups(claim).map(|groups| groups.join(" "));
        assert_eq!(of("groups").as_deref(), Some("a b"));
        assert_eq!(of("role").as_deref(), Some("c"));
        assert_eq!(of("realm_access.roles").as_deref(), Some("d"));
        assert_eq!(of("https://x.example/groups").as_deref(), Some("e"));
        assert_eq!(of("no").as_deref(), Some(""));
        for none in ["other", "realm_access.other", "groups.x", ""] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}

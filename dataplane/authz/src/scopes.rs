//! A set of scopes, laid out so that asking it is quick.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::catalog::{Action, Actions};
use crate::scope::{Resource, Scope, covers};

/// Scopes, those about the same thing in one, in order of what they are about. Clones share them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Arc<[Scope]>);

impl FromIterator<Scope> for Scopes {
    fn from_iter<All: IntoIterator<Item = Scope>>(all: All) -> Self {
        let mut scopes: Vec<Scope> = all.into_iter().collect();
        // Without an id is before any id.
        scopes.sort_by(|one, other| (one.kind, &one.owner, &one.id).cmp(&(other.kind, &other.owner, &other.id)));
        scopes.dedup_by(|later, kept| {
            let same = (later.kind, &later.owner, &later.id) == (kept.kind, &kept.owner, &kept.id);
            if same {
                kept.actions = kept.actions.or(later.actions);
            }
            same
        });
        Self(scopes.into())
    }
}

impl Scopes {
    /// Whether they hold this.
    pub fn hold(&self, action: Action, resource: &Resource<'_>) -> bool {
        self.about(resource).any(|scope| scope.actions.has(action))
    }

    /// What they hold of a resource.
    pub fn held(&self, resource: &Resource<'_>) -> Actions {
        self.about(resource).fold(Actions::default(), |held, scope| held.or(scope.actions))
    }

    fn about(&self, resource: &Resource<'_>) -> impl Iterator<Item = &Scope> {
        let asked = (resource.kind, resource.owner);
        let start = self.0.partition_point(|scope| (scope.kind, &*scope.owner) < asked);
        let same = self.0[start..].iter().take_while(move |scope| (scope.kind, &*scope.owner) == asked);
        let id = resource.id;
        same.filter(move |scope| covers(scope.id.as_deref(), id))
    }

    /// Each.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether they hold nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A scope as it is written down.
#[derive(Serialize, Deserialize)]
struct Written {
    scope: String,
    actions: Vec<String>,
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = |scope: &Scope| Written {
            scope: scope.to_string(),
            actions: scope.actions.iter().map(|action| action.as_str().to_owned()).collect(),
        };
        serializer.collect_seq(self.0.iter().map(written))
    }
}

impl<'de> Deserialize<'de> for Scopes {
    /// What a later version wrote and this one does not know is left out: it grants nothing here.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Vec::<Written>::deserialize(deserializer)?;
        let read = |one: &Written| {
            let known = one.actions.iter().map(String::as_str).filter(|word| Scope::parse(&one.scope, [*word]).is_ok());
            Scope::parse(&one.scope, known).ok()
        };
        Ok(written.iter().filter_map(read).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::Kind;

    fn any_scope() -> impl Strategy<Value = Scope> {
        let kind = prop::sample::select(vec![Kind::Files, Kind::Namespaces, Kind::Containers]);
        let owner = prop::sample::select(vec!["a", "ab", "b"]);
        let id = prop::option::of(prop::sample::select(vec!["x", "x/y", "x/y/z", "xy", "y"]));
        let actions = prop::collection::vec(prop::sample::select(vec![Action::Read, Action::Delete]), 1..3);
        (kind, owner, id, actions).prop_map(|(kind, owner, id, actions)| Scope {
            kind,
            owner: owner.into(),
            id: id.map(Into::into),
            actions: actions.into_iter().collect(),
        })
    }

    proptest! {
        #[test]
        fn the_set_holds_what_any_of_its_scopes_does(
            scopes in prop::collection::vec(any_scope(), 0..20),
            asked in any_scope(),
        ) {
            let set: Scopes = scopes.iter().cloned().collect();
            let id = asked.id.as_deref().unwrap_or_default();
            let resource = Resource { owner: &asked.owner, kind: asked.kind, id };
            for action in [Action::Read, Action::Delete] {
                let any = scopes.iter().any(|scope| scope.actions.has(action) && scope.is_about(&resource));
                prop_assert_eq!(set.hold(action, &resource), any);
                prop_assert_eq!(set.held(&resource).has(action), any);
            }
        }

        #[test]
        fn the_order_and_repetitions_of_scopes_mean_nothing(scopes in prop::collection::vec(any_scope(), 0..20)) {
            let set: Scopes = scopes.iter().cloned().collect();
            let again: Scopes = scopes.iter().rev().chain(&scopes).cloned().collect();
            prop_assert_eq!(&set, &again);
            let text = serde_json::to_string(&set).unwrap();
            prop_assert_eq!(set, serde_json::from_str::<Scopes>(&text).unwrap());
        }

        #[test]
        fn whatever_is_read_as_a_scope_is_written_the_same(
            service in prop::sample::select(vec!["storage", "compute", "x"]),
            owner in "[a-z1-]{0,3}",
            kind in prop::sample::select(vec!["files", "containers", ""]),
            id in "([.][a-z./ ]{0,6})?",
        ) {
            let text = format!("{service}.{owner}.{kind}{id}");
            if let Ok(scope) = Scope::parse(&text, ["read"]) {
                prop_assert_eq!(scope.to_string(), text);
            }
        }
    }

    #[test]
    fn what_a_later_version_wrote_is_left_out() {
        let text = r#"[{"scope":"storage.a.files","actions":["read","levitate"]},{"scope":"magic.a.wands","actions":["wave"]}]"#;
        let scopes: Scopes = serde_json::from_str(text).unwrap();
        let kept = Scope::parse("storage.a.files", ["read"]).unwrap();
        assert_eq!(scopes.iter().collect::<Vec<_>>(), [&kept]);
    }
}

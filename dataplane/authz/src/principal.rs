//! Who asks.

use std::sync::Arc;

use crate::catalog::{Action, Actions, Kind};
use crate::scope::Resource;
use crate::scopes::Scopes;

/// Who asks: a user, or a ServiceAccount of theirs, and the limits of what they showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    user: Arc<str>,
    is_admin: bool,
    account: Option<Arc<str>>,
    token: Option<Arc<str>>,
    is_session: bool,
    /// When what they showed ends, in seconds since 1970.
    expires_s: Option<i64>,
    /// What is known of them is too old for more than reading.
    reads_only: bool,
    /// Of its account, and of its token: each must hold what is asked.
    limits: [Option<Scopes>; 2],
}

impl Principal {
    /// A user, with all that is theirs.
    pub fn of_user(user: impl Into<Arc<str>>) -> Self {
        Self {
            user: user.into(),
            is_admin: false,
            account: None,
            token: None,
            is_session: false,
            expires_s: None,
            reads_only: false,
            limits: [None, None],
        }
    }

    /// Who manages every tenant.
    #[must_use]
    pub fn as_admin(self) -> Self {
        Self { is_admin: true, ..self }
    }

    /// A ServiceAccount of theirs, which may this much.
    #[must_use]
    pub fn for_account(self, account: Arc<str>, scopes: Scopes) -> Self {
        Self { account: Some(account), limits: [Some(scopes), self.limits[1].clone()], ..self }
    }

    /// Who showed a Token of this name.
    #[must_use]
    pub fn by_token(self, token: Arc<str>) -> Self {
        Self { token: Some(token), ..self }
    }

    /// Who has signed in.
    #[must_use]
    pub fn in_session(self) -> Self {
        Self { is_session: true, ..self }
    }

    /// Who may only until then, in seconds since 1970.
    #[must_use]
    pub fn until(self, expires_s: Option<i64>) -> Self {
        Self { expires_s, ..self }
    }

    /// When what they showed ends, in seconds since 1970, if it does.
    pub fn expires_s(&self) -> Option<i64> {
        self.expires_s
    }

    /// Who may no more than this.
    #[must_use]
    pub fn within(self, scopes: Scopes) -> Self {
        Self { limits: [self.limits[0].clone(), Some(scopes)], ..self }
    }

    /// Who may only read for now, since what is known of them is old.
    #[must_use]
    pub fn reading_only(self) -> Self {
        Self { reads_only: true, ..self }
    }

    /// Who they would be if what is known of them were not too old; none if it is not.
    pub fn once_fresh(&self) -> Option<Self> {
        self.reads_only.then(|| Self { reads_only: false, ..self.clone() })
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether what they showed is good for less than all that is theirs.
    pub fn is_limited(&self) -> bool {
        self.limits.iter().any(Option::is_some)
    }

    /// The ServiceAccount that it is, if it is one.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Whether they manage every tenant.
    pub fn is_admin(&self) -> bool {
        self.is_admin
    }

    /// The Token that was shown, if one was.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Whether they have signed in, rather than shown a Token.
    pub fn is_session(&self) -> bool {
        self.is_session
    }

    /// As others name them who share something with them: `user/ada`, or `serviceaccount/ada/ci`.
    pub fn name(&self) -> String {
        match &self.account {
            Some(account) => format!("serviceaccount/{}/{account}", self.user),
            None => format!("user/{}", self.user),
        }
    }

    /// Whether what they showed is good for this at all, whoever lets them.
    pub fn holds(&self, action: Action, resource: &Resource<'_>) -> bool {
        (action.only_reads() || !self.reads_only) && self.limits.iter().flatten().all(|limit| limit.hold(action, resource))
    }

    /// Whether they may by themselves: since it is theirs, or since they manage every tenant.
    pub fn may(&self, action: Action, resource: &Resource<'_>) -> bool {
        let owns = !self.user.is_empty() && *self.user == *resource.owner && owned(resource.kind).has(action);
        (owns || self.is_admin) && self.holds(action, resource)
    }
}

/// What an owner may with what is theirs: all but to change what others decide about them.
fn owned(kind: Kind) -> Actions {
    match kind {
        Kind::Users => [Action::Read].into_iter().collect(),
        kind => kind.actions().iter().copied().collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scope::Scope;

    #[test]
    fn what_is_theirs_and_nothing_else() {
        let ada = Principal::of_user("ada");
        let resource = |owner, kind| Resource { owner, kind, id: "x" };
        for kind in Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Users) {
            for action in kind.actions() {
                assert!(ada.may(*action, &resource("ada", kind)) && !ada.may(*action, &resource("bob", kind)));
                // What is nobody's is not everybody's.
                assert!(!Principal::of_user("").may(*action, &resource("", kind)));
                assert!(ada.clone().as_admin().may(*action, &resource("bob", kind)));
            }
        }
        // Who they are is for others to say.
        let themselves = resource("ada", Kind::Users);
        assert!(ada.may(Action::Read, &themselves));
        for action in [Action::Create, Action::Update, Action::Delete] {
            assert!(!ada.may(action, &themselves) && ada.clone().as_admin().may(action, &themselves));
        }
    }

    #[test]
    fn who_is_known_from_long_ago_only_reads() {
        let ada = Principal::of_user("ada").as_admin().reading_only();
        for kind in Kind::ALL {
            for action in kind.actions() {
                assert_eq!(ada.may(*action, &Resource { owner: "ada", kind: *kind, id: "x" }), action.only_reads(), "{action}");
            }
        }
    }

    #[test]
    fn names_are_those_of_access_lists() {
        let ada = Principal::of_user("ada");
        assert_eq!(ada.name(), "user/ada");
        assert_eq!(ada.for_account("ci".into(), Scopes::default()).name(), "serviceaccount/ada/ci");
    }

    fn some_scopes() -> impl Strategy<Value = Scopes> {
        let scope = (prop::sample::select(vec!["ada", "bob"]), prop::option::of(prop::sample::select(vec!["x", "y"])), 1..4_u8);
        prop::collection::vec(scope, 0..4).prop_map(|scopes| {
            let scope = |(owner, id, actions): (&str, Option<&str>, u8)| {
                let id = id.map(|id| format!(".{id}")).unwrap_or_default();
                let actions = [(1, "read"), (2, "write")].into_iter().filter(|(bit, _)| actions & bit != 0);
                Scope::parse(&format!("storage.{owner}.files{id}"), actions.map(|(_, action)| action)).unwrap()
            };
            scopes.into_iter().map(scope).collect()
        })
    }

    proptest! {
        /// Whatever limits there are, nobody may more than without them, and nobody may what any of them does not hold.
        #[test]
        fn limits_only_ever_take_away(
            is_admin: bool,
            account in prop::option::of(some_scopes()),
            token in prop::option::of(some_scopes()),
            owner in prop::sample::select(vec!["ada", "bob"]),
            id in prop::sample::select(vec!["", "x", "x/a", "y"]),
            action in prop::sample::select(vec![Action::Read, Action::Write]),
        ) {
            let user = Principal::of_user("ada");
            let user = if is_admin { user.as_admin() } else { user };
            let mut who = user.clone();
            if let Some(scopes) = &account {
                who = who.for_account("ci".into(), scopes.clone());
            }
            if let Some(scopes) = &token {
                who = who.within(scopes.clone());
            }
            let resource = Resource { owner, kind: Kind::Files, id };
            let all_hold = account.iter().chain(&token).all(|scopes| scopes.hold(action, &resource));
            prop_assert_eq!(who.may(action, &resource), user.may(action, &resource) && all_hold);
        }
    }
}

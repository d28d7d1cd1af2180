//! Who asks, and whether a namespace is theirs to see, read or change.

use axum::extract::FromRequestParts;
use eddy_authz::{Action, Credential, Principal, Resource};
use eddy_object::ObjectError;
use eddy_object::schema::{NamespaceRow, Visibility};
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::door::Door;
use crate::error::Problem;

/// Who asks; nobody in particular if they show nothing.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Option<Principal>);

impl FromRequestParts<Door> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
        let Some(header) = headers.next() else { return Ok(Self(None)) };
        let credential = Credential::of_header(header.as_bytes()).filter(|_| headers.next().is_none());
        // Who shows something wrong is told so, also where they might have shown nothing.
        let principal = credential.and_then(|credential| door.keys().authenticate(&credential));
        principal.map(|principal| Self(Some(principal))).ok_or_else(Problem::unauthorized)
    }
}

impl Caller {
    /// Whether they may; what else they are told says no more than they may know.
    pub(crate) fn may(&self, action: Action, name: &str, space: &NamespaceRow) -> Result<(), Problem> {
        let owner = space.settings.owner.as_str();
        let theirs = |principal: &Principal| principal.may(action, &Resource { owner, kind: "files", id: name });
        let reads = matches!(action, Action::Read | Action::List);
        if reads && space.settings.visibility == Visibility::Public || self.0.as_ref().is_some_and(theirs) {
            return Ok(());
        }
        Err(match (&self.0, space.settings.visibility) {
            (None, _) => Problem::unauthorized(),
            // That it exists is nobody's business.
            (Some(_), Visibility::Private) => Problem::no_namespace(name),
            (Some(_), _) => Problem::forbidden("the namespace belongs to another user"),
        })
    }

    /// A namespace, for somebody who may.
    pub(crate) async fn namespace(&self, door: &Door, action: Action, name: &str) -> Result<NamespaceRow, Problem> {
        let space = match door.metadata().namespace(name).await {
            Err(ObjectError::NoNamespace(name)) => return Err(self.not_there(&name)),
            found => found?,
        };
        self.may(action, name, &space).map(|()| space)
    }

    /// Whether they see that a namespace is there.
    pub(crate) fn sees(&self, name: &str, space: &NamespaceRow) -> bool {
        let visible = space.settings.visibility == Visibility::Visible && self.0.is_some();
        visible || self.may(Action::List, name, space).is_ok()
    }

    /// What they are told of a namespace that is not there: no more than of another's.
    pub(crate) fn not_there(&self, name: &str) -> Problem {
        if self.0.is_none() { Problem::unauthorized() } else { Problem::no_namespace(name) }
    }
}

//! Who asks, and whether a namespace or an object is theirs to see, read or change.

mod decide;
mod rights;
mod tags;

use axum::extract::FromRequestParts;
use eddy_authz::Principal;
use eddy_object::ObjectError;
use eddy_object::schema::{NamespaceRow, ObjectRow, Visibility};
use http::header::AUTHORIZATION;
use http::request::Parts;

pub(crate) use self::decide::{POLICY, Question, policy_of, resource_of, scoped_id};
pub(crate) use self::rights::{POLICY_DELETE, POLICY_GET, POLICY_PUT, Right};
pub(crate) use self::tags::of_tags;
use crate::door::Door;
use crate::error::Problem;
use crate::noted::note;

/// Who asks; nobody in particular if they show nothing.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Option<Principal>);

impl FromRequestParts<Door> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
        let Some(header) = headers.next() else { return Ok(Self(None)) };
        // Who shows something wrong is told so, also where they might have shown nothing.
        if headers.next().is_some() {
            return Err(Problem::unauthorized());
        }
        Ok(Self(Some(door.authenticator().of_header(header.as_bytes())?)))
    }
}

impl Caller {
    /// Whether they may with an object; what else they are told says no more than they may know.
    pub(crate) async fn may(
        &self,
        door: &Door,
        right: Right,
        (name, key): (&str, Option<&str>),
        space: &NamespaceRow,
        object: Option<&ObjectRow>,
    ) -> Result<(), Problem> {
        self.may_saying(&|_| Vec::new(), door, right, (name, key), space, object).await
    }

    /// Whether they may list what begins with a prefix.
    pub(crate) async fn may_list(&self, door: &Door, name: &str, space: &NamespaceRow, prefix: &str) -> Result<(), Problem> {
        let says = |asked: &str| if asked.eq_ignore_ascii_case("s3:prefix") { vec![prefix.to_owned()] } else { Vec::new() };
        self.may_saying(&says, door, Right::ListBucket, (name, None), space, None).await
    }

    /// Whether they may with an object, where the request gives it tags.
    pub(crate) async fn may_giving(
        &self,
        tags: &[(String, String)],
        door: &Door,
        right: Right,
        (name, key): (&str, Option<&str>),
        space: &NamespaceRow,
        object: Option<&ObjectRow>,
    ) -> Result<(), Problem> {
        self.may_saying(&|asked: &str| of_tags(asked, tags), door, right, (name, key), space, object).await
    }

    async fn may_saying(
        &self,
        of_key: &(dyn Fn(&str) -> Vec<String> + Send + Sync),
        door: &Door,
        right: Right,
        (name, key): (&str, Option<&str>),
        space: &NamespaceRow,
        object: Option<&ObjectRow>,
    ) -> Result<(), Problem> {
        let question = Question { who: self.0.as_ref(), right, name, space, key, object, of_key };
        let may = question.may(door.metadata()).await?;
        // Who might, once it is known, is not refused.
        if !may && question.might_once_fresh(door.metadata()).await? {
            return Err(Problem::stale());
        }
        note(self.0.as_ref(), right.scope(), &space.settings.owner, (name, key), may);
        if may {
            return Ok(());
        }
        Err(match (&self.0, space.settings.visibility) {
            (None, _) => Problem::unauthorized(),
            // That it exists is nobody's business.
            (Some(_), Visibility::Private) => Problem::no_namespace(name),
            (Some(_), _) => Problem::forbidden("the namespace belongs to another user"),
        })
    }

    /// Who is noted as the writer of what they write: nobody, where it is the namespace's owner's anyway.
    pub(crate) fn writer(&self, space: &NamespaceRow) -> Option<String> {
        writer(self.0.as_ref(), space)
    }

    /// A namespace, for somebody who may.
    pub(crate) async fn namespace(&self, door: &Door, right: Right, name: &str) -> Result<NamespaceRow, Problem> {
        let space = self.known(door, name).await?;
        self.may(door, right, (name, None), &space, None).await.map(|()| space)
    }

    /// A namespace, before it is known what somebody may.
    pub(crate) async fn known(&self, door: &Door, name: &str) -> Result<NamespaceRow, Problem> {
        match door.metadata().namespace(name).await {
            Err(ObjectError::NoNamespace(name)) => Err(self.not_there(&name)),
            found => Ok(found?),
        }
    }

    /// Whether they see that a namespace is there.
    pub(crate) async fn sees(&self, door: &Door, name: &str, space: &NamespaceRow) -> bool {
        let visible = space.settings.visibility == Visibility::Visible && self.0.is_some();
        visible || self.may(door, Right::ListBucket, (name, None), space, None).await.is_ok()
    }

    /// What they are told of a namespace that is not there: no more than of another's.
    pub(crate) fn not_there(&self, name: &str) -> Problem {
        if self.0.is_none() { Problem::unauthorized() } else { Problem::no_namespace(name) }
    }
}

/// Who is noted as the writer of what somebody writes.
pub(crate) fn writer(who: Option<&Principal>, space: &NamespaceRow) -> Option<String> {
    who.map(|who| who.user().to_owned()).filter(|user| *user != space.settings.owner)
}

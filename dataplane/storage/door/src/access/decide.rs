//! Whether somebody may: by owning the namespace, by its policy, by grants, by its visibility.

use std::borrow::Cow;

use eddy_authz::policy::{Asked, Effect, Policy};
use eddy_authz::{Grant, Principal, Resource};
use eddy_object::schema::{NamespaceRow, ObjectRow, Ownership, Visibility};
use eddy_object::{Metadata, ObjectError};

use super::rights::{By, Right};

/// The document among a namespace's rows.
pub(crate) const POLICY: &str = "policy";

/// What somebody wants to do, to what.
pub(crate) struct Question<'a> {
    pub(crate) who: Option<&'a Principal>,
    pub(crate) right: Right,
    /// The namespace's name.
    pub(crate) name: &'a str,
    pub(crate) space: &'a NamespaceRow,
    /// The object's key, where it is about one.
    pub(crate) key: Option<&'a str>,
    /// The object, if there is one.
    pub(crate) object: Option<&'a ObjectRow>,
    /// What the request says, by the names that conditions have for it.
    pub(crate) of_key: &'a (dyn Fn(&str) -> Vec<String> + Send + Sync),
}

/// What a policy's resources begin with.
pub(crate) fn resource_of(name: &str) -> String {
    format!("arn:aws:s3:::{name}")
}

/// What a namespace, or an object in it, is called in scopes.
pub(crate) fn scoped_id<'a>(name: &'a str, key: Option<&str>) -> Cow<'a, str> {
    key.map_or(Cow::Borrowed(name), |key| Cow::Owned(format!("{name}/{key}")))
}

/// The folder that everything is in which begins with a prefix, if there is one.
fn folder_of(prefix: &str) -> Option<&str> {
    prefix.rsplit_once('/').map(|(folder, _)| folder)
}

/// The policy of a namespace, if it has one.
///
/// # Errors
/// The store's.
pub(crate) async fn policy_of(metadata: &Metadata, name: &str, space: &NamespaceRow) -> Result<Option<Policy>, ObjectError> {
    if !space.settings.sharing.policy {
        return Ok(None);
    }
    let text = metadata.configuration(space.id, POLICY).await?.ok_or_else(|| broken("it is gone"))?;
    Policy::parse(&text, &resource_of(name)).map(Some).map_err(|error| broken(&error.to_string()))
}

fn broken(why: &str) -> ObjectError {
    ObjectError::Broken(format!("a namespace's policy cannot be read: {why}"))
}

impl Question<'_> {
    /// Whether they may.
    ///
    /// # Errors
    /// The store's, where a policy must be read.
    pub(crate) async fn may(&self, metadata: &Metadata) -> Result<bool, ObjectError> {
        let (kind, action) = self.right.scope();
        let prefix = (self.key.is_none() && self.right.lists()).then(|| (self.of_key)("s3:prefix").pop()).flatten();
        let id = scoped_id(self.name, self.key.or_else(|| prefix.as_deref().and_then(folder_of)));
        let resource = Resource { owner: &self.space.settings.owner, kind, id: &id };
        // Whoever shows what is not good for this may what anyone may.
        let who = self.who.filter(|who| who.holds(action, &resource));
        let question = Question { who, ..*self };
        question.decide(metadata, who.is_some_and(|who| who.may(action, &resource))).await
    }

    /// Whether they might, if what is known of them were not too old: only then may they hear of that, and thereby of what is there.
    ///
    /// # Errors
    /// The store's, where a policy must be read.
    pub(crate) async fn might_once_fresh(&self, metadata: &Metadata) -> Result<bool, ObjectError> {
        match self.who.and_then(Principal::once_fresh) {
            Some(who) => Question { who: Some(&who), ..*self }.may(metadata).await,
            None => Ok(false),
        }
    }

    async fn decide(&self, metadata: &Metadata, owns: bool) -> Result<bool, ObjectError> {
        if owns && self.right.is_the_owners() {
            return Ok(true);
        }
        let decided = match policy_of(metadata, self.name, self.space).await? {
            Some(policy) => self.by_policy(&policy, owns),
            None => None,
        };
        Ok(match decided {
            Some(Effect::Deny) => false,
            Some(Effect::Allow) => true,
            None => owns || self.is_public() || self.is_granted(),
        })
    }

    fn by_policy(&self, policy: &Policy, owns: bool) -> Option<Effect> {
        let resource = match self.key {
            Some(key) => format!("{}/{key}", resource_of(self.name)),
            None => resource_of(self.name),
        };
        let of_key = |key: &str| self.value_of(key);
        let user = self.who.map(Principal::user);
        let decided = policy.decide(&Asked { user, action: self.right.name(), resource: &resource, of_key: &of_key });
        let restricted = self.space.settings.sharing.block.is_some_and(|block| block.policies) && policy.is_public();
        // For just anyone it does not count then.
        decided.filter(|effect| *effect == Effect::Deny || owns || !restricted)
    }

    fn value_of(&self, key: &str) -> Vec<String> {
        let tag = |prefix: &str| {
            key.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(prefix)).map(|_| &key[prefix.len()..])
        };
        if let Some(tag) = tag("s3:ExistingObjectTag/") {
            let tags = self.object.iter().flat_map(|object| &object.attributes.tags);
            return tags.filter(|(name, _)| name == tag).map(|(_, value)| value.clone()).collect();
        }
        if key.eq_ignore_ascii_case("aws:username") || key.eq_ignore_ascii_case("aws:userid") {
            return self.who.iter().map(|who| who.user().to_owned()).collect();
        }
        (self.of_key)(key)
    }

    fn is_public(&self) -> bool {
        self.space.settings.visibility == Visibility::Public && self.right.is_public()
    }

    fn is_granted(&self) -> bool {
        let settings = &self.space.settings;
        let ignored = settings.sharing.block.is_some_and(|block| block.grants);
        let enforced = settings.sharing.ownership == Some(Ownership::Enforced);
        let granted = |grants: &Option<Vec<Grant>>, permission| {
            let counted = grants.iter().flatten().filter(|grant| !(ignored && grant.is_public()));
            !enforced && counted.into_iter().any(|grant| grant.allows(self.who, permission))
        };
        match self.right.by() {
            None => false,
            Some(By::Namespace(permission)) => granted(&settings.grants, permission),
            Some(By::Object(permission)) => self.object.is_some_and(|object| {
                // Who wrote it decides about it, unless the namespace's owner is to.
                let writer = object.attributes.writer.as_deref();
                let wrote = !enforced && writer.is_some() && self.who.map(Principal::user) == writer;
                wrote || granted(&object.attributes.grants, permission)
            }),
        }
    }
}

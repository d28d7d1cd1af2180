//! Whose an object is: that of the User in whose core namespace it is.

use eddy_crds::{User, core_namespace, tenant_of};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};

use crate::reason::{Reason, Verdict};

/// The User in whose core namespace an object is, by name.
///
/// # Errors
/// What to say of an object that is in none.
pub(crate) fn tenant<K: Resource<DynamicType = ()>>(object: &K) -> Result<String, Verdict> {
    let namespace = object.namespace().unwrap_or_default();
    tenant_of(&namespace).map(str::to_owned).ok_or_else(|| {
        let kind = K::kind(&());
        let message = format!("{namespace} is no User's core namespace: apply this {kind} to u-<user>");
        Verdict::new(Reason::NotATenant, message)
    })
}

/// The same, once that User's quota and walls are there.
///
/// # Errors
/// What to say of an object that is in no core namespace, or in one that is not ready.
pub(crate) fn provisioned_tenant<K: Resource<DynamicType = ()>>(object: &K, users: &Store<User>) -> Result<String, Verdict> {
    let tenant = tenant(object)?;
    let user = users.get(&ObjectRef::new(&tenant));
    if user.is_some_and(|user| user.status.as_ref().is_some_and(|status| status.core_namespace.is_some())) {
        return Ok(tenant);
    }
    let message = format!("waiting for User {tenant}, whose core namespace this is");
    Err(Verdict::new(Reason::TenantMissing, message))
}

/// Which objects of a kind are a User's.
pub(crate) fn objects_of<K>(known: Store<K>) -> impl Fn(User) -> Vec<ObjectRef<K>>
where
    K: Resource<DynamicType = ()> + Clone,
{
    move |user| {
        let namespace = core_namespace(&user.name_any());
        let all = known.state().into_iter();
        let theirs = all.filter(|object| object.namespace().as_deref() == Some(&namespace));
        theirs.map(|object| ObjectRef::from_obj(&*object)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_crds::{Namespace, NamespaceSpec, UserSpec, UserStatus};
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;

    fn object(core: &str) -> Namespace {
        let mut object = Namespace::new("photos", NamespaceSpec::default());
        object.metadata.namespace = Some(core.into());
        object
    }

    #[test]
    fn an_object_waits_for_the_user_in_whose_core_namespace_it_is() {
        let (users, mut writer) = store::<User>();
        let judged = |core| provisioned_tenant(&object(core), &users).map_err(|verdict| verdict.reason);
        assert_eq!(judged("default"), Err(Reason::NotATenant));
        assert_eq!(judged("u-ada"), Err(Reason::TenantMissing));
        let mut ada = User::new("ada", UserSpec::default());
        writer.apply_watcher_event(&Event::Apply(ada.clone()));
        assert_eq!(judged("u-ada"), Err(Reason::TenantMissing));
        ada.status = Some(UserStatus { core_namespace: Some("u-ada".into()), ..UserStatus::default() });
        writer.apply_watcher_event(&Event::Apply(ada));
        assert_eq!(judged("u-ada"), Ok("ada".into()));
    }

    #[test]
    fn a_users_objects_are_those_in_its_core_namespace() {
        let (known, mut writer) = store::<Namespace>();
        for core in ["u-ada", "u-adam", "default"] {
            writer.apply_watcher_event(&Event::Apply(object(core)));
        }
        let theirs = objects_of(known)(User::new("ada", UserSpec::default()));
        assert_eq!(theirs, [ObjectRef::new("photos").within("u-ada")]);
    }
}

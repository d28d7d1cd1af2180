//! What a User who is deleted leaves in storage.
//!
//! Buckets that were made through a door have no Namespace that could end them, and their owner is a name, which another may be given. So
//! the User's end takes them from that name: nobody has them then, and what they hold stays for whoever runs the cluster to hand over or
//! to remove.

use std::collections::BTreeSet;

use eddy_object::schema::{NamespaceSettings, Ownership, Sharing, Visibility};
use eddy_object::{Metadata, ObjectError};

/// What owners' names begin with that are no user's any more. No user's name has a colon.
const FORMER: &str = "former:";

/// Takes from a user all buckets but those of these names, which Namespaces end. How many there were.
///
/// # Errors
/// The store's.
pub(super) async fn disown(metadata: &Metadata, user: &str, but: &BTreeSet<String>) -> Result<usize, ObjectError> {
    let mut disowned = 0;
    for (name, row) in metadata.list_namespaces("").await? {
        if row.settings.owner != user || but.contains(&name) {
            continue;
        }
        match metadata.change_namespace(&name, |settings| lock_away(settings, user)).await {
            // Somebody removed it meanwhile.
            Err(ObjectError::NoNamespace(_)) => continue,
            done => drop(done?),
        }
        tracing::info!(user, bucket = name, "a bucket is nobody's, since its owner is deleted");
        disowned += 1;
    }
    Ok(disowned)
}

/// Whatever let anyone in does so no more: neither who owned it, nor with whom it was shared.
fn lock_away(settings: &mut NamespaceSettings, user: &str) {
    if settings.owner == user {
        settings.owner = format!("{FORMER}{user}");
        settings.visibility = Visibility::Private;
        settings.grants = None;
        settings.sharing = Sharing { policy: false, block: None, ownership: Some(Ownership::Enforced) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_away_is_nobody_s_and_what_is_another_s_stays() {
        let theirs = NamespaceSettings {
            owner: "ada".into(),
            visibility: Visibility::Public,
            grants: Some(Vec::new()),
            sharing: Sharing { policy: true, ..Sharing::default() },
            ..NamespaceSettings::default()
        };
        let mut settings = theirs.clone();
        lock_away(&mut settings, "bob");
        assert_eq!(settings, theirs);
        lock_away(&mut settings, "ada");
        let sharing = Sharing { ownership: Some(Ownership::Enforced), ..Sharing::default() };
        let expected = NamespaceSettings { owner: "former:ada".into(), sharing, ..NamespaceSettings::default() };
        assert_eq!(settings, expected);
        assert!(eddy_crds::core_namespace(&settings.owner).contains(':'), "it can be no user's");
    }
}

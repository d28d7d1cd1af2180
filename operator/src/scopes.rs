//! What scopes that a user wrote come to.

use eddy_authz::Scope;

use crate::reason::{Reason, Verdict};

/// The scopes of a field, read.
///
/// # Errors
/// What to say of the first that is none.
pub(crate) fn read(field: &str, written: &[eddy_crds::Scope]) -> Result<Vec<Scope>, Verdict> {
    let scope = |(at, one): (usize, &eddy_crds::Scope)| {
        let read = Scope::parse(&one.scope, one.actions.iter().map(String::as_str));
        read.map_err(|error| Verdict::new(Reason::InvalidScope, format!("{field}[{at}] {:?}: {error}", one.scope)))
    };
    written.iter().enumerate().map(scope).collect()
}

/// What to say of scopes that are about what is another's, of a user who does not manage all tenants.
pub(crate) fn remark(scopes: &[Scope], owner: &str, is_admin: bool) -> Option<String> {
    let others: Vec<String> =
        scopes.iter().filter(|scope| !is_admin && *scope.owner != *owner).map(ToString::to_string).collect();
    let many = if others.len() == 1 { "counts" } else { "count" };
    (!others.is_empty()).then(|| format!("{} {many} only for what is shared with {owner}", others.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(scope: &str, action: &str) -> eddy_crds::Scope {
        eddy_crds::Scope { scope: scope.into(), actions: vec![action.into()] }
    }

    #[test]
    fn the_first_scope_that_is_none_is_named() {
        let scopes = [written("storage.ada.files", "read"), written("storage.ada.files", "exec")];
        let verdict = read("spec.scopes", &scopes).expect_err("nobody runs files");
        assert_eq!(verdict.reason, Reason::InvalidScope);
        assert!(
            verdict.message.starts_with("spec.scopes[1] \"storage.ada.files\": nothing called \"exec\""),
            "{}",
            verdict.message
        );
    }

    #[test]
    fn scopes_of_others_are_remarked_on() {
        let scopes =
            read("spec.scopes", &[written("storage.ada.files", "read"), written("compute.bob.vms.x", "ssh")]).expect("scopes");
        assert_eq!(remark(&scopes, "ada", false).as_deref(), Some("compute.bob.vms.x counts only for what is shared with ada"));
        assert_eq!((remark(&scopes, "ada", true), remark(&scopes[..1], "ada", false)), (None, None));
    }
}

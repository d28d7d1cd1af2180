//! What is shared with whom, on a thing itself.

use serde::{Deserialize, Serialize};

use crate::Principal;

/// Somebody may something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who.
    pub to: Grantee,
    /// What.
    pub permission: Permission,
}

/// With whom something is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantee {
    /// This user.
    User(String),
    /// All users.
    SignedIn,
    /// Anyone.
    Anyone,
}

/// What somebody may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permission {
    /// Read it, or list what is in it.
    Read,
    /// Change what is in it.
    Write,
    /// See with whom it is shared.
    ReadGrants,
    /// Say with whom it is shared.
    WriteGrants,
    /// All of that.
    Full,
}

impl Grant {
    /// Whether somebody, or anybody, may this by it.
    pub fn allows(&self, who: Option<&Principal>, wanted: Permission) -> bool {
        let them = match &self.to {
            Grantee::User(user) => who.is_some_and(|who| who.user() == user),
            Grantee::SignedIn => who.is_some(),
            Grantee::Anyone => true,
        };
        them && (self.permission == wanted || self.permission == Permission::Full)
    }

    /// Whether it is for more than users that it names.
    pub fn is_public(&self) -> bool {
        !matches!(self.to, Grantee::User(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_for_whom_it_names() {
        let (alice, bob) = (Principal::of_user("alice"), Principal::of_user("bob"));
        let grant = |to, permission| Grant { to, permission };
        let read = grant(Grantee::User("alice".into()), Permission::Read);
        assert!(read.allows(Some(&alice), Permission::Read) && !read.is_public());
        assert!(!read.allows(Some(&alice), Permission::Write));
        assert!(!read.allows(Some(&bob), Permission::Read) && !read.allows(None, Permission::Read));
        let signed_in = grant(Grantee::SignedIn, Permission::Full);
        assert!(signed_in.allows(Some(&bob), Permission::WriteGrants) && !signed_in.allows(None, Permission::Read));
        assert!(grant(Grantee::Anyone, Permission::Read).allows(None, Permission::Read));
    }
}

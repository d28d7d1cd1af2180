//! Who asks, and whether they may: the one library that decides it everywhere.
//!
//! So far a credential is an access key of a folder, as a Kubernetes Secret is mounted: a file for each user, named after them,
//! whose lines are `id:secret`. A user may do everything with what is theirs, and what its owner shares: by a [`Grant`] on the thing,
//! or by a [`policy`].

mod credential;
mod grants;
mod keys;
pub mod policy;

pub use self::credential::{Credential, Secret};
pub use self::grants::{Grant, Grantee, Permission};
pub use self::keys::{Keys, KeysError};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user's name.
    pub user: String,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To see that something is there.
    List,
    /// To read it.
    Read,
    /// To make or change it.
    Write,
    /// To remove it.
    Delete,
}

/// Of what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The user whose it is.
    pub owner: &'a str,
    /// Its kind, as `files`.
    pub kind: &'a str,
    /// Which of them.
    pub id: &'a str,
}

impl Principal {
    /// Whether they may.
    pub fn may(&self, _action: Action, resource: &Resource<'_>) -> bool {
        !self.user.is_empty() && self.user == resource.owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_theirs_and_nothing_else() {
        let one = Principal { user: "alice".into() };
        for action in [Action::List, Action::Read, Action::Write, Action::Delete] {
            assert!(one.may(action, &Resource { owner: "alice", kind: "files", id: "photos" }));
            assert!(!one.may(action, &Resource { owner: "bob", kind: "files", id: "photos" }));
            // What is nobody's is not everybody's.
            assert!(!Principal { user: String::new() }.may(action, &Resource { owner: "", kind: "files", id: "photos" }));
        }
    }
}

//! The passkeys of people, as they named them.

use eddy_passkey::Passkey;
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::people::{People, UserRef};
use crate::rows::{self, PeopleError};

/// Passkeys of one user.
const PASSKEYS_MAX: usize = 10;
/// A longer name is cut off.
const NAME_LETTERS_MAX: usize = 60;

/// A passkey, as a user's account has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamedPasskey {
    /// How its user tells it from the others.
    pub(crate) name: String,
    /// When it was registered, in seconds since 1970.
    pub(crate) since_s: i64,
    /// When it was last used to sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used_s: Option<i64>,
    pub(crate) passkey: Passkey,
}

impl NamedPasskey {
    pub(crate) fn new(name: &str, passkey: Passkey, now_s: i64) -> Self {
        Self { name: named(name), since_s: now_s, used_s: None, passkey }
    }
}

fn named(name: &str) -> String {
    let name: String = name.chars().filter(|letter| !letter.is_control()).take(NAME_LETTERS_MAX).collect();
    if name.trim().is_empty() { "passkey".to_owned() } else { name.trim().to_owned() }
}

impl Account {
    /// Puts a passkey to the others; false if there are too many.
    pub(crate) fn add_passkey(&mut self, passkey: NamedPasskey) -> bool {
        let fits = !self.has_all_passkeys();
        if fits {
            self.passkeys.push(passkey);
        }
        fits
    }

    /// Whether no other passkey fits.
    pub(crate) fn has_all_passkeys(&self) -> bool {
        self.passkeys.len() >= PASSKEYS_MAX
    }

    /// Whether one of them is called so by its authenticator.
    pub(crate) fn has_passkey(&self, id: &str) -> bool {
        self.passkeys.iter().any(|named| named.passkey.id() == id)
    }

    /// The passkey that its authenticator calls so.
    pub(crate) fn passkey(&mut self, id: &str) -> Option<&mut NamedPasskey> {
        self.passkeys.iter_mut().find(|named| named.passkey.id() == id)
    }
}

impl People {
    /// Calls a passkey of a user otherwise; false if there is none.
    pub(crate) async fn rename_passkey(&self, user: UserRef<'_>, id: &str, name: &str) -> Result<bool, PeopleError> {
        let change = |account: &mut Account| Ok(account.passkey(id).map(|passkey| passkey.name = named(name)));
        Ok(self.change_account(user, change).await?.is_some())
    }

    /// Forgets a passkey of a user; false if there is none.
    pub(crate) async fn forget_passkey(&self, user: UserRef<'_>, id: &str) -> Result<bool, PeopleError> {
        let also = self.owning_no_more(rows::passkey(id), user.name).await?;
        let change = |account: &mut Account| {
            let before = account.passkeys.len();
            account.passkeys.retain(|named| named.passkey.id() != id);
            Ok((account.passkeys.len() < before).then_some(()))
        };
        Ok(self.change_account_with(user, also, change).await?.is_some())
    }
}

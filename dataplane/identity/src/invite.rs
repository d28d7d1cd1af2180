//! An invitation by hand: for the first administrator, whom nobody can invite, and for whoever has lost everything.

use std::path::PathBuf;

use eddy_crds::User;
use eddy_kv::component::KvStoreOptions;
use eddy_people::{People, SealingKey, invite_link};
use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::ListParams;

use crate::component::IdentityError;

/// Options of an invitation by hand.
#[derive(clap::Args, Clone, Debug)]
pub struct InviteOptions {
    /// Whom it is for: a User that is there
    #[arg(long)]
    user: String,

    /// Hours that it is good
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(i64).range(1..=8760))]
    hours: i64,

    /// The name of this platform to browsers, as in https://cloud.example.com: where the link leads
    #[arg(long, env = "EDDY_PLATFORM_URL", default_value = "")]
    platform_url: String,

    /// The file with the key that rows of people are sealed with
    #[arg(long, env = "EDDY_SEALING_KEY_FILE")]
    sealing_key_file: PathBuf,

    #[command(flatten)]
    store: KvStoreOptions,
}

/// Makes an invitation, and returns the link that it is.
///
/// # Errors
/// See [`IdentityError`].
pub async fn invite(options: InviteOptions) -> Result<String, IdentityError> {
    let client = eddy_watch::client().await.map_err(|error| IdentityError::Kubernetes(Box::new(error)))?;
    let named = ListParams::default().fields(&format!("metadata.name={}", options.user));
    let users = Api::<User>::all(client).list(&named).await.map_err(|error| IdentityError::Users(Box::new(error)))?;
    let user = users.items.into_iter().next().ok_or_else(|| IdentityError::NoUser(options.user.clone()))?;
    let since_s = user.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    let people =
        People::new(options.store.open(&options.store.transport()?).await?, SealingKey::read(&options.sealing_key_file)?);
    let expires = Timestamp::now().saturating_add(SignedDuration::from_hours(options.hours)).unwrap_or(Timestamp::MAX);
    let secret = people.invite_by_hand(&options.user, since_s, expires.as_second()).await?;
    Ok(invite_link(&options.platform_url, &secret))
}

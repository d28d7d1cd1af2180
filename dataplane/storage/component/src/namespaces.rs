//! `eddy-dataplane storage-namespace`: namespaces by hand.

use clap::{Args, Subcommand, ValueEnum};
use eddy_kv::component::KvStoreOptions;
use eddy_object::schema::{NamespaceSettings, Quota, Tiering, Versioning, Visibility};
use eddy_object::{Metadata, ObjectError};

use crate::error::StorageError;

/// Options of the tool.
#[derive(Args, Clone, Debug)]
pub struct StorageNamespaceOptions {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    kv: KvStoreOptions,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Makes a namespace, or changes what is said of the one that there is
    Put(Put),
    /// All namespaces: name, owner, visibility, objects, bytes
    List,
    /// Removes a namespace that holds nothing
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Args, Clone, Debug)]
struct Put {
    /// Its name
    name: String,
    /// The user whose it is; it must be said of one that is made
    #[arg(long)]
    owner: Option<String>,
    /// Who else may see it and read from it: nobody if that is never said
    #[arg(long, value_enum)]
    visibility: Option<Seen>,
    /// Bytes that it may hold, before redundancy; 0 for as many as there is room for
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    bytes_max: Option<i64>,
    /// Objects that it may hold; 0 for any number
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    objects_max: Option<i64>,
    /// Copies of what it holds: 3 if that is never said
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=5))]
    copies: Option<u8>,
    /// Whether objects that are replaced or deleted are kept as older versions
    #[arg(long, require_equals = true, num_args = 0..=1, default_missing_value = "true")]
    versioning: Option<bool>,

    /// Whether all of it is erasure coded, four parts and two more, once there are six chunkservers
    #[arg(long, require_equals = true, num_args = 0..=1, default_missing_value = "true")]
    coded: Option<bool>,

    /// Days without a read after which an object goes to the cold tier; a read brings it back. 0 for never
    #[arg(long)]
    cold_after_days: Option<u32>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Seen {
    Private,
    Visible,
    Public,
}

/// Does what is asked, and writes what is to be seen to standard output.
///
/// # Errors
/// See [`StorageError`].
#[allow(clippy::print_stdout, reason = "it is a tool")]
pub async fn run_namespace(options: StorageNamespaceOptions) -> Result<(), StorageError> {
    let metadata = Metadata::new(options.kv.open(&options.kv.transport()?).await?);
    match options.command {
        Command::Put(put) => put_namespace(&metadata, put).await?,
        Command::Remove { name } => metadata.delete_namespace(&name).await?,
        Command::List => {
            for (name, row) in metadata.list_namespaces("").await? {
                let usage = metadata.usage(&name).await?;
                let NamespaceSettings { owner, visibility, .. } = row.settings;
                println!("{name}\t{owner}\t{visibility:?}\t{}\t{}", usage.objects, usage.bytes);
            }
        }
    }
    Ok(())
}

async fn put_namespace(metadata: &Metadata, put: Put) -> Result<(), ObjectError> {
    if put.owner.is_none() {
        // One is not made without.
        metadata.namespace(&put.name).await?;
    }
    metadata.provide_namespace(&put.name, |settings| put.change(settings)).await.map(drop)
}

impl Put {
    /// What is not said stays.
    fn change(&self, settings: &mut NamespaceSettings) {
        let bound = |said: Option<i64>, before| said.map_or(before, |most| (most > 0).then_some(most));
        settings.quota = Quota {
            bytes: bound(self.bytes_max, settings.quota.bytes),
            objects: bound(self.objects_max, settings.quota.objects),
        };
        let days = self.cold_after_days.map(|days| (days > 0).then_some(days));
        settings.tiering = Tiering {
            coded: self.coded.unwrap_or(settings.tiering.coded),
            cold_after_days: days.unwrap_or(settings.tiering.cold_after_days),
        };
        settings.copies = self.copies.unwrap_or(settings.copies);
        if let Some(owner) = &self.owner {
            settings.owner.clone_from(owner);
        }
        match self.visibility {
            Some(Seen::Private) => settings.visibility = Visibility::Private,
            Some(Seen::Visible) => settings.visibility = Visibility::Visible,
            Some(Seen::Public) => settings.visibility = Visibility::Public,
            None => {}
        }
        match self.versioning {
            Some(true) => settings.versioning = Versioning::On,
            Some(false) => settings.versioning = Versioning::Off,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_of_a_namespace_stays() {
        let before = NamespaceSettings {
            owner: "ada".into(),
            visibility: Visibility::Public,
            quota: Quota { bytes: Some(5), objects: Some(6) },
            copies: 5,
            versioning: Versioning::On,
            tiering: Tiering { coded: true, cold_after_days: Some(7) },
            ..NamespaceSettings::default()
        };
        let nothing = Put {
            name: "photos".into(),
            owner: None,
            visibility: None,
            bytes_max: None,
            objects_max: None,
            copies: None,
            versioning: None,
            coded: None,
            cold_after_days: None,
        };
        let changed = |put: Put| {
            let mut settings = before.clone();
            put.change(&mut settings);
            settings
        };
        assert_eq!(changed(nothing.clone()), before);
        let handed_over = NamespaceSettings { owner: "bob".into(), ..before.clone() };
        assert_eq!(changed(Put { owner: Some("bob".into()), ..nothing.clone() }), handed_over);
        let unbound = changed(Put { bytes_max: Some(0), cold_after_days: Some(0), coded: Some(false), ..nothing });
        assert_eq!((unbound.quota.bytes, unbound.quota.objects, unbound.tiering), (None, Some(6), Tiering::default()));
    }
}

//! `eddy-dataplane storage-namespace`: namespaces by hand.

use clap::{Args, Subcommand, ValueEnum};
use eddy_object::schema::{NamespaceSettings, Quota, Tiering, Versioning, Visibility};
use eddy_object::{Metadata, ObjectError};

use crate::error::StorageError;
use crate::kv::KvServers;

/// Options of the tool.
#[derive(Args, Clone, Debug)]
pub struct StorageNamespaceOptions {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    kv: KvServers,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Makes a namespace, or changes the one that there is to what is said, and to the defaults where nothing is
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
    /// The user whose it is
    #[arg(long)]
    owner: String,
    /// Who else may see it and read from it
    #[arg(long, value_enum, default_value = "private")]
    visibility: Seen,
    /// Bytes that it may hold, before redundancy
    #[arg(long)]
    bytes_max: Option<i64>,
    /// Objects that it may hold
    #[arg(long)]
    objects_max: Option<i64>,
    /// Copies of what is written from now on
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    copies: u8,
    /// Whether objects that are replaced or deleted are kept as older versions
    #[arg(long)]
    versioning: bool,

    /// All of it is erasure coded, four parts and two more, once there are six chunkservers
    #[arg(long)]
    coded: bool,

    /// Days without a read after which an object goes to the cold tier; a read brings it back
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
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
    let metadata = options.kv.metadata(&options.kv.transport()?).await?;
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
    let settings = NamespaceSettings {
        owner: put.owner,
        visibility: match put.visibility {
            Seen::Private => Visibility::Private,
            Seen::Visible => Visibility::Visible,
            Seen::Public => Visibility::Public,
        },
        quota: Quota { bytes: put.bytes_max, objects: put.objects_max },
        copies: put.copies,
        versioning: if put.versioning { Versioning::On } else { Versioning::Off },
        tiering: Tiering { coded: put.coded, cold_after_days: put.cold_after_days },
        ..NamespaceSettings::default()
    };
    // What was decided through a door stays.
    let change = |row: &mut NamespaceSettings| {
        let (grants, sharing, lock) = (row.grants.take(), row.sharing, row.lock);
        *row = NamespaceSettings { grants, sharing, lock, ..settings.clone() };
    };
    metadata.provide_namespace(&put.name, change).await.map(drop)
}

//! Files: listed, copied, brought in step, shared.

mod copy;
mod place;
mod remote;
mod sync;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::arguments::{Files, FilesCommand, Output};
use crate::client::Client;
use crate::error::CliError;
use crate::files::place::Remote;
use crate::output::{bytes, say, seconds, shown, table};

pub(crate) async fn run(client: &Client, files: Files, output: Output) -> Result<(), CliError> {
    match files.command {
        FilesCommand::Ls { place: None, .. } => namespaces(client, output).await,
        FilesCommand::Ls { place: Some(place), recursive } => list(client, &place, recursive, output).await,
        FilesCommand::Cp { from, to, recursive } => copy::run(client, &from, &to, recursive).await,
        FilesCommand::Sync { from, to, delete, dry_run } => sync::run(client, &from, &to, delete, dry_run).await,
        FilesCommand::Rm { place, recursive } => remove(client, &place, recursive).await,
        FilesCommand::Share { place, lasts } => share(client, &place, &lasts, output).await,
    }
}

async fn namespaces(client: &Client, output: Output) -> Result<(), CliError> {
    let all = remote::namespaces(client).await?;
    if output == Output::Json {
        say!("{}", Value::from(all));
        return Ok(());
    }
    let row = |one: &Value| {
        let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
        let held = one["bytes"].as_u64().map(bytes).unwrap_or_default();
        vec![text("name"), one["objects"].as_u64().map(|count| count.to_string()).unwrap_or_default(), held]
    };
    say!("{}", table(&["NAMESPACE", "FILES", "SIZE"], &all.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

async fn list(client: &Client, place: &str, recursive: bool, output: Output) -> Result<(), CliError> {
    let place = Remote::parse_or_namespace(place)?;
    let entries = remote::list(client, &place, !recursive).await?;
    if output == Output::Json {
        say!("{}", json!(entries.iter().map(remote::Entry::json).collect::<Vec<_>>()));
        return Ok(());
    }
    let row = |entry: &remote::Entry| match entry {
        remote::Entry::Folder(prefix) => vec![String::new(), String::new(), shown(prefix)],
        remote::Entry::File(file) => vec![bytes(file.bytes), file.modified.to_string(), shown(&file.key)],
    };
    say!("{}", table(&["SIZE", "MODIFIED", "NAME"], &entries.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

async fn remove(client: &Client, place: &str, recursive: bool) -> Result<(), CliError> {
    let place = Remote::parse(place)?;
    if !recursive {
        place.file()?;
        return remote::delete(client, &place).await;
    }
    // Also what stands for folders, as some programs have it.
    let files = copy::some(&place.folder(), remote::all_files(client, &place.folder()).await?)?;
    let mut failures = Vec::new();
    for file in &files {
        let one = Remote { key: file.key.clone(), ..place.clone() };
        match remote::delete(client, &one).await {
            Ok(()) => say!("{one}"),
            Err(error) => {
                eprintln!("{one}: {error}");
                failures.push(error);
            }
        }
    }
    crate::objects::done(failures, files.len())
}

async fn share(client: &Client, place: &str, lasts: &str, output: Output) -> Result<(), CliError> {
    let place = Remote::parse(place)?;
    place.file()?;
    let lasts_s = seconds(lasts).ok_or_else(|| CliError::Wrong(format!("{lasts:?} is no time, as 7d and 12h are")))?;
    let link = remote::share(client, &place, lasts_s).await?;
    let expires = Timestamp::now().checked_add(SignedDuration::from_secs(lasts_s)).unwrap_or(Timestamp::MAX);
    match output {
        Output::Json => say!("{}", json!({"link": link, "expiresAt": expires.to_string()})),
        Output::Text => say!("{link}"),
    }
    Ok(())
}

//! Copying files, one or a folder.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use reqwest::Body;
use tokio::fs::{self, File};

use super::place::{Place, Remote, key_of, local_inside};
use super::remote::{self, RemoteFile};
use crate::client::Client;
use crate::error::CliError;
use crate::objects::done;
use crate::output::{end_if_read_enough, say};

/// What names of files begin with that are not whole yet.
const PARTIAL: &str = ".eddy-";

pub(super) async fn run(client: &Client, from: &str, to: &str, recursive: bool) -> Result<(), CliError> {
    let places = (Place::parse(from), Place::parse(to));
    if recursive {
        return folder(client, places).await;
    }
    match places {
        (Place::Local(from), Place::Remote(to)) => {
            upload(client, &from, &into(&to, from.file_name().and_then(|name| name.to_str()))).await
        }
        (Place::Standard, Place::Remote(to)) => {
            to.file()?;
            let input = tokio_input();
            remote::put(client, &to, input, None).await
        }
        (Place::Remote(from), Place::Local(to)) => {
            from.file()?;
            let to = if to.is_dir() { to.join(from.name()) } else { to };
            download(client, &from, &to).await
        }
        (Place::Remote(from), Place::Standard) => {
            from.file()?;
            let response = remote::get(client, &from).await?;
            let poured = remote::pour(client, response, tokio::io::stdout()).await?;
            end_if_read_enough(&poured);
            poured.map_err(CliError::file("write", "standard output"))
        }
        (Place::Remote(from), Place::Remote(to)) => {
            from.file()?;
            let name = from.name().to_owned();
            remote::copy(client, &from, &into(&to, Some(&name))).await
        }
        _ => Err(neither()),
    }
}

fn neither() -> CliError {
    CliError::Wrong("one of both is to be in the cloud, as photos:2026/a.jpg is: for files here, there is cp".into())
}

/// A file of this name, where a folder is meant.
fn into(to: &Remote, name: Option<&str>) -> Remote {
    match name {
        Some(name) if to.key.is_empty() || to.key.ends_with('/') => to.below(name),
        _ => to.clone(),
    }
}

/// Standard input, as it comes.
fn tokio_input() -> Body {
    let input = futures::stream::unfold(tokio::io::stdin(), |mut input| async move {
        let mut chunk = vec![0; 256 * 1024];
        match tokio::io::AsyncReadExt::read(&mut input, &mut chunk).await {
            Ok(0) => None,
            Ok(length) => {
                chunk.truncate(length);
                Some((Ok::<_, std::io::Error>(bytes::Bytes::from(chunk)), input))
            }
            Err(error) => Some((Err(error), input)),
        }
    });
    Body::wrap_stream(input)
}

pub(super) async fn upload(client: &Client, from: &Path, to: &Remote) -> Result<(), CliError> {
    to.file()?;
    let file = File::open(from).await.map_err(CliError::file("open", from))?;
    let about = file.metadata().await.map_err(CliError::file("read", from))?;
    if !about.is_file() {
        return Err(CliError::Wrong(format!("{} is no file: for a folder, say -r", from.display())));
    }
    remote::put(client, to, Body::from(file), Some(about.len())).await
}

/// A file is there as a whole or not at all, as it is in the cloud.
pub(super) async fn download(client: &Client, from: &Remote, to: &Path) -> Result<(), CliError> {
    let response = remote::get(client, from).await?;
    if let Some(folder) = to.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).await.map_err(CliError::file("make", folder))?;
    }
    if std::fs::metadata(to).is_ok_and(|there| !there.is_file()) {
        // A pipe, or a device: it is written to.
        let file = fs::File::options().write(true).open(to).await.map_err(CliError::file("write", to))?;
        return remote::pour(client, response, file).await?.map_err(CliError::file("write", to));
    }
    let drawn = RandomState::new().hash_one(to);
    let partial = to.with_file_name(format!("{PARTIAL}{}-{drawn:016x}.partial", std::process::id()));
    // What takes the place of a file is for those whom that was for.
    let rights = std::fs::metadata(to).ok().map(|about| about.permissions());
    let done = async {
        let mut options = File::options();
        options.write(true).create_new(true).mode(if rights.is_some() { 0o600 } else { 0o666 });
        let file = options.open(&partial).await.map_err(CliError::file("write", &partial))?;
        remote::pour(client, response, file).await?.map_err(CliError::file("write", &partial))?;
        if let Some(rights) = rights {
            fs::set_permissions(&partial, rights).await.map_err(CliError::file("write", &partial))?;
        }
        fs::rename(&partial, to).await.map_err(CliError::file("write", to))
    };
    let done = done.await;
    if done.is_err() {
        let _ = fs::remove_file(&partial).await;
    }
    done
}

async fn folder(client: &Client, places: (Place, Place)) -> Result<(), CliError> {
    let (mut failures, mut all) = (Vec::new(), 0);
    let mut note = |what: String, done: Result<(), CliError>| {
        all += 1;
        match done {
            Ok(()) => say!("{what}"),
            Err(error) => {
                eprintln!("{what}: {error}");
                failures.push(error);
            }
        }
    };
    match places {
        (Place::Local(from), Place::Remote(to)) => {
            for file in files_below(&from)?.0 {
                let to = to.below(&key(&from, &file)?);
                note(to.to_string(), upload(client, &file, &to).await);
            }
        }
        (Place::Remote(from), Place::Local(to)) => {
            let from = from.folder();
            for file in some(&from, remote::files(client, &from).await?)? {
                let path = local_inside(&to, &file.key[from.key.len()..]);
                let one = Remote { key: file.key, ..from.clone() };
                let done = match path {
                    Ok(Some(path)) => download(client, &one, &path).await,
                    Ok(None) => Err(CliError::Wrong("its name leads out of the folder".into())),
                    Err(error) => Err(error),
                };
                note(one.to_string(), done);
            }
        }
        (Place::Remote(from), Place::Remote(to)) => {
            let from = from.folder();
            for file in some(&from, remote::files(client, &from).await?)? {
                let to = to.below(&file.key[from.key.len()..]);
                let one = Remote { key: file.key, ..from.clone() };
                note(to.to_string(), remote::copy(client, &one, &to).await);
            }
        }
        _ => return Err(neither()),
    }
    done(failures, all)
}

/// Files of a folder, which has some: a folder there is what its files' names say.
pub(super) fn some(folder: &Remote, files: Vec<RemoteFile>) -> Result<Vec<RemoteFile>, CliError> {
    if files.is_empty() { Err(CliError::NotThere(folder.to_string())) } else { Ok(files) }
}

fn key(folder: &Path, file: &Path) -> Result<String, CliError> {
    key_of(folder, file).ok_or_else(|| CliError::Wrong(format!("the name of {} is no text", file.display())))
}

/// All files below a folder, in the order of names, and the links that are there. Links are not followed: they may lead anywhere, and
/// round. Nor are files whole that a download which broke off has left.
pub(super) fn files_below(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), CliError> {
    let (mut files, mut links, mut folders) = (Vec::new(), Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(CliError::file("read", &folder))? {
            let entry = entry.map_err(CliError::file("read", &folder))?;
            let kind = entry.file_type().map_err(CliError::file("read", entry.path()))?;
            let name = entry.file_name();
            let is_partial = name.to_str().is_some_and(|name| name.starts_with(PARTIAL) && name.ends_with(".partial"));
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_symlink() {
                links.push(entry.path());
            } else if kind.is_file() && !is_partial {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok((files, links))
}

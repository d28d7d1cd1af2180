//! Bringing a folder in step with another: what is new or has changed is copied, and what is not in the source is removed where that is
//! asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;

use super::copy::{download, files_below, upload};
use super::place::{Place, Remote, key_of, local, local_inside};
use super::remote;
use crate::client::Client;
use crate::error::CliError;
use crate::objects::done;
use crate::output::{say, shown};

/// A file, as far as it says whether it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    bytes: u64,
    modified: Timestamp,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    copied: Vec<String>,
    removed: Vec<String>,
}

/// What is new, longer, shorter or younger than what is there is copied. What is left out of the source, with all below it, is not removed.
fn plan(source: &BTreeMap<String, Seen>, target: &BTreeMap<String, Seen>, delete: bool, left_out: &[String]) -> Plan {
    let is_new = |(path, seen): &(&String, &Seen)| {
        target.get(*path).is_none_or(|there| there.bytes != seen.bytes || there.modified < seen.modified)
    };
    let is_left_out = |path: &str| {
        left_out.iter().any(|left| path.strip_prefix(&**left).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    };
    let removed = target.keys().filter(|path| delete && !source.contains_key(*path) && !is_left_out(path));
    Plan { copied: source.iter().filter(is_new).map(|(path, _)| path.clone()).collect(), removed: removed.cloned().collect() }
}

pub(super) async fn run(client: &Client, from: &str, to: &str, delete: bool, dry_run: bool) -> Result<(), CliError> {
    match (Place::parse(from), Place::parse(to)) {
        (Place::Local(from), Place::Remote(to)) => {
            let to = to.folder();
            let (source, left_out) = here(&from)?;
            not_by_mistake(&source, delete)?;
            let plan = plan(&source, &there(client, &to).await?, delete, &left_out);
            let copy = async |path: &str| match local(&from, path) {
                Some(file) => upload(client, &file, &to.below(path)).await,
                None => Err(CliError::Wrong("its name is none for a file".into())),
            };
            let remove = async |path: &str| remote::delete(client, &to.below(path)).await;
            carry_out(&plan, dry_run, copy, remove).await
        }
        (Place::Remote(from), Place::Local(to)) => {
            let from = from.folder();
            let source = there(client, &from).await?;
            not_by_mistake(&source, delete)?;
            let (target, _) = if to.exists() { here(&to)? } else { (BTreeMap::new(), Vec::new()) };
            let plan = plan(&source, &target, delete, &[]);
            let copy = async |path: &str| match local_inside(&to, path)? {
                Some(file) => {
                    download(client, &from.below(path), &file).await?;
                    // So that the next time finds it in step.
                    let modified = SystemTime::from(source[path].modified);
                    let set = std::fs::File::options().write(true).open(&file).and_then(|opened| opened.set_modified(modified));
                    set.map_err(CliError::file("date", &file))
                }
                None => Err(CliError::Wrong("its name leads out of the folder".into())),
            };
            let remove = async |path: &str| {
                let file = to.join(path);
                std::fs::remove_file(&file).map_err(CliError::file("remove", &file))
            };
            carry_out(&plan, dry_run, copy, remove).await
        }
        _ => Err(CliError::Wrong("one of both is to be a folder here, and one in the cloud, as photos:2026 is".into())),
    }
}

/// A source that has nothing is a wrong name, or a disk that is not there, more often than what somebody means.
fn not_by_mistake(source: &BTreeMap<String, Seen>, delete: bool) -> Result<(), CliError> {
    if delete && source.is_empty() {
        return Err(CliError::Wrong(
            "there is nothing in the source, and all would be removed: if that is meant, say eddy files rm -r".into(),
        ));
    }
    Ok(())
}

async fn carry_out(
    plan: &Plan,
    dry_run: bool,
    copy: impl AsyncFn(&str) -> Result<(), CliError>,
    remove: impl AsyncFn(&str) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut failures = Vec::new();
    for (path, is_copied) in plan.copied.iter().map(|path| (path, true)).chain(plan.removed.iter().map(|path| (path, false))) {
        if !is_copied && !failures.is_empty() {
            eprintln!("nothing is removed, since not all was copied");
            break;
        }
        let done = match (dry_run, is_copied) {
            (true, _) => Ok(()),
            (false, true) => copy(path).await,
            (false, false) => remove(path).await,
        };
        match done {
            Ok(()) => say!("{} {}", if is_copied { '+' } else { '-' }, shown(path)),
            Err(error) => {
                eprintln!("{}: {error}", shown(path));
                failures.push(error);
            }
        }
    }
    eprintln!(
        "{} to copy, {} to remove{}",
        plan.copied.len(),
        plan.removed.len(),
        if dry_run { ": nothing was done" } else { "" }
    );
    done(failures, plan.copied.len() + plan.removed.len())
}

/// What is in a folder here, and what is left out of it: links.
fn here(folder: &Path) -> Result<(BTreeMap<String, Seen>, Vec<String>), CliError> {
    let mut seen = BTreeMap::new();
    let (files, links) = files_below(folder)?;
    let name = |file: &Path| {
        let name = key_of(folder, file);
        name.ok_or_else(|| CliError::Wrong(format!("the name of {} is no text", file.display())))
    };
    for file in files {
        let about = std::fs::metadata(&file).map_err(CliError::file("read", &file))?;
        let modified = about.modified().ok().and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_default();
        seen.insert(name(&file)?, Seen { bytes: about.len(), modified });
    }
    let links = links.iter().map(|link| name(link)).collect::<Result<_, _>>()?;
    Ok((seen, links))
}

async fn there(client: &Client, folder: &Remote) -> Result<BTreeMap<String, Seen>, CliError> {
    let files = remote::files(client, folder).await?.into_iter();
    let seen = files.map(|file| (file.key[folder.key.len()..].to_owned(), Seen { bytes: file.bytes, modified: file.modified }));
    Ok(seen.filter(|(path, _)| !path.is_empty()).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn seen(all: &[(&str, u64, i64)]) -> BTreeMap<String, Seen> {
        let one = |(path, bytes, second): &(&str, u64, i64)| {
            ((*path).to_owned(), Seen { bytes: *bytes, modified: Timestamp::from_second(*second).unwrap() })
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn what_is_new_or_has_changed_is_copied_and_nothing_else() {
        let source = seen(&[("same", 1, 10), ("older", 1, 5), ("younger", 1, 11), ("longer", 2, 5), ("new", 1, 1)]);
        let target = seen(&[("same", 1, 10), ("older", 1, 10), ("younger", 1, 10), ("longer", 1, 10), ("gone", 1, 1)]);
        let planned = plan(&source, &target, false, &[]);
        assert_eq!(planned, Plan { copied: vec!["longer".into(), "new".into(), "younger".into()], removed: vec![] });
        assert_eq!(plan(&source, &target, true, &[]).removed, ["gone"]);
        assert!(plan(&source, &target, true, &["gone".into()]).removed.is_empty());
        assert_eq!(plan(&source, &target, true, &["go".into()]).removed, ["gone"]);
        assert!(not_by_mistake(&seen(&[]), true).is_err() && not_by_mistake(&seen(&[]), false).is_ok());
        assert_eq!(plan(&source, &source, true, &[]), Plan { copied: vec![], removed: vec![] });
    }
}

//! What whoever runs replicas needs now and then. Answers go to standard output.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Write as _;
use std::path::Path;

use super::KvComponentError;
use crate::backup::STREAM;
use crate::remote::Remote;

/// Says how each replica is, and which members were not asked.
pub(super) async fn status(remote: &Remote) -> Result<(), KvComponentError> {
    let statuses = remote.status().await;
    // Of whoever knows the latest: others may still count one that has become another at the same address.
    let answers = statuses.iter().filter_map(|(_, status)| status.as_ref().ok());
    let latest = answers.max_by_key(|status| (status.term, status.applied)).map(|status| &status.members[..]).unwrap_or_default();
    let mut members: BTreeMap<u64, String> = latest.iter().map(|member| (member.id, member.address.clone())).collect();
    let answered = statuses.iter().any(|(_, status)| status.is_ok());
    let mut lines = String::new();
    for (address, status) in statuses {
        // Writing to a String does not fail.
        let _ = match status {
            Ok(status) => {
                // As the group knows it: by that it is removed.
                let address = members.remove(&status.id).unwrap_or(address);
                let what = status.members.iter().find(|member| member.id == status.id);
                let what = match (what, status.leader.as_deref() == what.map(|member| member.address.as_str())) {
                    (None, _) => "no member yet",
                    (Some(_), true) => "leads",
                    (Some(member), false) if member.voter => "follows",
                    (Some(_), false) => "standby",
                };
                let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
                let (applied, last) = (number(status.applied), number(status.last));
                writeln!(lines, "{address}\t{what}\tterm {}\tapplied {applied} of {last}\tid {:016x}", status.term, status.id)
            }
            Err(error) => writeln!(lines, "{address}\tdoes not answer\t{error}"),
        };
    }
    for (id, address) in members {
        let _ = writeln!(lines, "{address}\ta member that did not answer\tid {id:016x}");
    }
    say(&lines);
    if answered { Ok(()) } else { Err(KvComponentError::NoneAnswers) }
}

/// Writes all rows to a file, or to standard output.
pub(super) async fn backup(remote: &Remote, file: &Path) -> Result<(), KvComponentError> {
    if file == Path::new(STREAM) {
        let rows = crate::backup::backup_to(remote, tokio::io::stdout()).await?;
        // The other output is the backup.
        let _ = writeln!(std::io::stderr().lock(), "{rows} rows were written");
        return Ok(());
    }
    let rows = crate::backup::backup(remote, file).await?;
    say(&format!("{rows} rows are in {}\n", file.display()));
    Ok(())
}

/// Fills an empty store.
pub(super) async fn restore(remote: &Remote, file: &Path) -> Result<(), KvComponentError> {
    let rows = match file == Path::new(STREAM) {
        true => crate::backup::restore_from(remote, tokio::io::stdin()).await?,
        false => crate::backup::restore(remote, file).await?,
    };
    say(&format!("{rows} rows are restored\n"));
    Ok(())
}

/// Writes all rows of a replica that is stopped to a file.
pub(super) async fn salvage(folder: &Path, file: &Path) -> Result<(), KvComponentError> {
    let rows = crate::replicated::salvage(folder, file).await?;
    say(&format!("{rows} rows are in {}\n", file.display()));
    Ok(())
}

/// Says whether a backup is whole.
pub(super) async fn verify(file: &Path) -> Result<(), KvComponentError> {
    let rows = crate::backup::verify(file).await?;
    say(&format!("{} is whole: {rows} rows\n", file.display()));
    Ok(())
}

fn say(lines: &str) {
    // Whoever listened may be gone.
    let _ = std::io::stdout().lock().write_all(lines.as_bytes());
}

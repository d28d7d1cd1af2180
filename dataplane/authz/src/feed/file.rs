//! What was known, in a file, so that a process that starts while NATS is away knows it.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// All that was known at one revision of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) of: Option<Moment>,
    pub(super) rows: BTreeMap<String, Bytes>,
}

/// Which revision of which bucket, and when that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Moment {
    /// Of whose signs of life: see [`super::Heartbeat`].
    pub(super) epoch: u64,
    pub(super) revision: u64,
    /// When a sign of life was last given, in seconds since 1970; 0 if none was while it was asked.
    pub(super) heard_s: i64,
}

/// The first line of the file. The others are a key and its value each.
#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    rows: usize,
    of: Moment,
}

const FORMAT: u32 = 2;

/// What a file says; nothing if it is not there, or not whole.
pub(super) fn read(path: &Path) -> Known {
    let Ok(bytes) = std::fs::read(path) else { return Known::default() };
    let known = parse(&bytes);
    if known.is_none() {
        tracing::warn!(path = %path.display(), "what was known of permissions cannot be read, and is asked for anew");
    }
    known.unwrap_or_default()
}

fn parse(bytes: &[u8]) -> Option<Known> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let head: Head = serde_json::from_slice(lines.next()?).ok().filter(|head: &Head| head.format == FORMAT)?;
    let row = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b' ')?;
        Some((String::from_utf8(line[..at].to_vec()).ok()?, Bytes::copy_from_slice(&line[at + 1..])))
    };
    let rows: Option<BTreeMap<_, _>> = lines.filter(|line| !line.is_empty()).map(row).collect();
    rows.filter(|rows| rows.len() == head.rows).map(|rows| Known { of: Some(head.of), rows })
}

/// Puts what is known in the place of what the file said, whole or not at all. Nobody else may read it.
pub(super) fn write(path: &Path, known: &Known) -> std::io::Result<()> {
    let Some(of) = known.of else { return Ok(()) };
    // JSON on one line has no line feed: a value that has one is none of ours.
    let rows: Vec<_> = known.rows.iter().filter(|(_, value)| !value.contains(&b'\n')).collect();
    let draft = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    let mut text = serde_json::to_vec(&Head { format: FORMAT, rows: rows.len(), of })?;
    text.push(b'\n');
    for (key, value) in rows {
        text.extend_from_slice(key.as_bytes());
        text.push(b' ');
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    file.write_all(&text)?;
    file.sync_data()?;
    std::fs::rename(draft, path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn known() -> Known {
        let rows = [("user.ada", "{}"), ("token.x", r#"{"user":"ada b"}"#)];
        Known {
            of: Some(Moment { epoch: 7, revision: 9, heard_s: 11 }),
            rows: rows.into_iter().map(|(key, value)| (key.to_owned(), Bytes::from(value))).collect(),
        }
    }

    #[test]
    fn what_was_written_is_read_and_nobody_else_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("permissions");
        assert_eq!(read(&path), Known::default());
        write(&path, &known()).unwrap();
        assert_eq!(read(&path), known());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write(&path, &Known::default()).unwrap();
        assert_eq!(read(&path), known(), "nothing known is nothing to write");
    }

    #[test]
    fn a_file_that_is_not_whole_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("permissions");
        write(&path, &known()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for end in 0..whole.len() - 1 {
            let read = parse(&whole[..end]);
            // The last value may be cut within itself, which whoever reads it notices.
            assert!(read.is_none() || end > whole.len() - 20, "{end}");
        }
        std::fs::write(&path, b"\xff\n\n").unwrap();
        assert_eq!(read(&path), Known::default());
    }
}

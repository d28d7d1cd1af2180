//! Where a file is: here, there, or on standard input and output.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::CliError;
use crate::output::shown;

/// Where a file, or a folder, is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Local(PathBuf),
    Remote(Remote),
    /// Standard input, or output.
    Standard,
}

/// A file, or what begins so, in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) namespace: String,
    /// The file's key, or what keys begin with.
    pub(super) key: String,
}

impl Place {
    /// `namespace:path` is there, `-` is standard, all else is here; so is what has a slash before its first colon, as `./a:b`.
    pub(super) fn parse(text: &str) -> Self {
        match text.split_once(':') {
            _ if text == "-" => Self::Standard,
            Some((namespace, key)) if !namespace.is_empty() && !namespace.contains('/') => {
                Self::Remote(Remote { namespace: namespace.to_owned(), key: key.trim_start_matches('/').to_owned() })
            }
            _ => Self::Local(PathBuf::from(text)),
        }
    }
}

impl Remote {
    /// What must be there.
    pub(super) fn parse(text: &str) -> Result<Self, CliError> {
        match Place::parse(text) {
            Place::Remote(remote) => Ok(remote),
            _ => Err(CliError::Wrong(format!("{text:?} is no file in the cloud, as photos:2026/a.jpg is"))),
        }
    }

    /// The same, where a namespace alone is all of it.
    pub(super) fn parse_or_namespace(text: &str) -> Result<Self, CliError> {
        match Self::parse(text) {
            Err(_) if !text.is_empty() && !text.contains(['/', ':']) => {
                Ok(Self { namespace: text.to_owned(), key: String::new() })
            }
            parsed => parsed,
        }
    }

    /// That it is one file.
    pub(super) fn file(&self) -> Result<(), CliError> {
        if self.key.is_empty() || self.key.ends_with('/') {
            return Err(CliError::Wrong(format!("{self} is no file: for a folder, say -r")));
        }
        Ok(())
    }

    /// It as a folder: all that is below it, and nothing that only begins as it.
    pub(super) fn folder(&self) -> Self {
        let mut folder = self.clone();
        if !folder.key.is_empty() && !folder.key.ends_with('/') {
            folder.key.push('/');
        }
        folder
    }

    /// A file below it.
    pub(super) fn below(&self, path: &str) -> Self {
        Self { namespace: self.namespace.clone(), key: format!("{}{path}", self.folder().key) }
    }

    /// The last part of its key.
    pub(super) fn name(&self) -> &str {
        self.key.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.namespace, shown(&self.key))
    }
}

/// Where a key leads below a folder here. A key that would lead out of it leads nowhere.
pub(super) fn local(folder: &Path, path: &str) -> Option<PathBuf> {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
    path.split('/').all(is_plain).then(|| folder.join(path))
}

/// The same, where no link leads out of it either: whoever named the files in the cloud may know of one here.
pub(super) fn local_inside(folder: &Path, path: &str) -> Result<Option<PathBuf>, CliError> {
    let Some(file) = local(folder, path) else { return Ok(None) };
    let mut part = folder.to_owned();
    for name in path.split('/') {
        part.push(name);
        if std::fs::symlink_metadata(&part).is_ok_and(|about| about.is_symlink()) {
            return Err(CliError::Wrong(format!("{} is a link, which is not followed", part.display())));
        }
    }
    Ok(Some(file))
}

/// The key of a file below a folder here; none of a name that is no text.
pub(super) fn key_of(folder: &Path, file: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = file.strip_prefix(folder).ok()?.components().map(|part| part.as_os_str().to_str()).collect();
    parts.map(|parts| parts.join("/"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn there_is_what_has_a_namespace_before_a_colon() {
        let remote = |namespace: &str, key: &str| Place::Remote(Remote { namespace: namespace.into(), key: key.into() });
        assert_eq!(Place::parse("photos:2026/a.jpg"), remote("photos", "2026/a.jpg"));
        assert_eq!(Place::parse("photos:/a:b"), remote("photos", "a:b"));
        assert_eq!(Place::parse("photos:"), remote("photos", ""));
        assert_eq!(Place::parse("-"), Place::Standard);
        for here in ["a.jpg", "./a:b", "/tmp/x:y", ":a", "a/b:c"] {
            assert_eq!(Place::parse(here), Place::Local(here.into()), "{here}");
        }
        assert!(Remote::parse("a.jpg").is_err() && Remote::parse_or_namespace("photos").is_ok());
        let folder = Remote::parse("photos:2026").unwrap();
        assert_eq!(folder.folder().to_string(), "photos:2026/");
        assert_eq!((folder.below("a/b").key, folder.name()), ("2026/a/b".into(), "2026"));
        assert_eq!(Remote::parse("photos:").unwrap().below("a").key, "a");
        assert!(folder.file().is_ok() && folder.folder().file().is_err());
    }

    #[test]
    fn no_key_leads_out_of_a_folder() {
        let folder = Path::new("/tmp/x");
        assert_eq!(local(folder, "a/b"), Some("/tmp/x/a/b".into()));
        for wrong in ["", "/etc/passwd", "../a", "a/../../b", "a//b", ".", "a/.", "a\\..\\b", "a\0b"] {
            assert_eq!(local(folder, wrong), None, "{wrong:?}");
        }
        assert_eq!(key_of(folder, Path::new("/tmp/x/a/b")).as_deref(), Some("a/b"));
        assert_eq!(key_of(folder, Path::new("/tmp/y")), None);
    }

    #[test]
    fn no_link_leads_out_of_a_folder() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        std::fs::create_dir(folder.path().join("plain")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("x"), folder.path().join("plain/x")).unwrap();
        assert!(local_inside(folder.path(), "link/x").is_err() && local_inside(folder.path(), "plain/x").is_err());
        assert_eq!(local_inside(folder.path(), "plain/y/z").unwrap(), Some(folder.path().join("plain/y/z")));
        assert_eq!(local_inside(folder.path(), "../x").unwrap(), None);
        // The folder itself is whose who said it.
        assert!(local_inside(&folder.path().join("link"), "y").unwrap().is_some());
    }
}

//! The last good inputs in a file, so that a restart while the API server is away serves what was served before.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::inputs::Inputs;

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// It could not be read or written.
    #[error("failed to {verb} the snapshot file {path}")]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("failed to understand the snapshot file {path}: remove it to start without")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Reads the file; nothing where there is none.
pub(crate) fn load(path: &Path) -> Result<Option<Inputs>, PersistError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(PersistError::File { verb: "read", path: path.to_owned(), source }),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|source| PersistError::Format { path: path.to_owned(), source })
}

/// Writes the file. A reader, or a restart half-way, sees the old contents or the new, never a part.
pub(crate) fn save(path: &Path, inputs: &Inputs) -> Result<(), PersistError> {
    let bytes = serde_json::to_vec(inputs).map_err(|source| PersistError::Format { path: path.to_owned(), source })?;
    let partial = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        // There are keys among it.
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        std::fs::rename(&partial, path)
    };
    write().map_err(|source| PersistError::File { verb: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway_api::ApiInputs;
    use crate::inputs::{Addresses, Place, SliceInput};
    use std::collections::BTreeMap;

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot.json");
        assert!(load(&path).unwrap().is_none());
        let place = Place { namespace: "u-ada".into(), name: "web".into() };
        let ready = BTreeMap::from([(80, vec!["10.0.0.1:80".parse().unwrap()])]);
        let inputs = Inputs {
            domains: Vec::new(),
            secrets: vec![],
            authorities: vec![],
            gateway_api: ApiInputs::default(),
            slices: vec![SliceInput {
                slice: place,
                service: "web".into(),
                ready,
                leaving: BTreeMap::new(),
                datagrams: Addresses::default(),
                names: BTreeMap::new(),
            }],
            routes: vec![],
        };
        save(&path, &inputs).unwrap();
        assert_eq!(load(&path).unwrap(), Some(inputs));
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snapshot.json");
        std::fs::write(&path, "{\"routes\": [").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("snapshot.json"));
    }
}

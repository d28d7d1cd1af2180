//! Objects in files.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::CliError;

/// An object, and where it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) origin: String,
    pub(crate) object: Value,
}

/// All objects of files, folders and standard input (`-`), in the order of names.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Manifest>, CliError> {
    let mut all = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(CliError::Input)?;
            all.extend(parse("standard input", &text)?);
            continue;
        }
        for file in files(path)? {
            let text = std::fs::read_to_string(&file).map_err(CliError::file("read", &file))?;
            all.extend(parse(&file.display().to_string(), &text)?);
        }
    }
    // A User comes before what is theirs.
    all.sort_by_key(|manifest| manifest.object["kind"] != "User");
    Ok(all)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(CliError::file("read", path))?;
    let is_manifest = |path: &PathBuf| {
        let ends = |end: &str| path.extension().is_some_and(|extension| extension == end);
        (ends("yaml") || ends("yml") || ends("json")) && path.file_name().is_some_and(|name| name != "kustomization.yaml")
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_manifest).collect();
    files.sort();
    Ok(files)
}

fn parse(origin: &str, text: &str) -> Result<Vec<Manifest>, CliError> {
    let parsed: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|source| CliError::Yaml { origin: origin.to_owned(), source: Box::new(source) })?;
    let mut all = Vec::new();
    for object in parsed.into_iter().filter(|object| !object.is_null()) {
        if object["kind"].as_str().is_none() || object["metadata"]["name"].as_str().is_none() {
            return Err(CliError::Wrong(format!("{origin} holds what is no object: kind and metadata.name are missing")));
        }
        all.push(Manifest { origin: origin.to_owned(), object });
    }
    Ok(all)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_objects_and_users_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("b.yaml", "kind: User\nmetadata: {name: ada}\n");
        write("a.yml", "---\nkind: Route\nmetadata: {name: r}\n---\n---\nkind: Container\nmetadata: {name: c}\n");
        write("c.json", r#"{"kind": "Token", "metadata": {"name": "t"}}"#);
        write("kustomization.yaml", "resources: []\n");
        write("notes.txt", "no");
        let kinds = |paths: &[PathBuf]| {
            let all = read(paths)?;
            Ok::<_, CliError>(all.iter().map(|manifest| manifest.object["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(kinds(&[folder.path().to_owned()]).unwrap(), ["User", "Route", "Container", "Token"]);
        write("d.yaml", "kind: Route\n");
        assert!(kinds(&[folder.path().to_owned()]).unwrap_err().to_string().contains("d.yaml"));
        write("d.yaml", "a: [");
        assert!(kinds(&[folder.path().join("d.yaml")]).unwrap_err().to_string().contains("d.yaml"));
        assert!(kinds(&[folder.path().join("none")]).is_err());
    }
}

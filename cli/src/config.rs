//! Contexts: the clouds that somebody is signed in to, in a file that only they may read.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::arguments::{Context, ContextCommand, Output};
use crate::error::CliError;
use crate::output::say;

/// A cloud that somebody is signed in to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SignedIn {
    pub(crate) url: String,
    /// The address to connect to, where it is not the one that the name has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connect: Option<SocketAddr>,
    pub(crate) token: String,
    pub(crate) user: String,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    /// The one that is used where none is said.
    #[serde(default)]
    pub(crate) current: String,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, SignedIn>,
}

/// Where it is.
fn path() -> PathBuf {
    if let Some(path) = std::env::var_os("EDDY_CONFIG") {
        return path.into();
    }
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".config");
    std::env::var_os("XDG_CONFIG_HOME").map_or_else(home, PathBuf::from).join("eddy/config.json")
}

impl Config {
    pub(crate) fn read() -> Result<Self, CliError> {
        Self::read_from(&path())
    }

    fn read_from(path: &Path) -> Result<Self, CliError> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| CliError::Config { path: path.to_owned(), source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(CliError::file("read", path)(error)),
        }
    }

    pub(crate) fn write(&self) -> Result<(), CliError> {
        self.write_to(&path())
    }

    /// Whole or not at all, and for nobody else to read.
    fn write_to(&self, path: &Path) -> Result<(), CliError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(CliError::file("make", folder))?;
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        let written = || -> std::io::Result<()> {
            let mut file = fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(&partial)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(&partial, path)
        };
        written().map_err(CliError::file("write", path))
    }

    /// The one of this name, or the current one; what the environment says before all.
    pub(crate) fn signed_in(&self, name: Option<&str>) -> Result<SignedIn, CliError> {
        match (name, std::env::var("EDDY_URL"), std::env::var("EDDY_TOKEN")) {
            (None, Ok(url), Ok(token)) => return Ok(SignedIn { url, connect: None, token, user: String::new() }),
            (None, Err(_), Err(_)) | (Some(_), ..) => {}
            _ => return Err(CliError::Wrong("EDDY_URL and EDDY_TOKEN are to be set together".into())),
        }
        match name {
            Some(name) => self.contexts.get(name).cloned().ok_or_else(|| CliError::NoContext(name.to_owned())),
            None => self.contexts.get(&self.current).cloned().ok_or(CliError::NotSignedIn),
        }
    }

    /// Forgets one; false if there is none of this name.
    pub(crate) fn forget(&mut self, name: &str) -> bool {
        let forgotten = self.contexts.remove(name).is_some();
        if self.current == name {
            self.current = self.contexts.keys().next().cloned().unwrap_or_default();
        }
        forgotten
    }
}

pub(crate) fn command(context: Context, output: Output) -> Result<(), CliError> {
    let mut config = Config::read()?;
    match context.command.unwrap_or(ContextCommand::List) {
        ContextCommand::List if output == Output::Json => {
            let all = config.contexts.iter();
            let all = all
                .map(|(name, one)| json!({"name": name, "url": one.url, "user": one.user, "current": *name == config.current}));
            say!("{}", serde_json::Value::from_iter(all));
        }
        ContextCommand::List => {
            for (name, one) in &config.contexts {
                say!("{} {name}\t{}\t{}", if *name == config.current { '*' } else { ' ' }, one.user, one.url);
            }
        }
        ContextCommand::Use { name } => {
            if !config.contexts.contains_key(&name) {
                return Err(CliError::NoContext(name));
            }
            config.current = name;
            config.write()?;
        }
        ContextCommand::Forget { name } => {
            if !config.forget(&name) {
                return Err(CliError::NoContext(name));
            }
            config.write()?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_nobody_else_s() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eddy/config.json");
        assert_eq!(Config::read_from(&path).unwrap(), Config::default());
        let one = SignedIn { url: "https://a".into(), connect: None, token: "t".into(), user: "ada".into() };
        let mut config = Config { current: "a".into(), contexts: [("a".to_owned(), one.clone()), ("b".into(), one)].into() };
        config.write_to(&path).unwrap();
        assert_eq!(Config::read_from(&path).unwrap(), config);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(config.signed_in(Some("c")).is_err() && config.signed_in(Some("b")).is_ok());
        assert!(config.forget("a") && !config.forget("a"));
        assert_eq!(config.current, "b");
        fs::write(&path, "{").unwrap();
        assert!(Config::read_from(&path).unwrap_err().to_string().contains("config.json"));
    }
}

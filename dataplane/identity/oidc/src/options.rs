//! Which providers there are, as a file of JSON says it.

use std::path::{Path, PathBuf};

use openidconnect::url::{Host, Url};
use serde::Deserialize;

/// More providers than anybody chooses among.
const PROVIDERS_MAX: usize = 32;

/// A provider, and who this platform is there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderOptions {
    /// What it is called here, in paths: small letters, digits and dashes.
    pub name: String,
    /// What people see.
    #[serde(default)]
    pub title: String,
    /// Its issuer's URL, exactly as its tokens say it.
    pub issuer: String,
    /// Who this platform is there.
    pub client_id: String,
    /// A file with the secret of this client, read again each time; without one, it is a public client.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// What is asked for besides `openid`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The claim with the groups that somebody is in; a dot leads into an object, as in `realm_access.roles`.
    #[serde(default = "groups")]
    pub groups_claim: String,
    /// Whoever is in one of these is an administrator while signed in by this provider.
    #[serde(default)]
    pub admin_groups: Vec<String>,
    /// A file of certificates (PEM) that its own is to be signed by; those that browsers trust if not given.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

fn groups() -> String {
    "groups".into()
}

/// Why providers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The file cannot be read.
    #[error("failed to read {file}")]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no list of providers.
    #[error("{file} is no list of providers: [{{\"name\", \"issuer\", \"clientId\", …}}]")]
    Parse {
        /// Which.
        file: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A provider cannot be one.
    #[error("the provider {name:?}: {why}")]
    Wrong {
        /// Which.
        name: String,
        /// What is wrong with it, and what to do.
        why: &'static str,
    },
    /// A file of certificates holds none.
    #[error("{file} holds no certificate (PEM)")]
    NoCertificate {
        /// Which.
        file: PathBuf,
    },
    /// A provider's client of HTTP cannot be made.
    #[error("the provider {name:?}: failed to prepare to ask it")]
    Client {
        /// Which.
        name: String,
        /// Why.
        source: reqwest::Error,
    },
}

impl ProviderOptions {
    /// The providers of a file.
    ///
    /// # Errors
    /// See [`OptionsError`].
    pub fn read(file: &Path) -> Result<Vec<Self>, OptionsError> {
        let text = std::fs::read(file).map_err(|source| OptionsError::Read { file: file.to_owned(), source })?;
        let all: Vec<Self> =
            serde_json::from_slice(&text).map_err(|source| OptionsError::Parse { file: file.to_owned(), source })?;
        for (number, options) in all.iter().enumerate() {
            let wrong = |why| OptionsError::Wrong { name: options.name.clone(), why };
            options.check().map_err(wrong)?;
            if number >= PROVIDERS_MAX {
                return Err(wrong("there are at most 32"));
            }
            if all[..number].iter().any(|other| other.name == options.name) {
                return Err(wrong("two have this name"));
            }
        }
        Ok(all)
    }

    /// That it can be one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), &'static str> {
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.chars().all(plain) {
            return Err("its name is 1 to 32 small letters, digits and dashes");
        }
        if self.client_id.is_empty() {
            return Err("clientId is who this platform is there, and is missing");
        }
        let issuer = Url::parse(&self.issuer).map_err(|_| "issuer is no URL")?;
        if !Places::of(&issuer).have(&issuer) {
            return Err("issuer must be an https:// URL: who listens in between could be anybody");
        }
        if issuer.query().is_some() || issuer.fragment().is_some() {
            return Err("issuer has no query and no fragment (OpenID Connect Discovery 1.0, 2)");
        }
        Ok(())
    }
}

/// Where a provider may be: where nobody listens in, and, unless it is there itself, not among what this very machine serves to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Places {
    Elsewhere,
    Here,
}

impl Places {
    /// Those of a provider whose issuer this is.
    pub(crate) fn of(issuer: &Url) -> Self {
        if is_here(issuer) { Self::Here } else { Self::Elsewhere }
    }

    pub(crate) fn have(self, url: &Url) -> bool {
        match self {
            Self::Elsewhere => url.scheme() == "https" && !is_here(url),
            Self::Here => matches!(url.scheme(), "http" | "https") && is_here(url),
        }
    }
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback() || address.is_unspecified(),
        None => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<ProviderOptions>, OptionsError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("providers.json");
        std::fs::write(&file, text).unwrap();
        ProviderOptions::read(&file)
    }

    #[test]
    fn providers_are_a_list_of_which_each_can_be_one() {
        let all = read(r#"[{"name":"id","issuer":"https://id.example/realm","clientId":"eddy","adminGroups":["ops"]}]"#).unwrap();
        assert_eq!((all[0].groups_claim.as_str(), all[0].admin_groups.as_slice()), ("groups", &["ops".to_owned()][..]));
        assert!(read("[]").unwrap().is_empty());
        let one = |name: &str, issuer: &str| format!(r#"{{"name":"{name}","issuer":"{issuer}","clientId":"eddy"}}"#);
        assert!(read(&format!("[{}]", one("id", "http://127.0.0.1:9/x"))).is_ok(), "nobody listens in here");
        for wrong in [
            "{}".to_owned(),
            r#"[{"name":"id"}]"#.to_owned(),
            r#"[{"name":"id","issuer":"https://x","clientId":""}]"#.to_owned(),
            r#"[{"name":"id","issuer":"https://x","clientId":"e","clientSecret":"s"}]"#.to_owned(),
            format!("[{}]", one("", "https://x")),
            format!("[{}]", one("a/b", "https://x")),
            format!("[{}]", one("A", "https://x")),
            format!("[{}]", one("id", "http://id.example")),
            format!("[{}]", one("id", "ftp://id.example")),
            format!("[{}]", one("id", "x")),
            format!("[{}]", one("id", "http://x.localhost.example")),
            format!("[{}]", one("id", "https://x?a=b")),
            format!("[{0},{0}]", one("id", "https://x")),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }
    #[test]
    fn a_provider_is_where_nobody_listens_in_and_does_not_lead_here() {
        let have = |issuer: &str, url: &str| {
            let issuer = Url::parse(issuer).unwrap();
            Places::of(&issuer).have(&Url::parse(url).unwrap())
        };
        assert!(have("https://id.example", "https://keys.example/x"));
        assert!(have("http://localhost:1", "http://127.0.0.1:2/x") && have("https://[::1]/", "http://[::1]:2/x"));
        assert!(!have("http://127.0.0.1:1", "https://id.example"));
        for url in [
            "http://keys.example/x",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "http://127.0.0.1:7800/x",
            "https://127.0.0.1/x",
            "https://127.1/x",
            "https://localhost/x",
            "https://x.localhost/x",
            "https://[::1]/x",
            "https://[::ffff:127.0.0.1]/x",
            "https://0.0.0.0/x",
        ] {
            assert!(!have("https://id.example", url), "{url}");
        }
    }
}

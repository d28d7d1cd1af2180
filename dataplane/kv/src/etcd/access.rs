//! By what an etcd lets one in.

use std::io;
use std::path::Path;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};

/// What is shown to an etcd, and what it must show. The default is nothing.
#[derive(Clone, Default)]
pub struct EtcdAccess {
    /// Who signs the members' certificates, as PEM: endpoints are `https://` then, and their hosts are in those certificates.
    pub authority: Option<String>,
    /// A certificate and its key, as PEM, for members that ask for one.
    pub identity: Option<(String, String)>,
    /// A user's name and password.
    pub user: Option<(String, String)>,
}

impl EtcdAccess {
    /// Reads a folder as a Secret is mounted: `ca.crt`; `tls.crt` and `tls.key`; `username` and `password`; each if it is there.
    ///
    /// # Errors
    /// The kernel's, or [`io::ErrorKind::NotFound`] where one of two is there, or none of all.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let file = |name: &str| match std::fs::read_to_string(folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        };
        let both = |first: &str, second: &str| match (file(first)?, file(second)?) {
            (None, None) => Ok(None),
            (Some(one), Some(other)) => Ok(Some((one, other))),
            _ => Err(missing(format!("{} has one of {first} and {second}, which belong together", folder.display()))),
        };
        let user = both("username", "password")?;
        let access = Self {
            authority: file("ca.crt")?,
            identity: both("tls.crt", "tls.key")?,
            // As editors and `echo` end them.
            user: user.map(|(name, password)| (name.trim_end().to_owned(), password.trim_end_matches(['\r', '\n']).to_owned())),
        };
        let is_empty = access.authority.is_none() && access.identity.is_none() && access.user.is_none();
        if is_empty { Err(missing(format!("{} has no ca.crt, tls.crt or username", folder.display()))) } else { Ok(access) }
    }

    pub(super) fn apply(&self, mut connect: ConnectOptions) -> ConnectOptions {
        if self.authority.is_some() || self.identity.is_some() {
            let mut tls = TlsOptions::new();
            if let Some(authority) = &self.authority {
                tls = tls.ca_certificate(Certificate::from_pem(authority));
            }
            if let Some((certificate, key)) = &self.identity {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            connect = connect.with_tls(tls);
        }
        match &self.user {
            // What it is given for the password ends after minutes.
            Some((name, password)) => connect.with_user(name, password).with_auto_token_refresh(true),
            None => connect,
        }
    }
}

impl std::fmt::Debug for EtcdAccess {
    /// Nothing of it is for logs.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("EtcdAccess")
    }
}

fn missing(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what)
}

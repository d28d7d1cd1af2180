//! How Domains are served, as it was said on the command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio::sync::Mutex;

use super::authority::{Authority, External};
use super::budget::Budget;
use super::dns01::Dns01;
use super::fetch::{Fetch, FetchSetupError};
use super::lookup::{Lookup, LookupError};

/// An authority answers within this;
const AUTHORITY_WITHIN: Duration = Duration::from_secs(10);
/// who has the DNS may ask others first.
const DNS01_WITHIN: Duration = Duration::from_secs(20);

/// How Domains are served.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct DomainOptions {
    /// The directory of the certificate authority (RFC 8555) that Domains have their certificates of; without it they have none
    #[arg(long)]
    acme_directory: Option<String>,

    /// Whom the authority tells what goes wrong, as mailto:admin@example.com; may be given several times
    #[arg(long = "acme-contact")]
    acme_contacts: Vec<String>,

    /// A file with the certificates, as PEM, of whom to believe that it is the authority; without it, whom browsers believe
    #[arg(long)]
    acme_ca_file: Option<PathBuf>,

    /// The id of the key that ties Eddy's account to another at the authority, where it wants that
    #[arg(long, requires = "acme_external_key_file")]
    acme_external_key_id: Option<String>,

    /// A file with that key, in base64url
    #[arg(long)]
    acme_external_key_file: Option<PathBuf>,

    /// Who puts the records of DNS01 into DNS: the address of a server that speaks as lego's provider httpreq does
    #[arg(long)]
    dns01_endpoint: Option<String>,

    /// A file with what it wants to be shown, as user:password
    #[arg(long)]
    dns01_credentials_file: Option<PathBuf>,

    /// A file with the certificates, as PEM, of whom to believe that it is that server; without it, whom browsers believe
    #[arg(long)]
    dns01_ca_file: Option<PathBuf>,

    /// A zone that the challenges of others may lead to by CNAME, and that is for nothing else; may be given several times
    #[arg(long = "dns01-delegated-zone", value_delimiter = ',')]
    dns01_delegated_zones: Vec<String>,

    /// A DNS server, as 9.9.9.9:53, that is asked whose hosts are; may be given several times; without any, those of this machine
    #[arg(long = "dns-server", value_delimiter = ',')]
    dns_servers: Vec<SocketAddr>,
}

/// Why Domains cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error(transparent)]
    Fetch(#[from] FetchSetupError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("failed to read {file}")]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{0} holds no key in base64url")]
    ExternalKey(PathBuf),
}

/// Whom Domains are served by.
pub(crate) struct Domains {
    pub(super) lookup: Lookup,
    /// None if there is none.
    pub(super) authority: Option<Authority>,
    pub(super) dns01: Option<Dns01>,
    /// Where challenges may be that others lead to.
    pub(super) zones: Vec<String>,
    pub(super) budget: Budget,
}

impl Domains {
    /// As the options say.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub(crate) fn new(options: &DomainOptions) -> Result<Self, SetupError> {
        let lookup = Lookup::new(&options.dns_servers)?;
        let authority = options.acme_directory.as_ref().map(|directory| {
            Ok::<_, SetupError>(Authority {
                fetch: Fetch::new(options.acme_ca_file.as_deref(), AUTHORITY_WITHIN)?,
                directory: directory.clone(),
                contacts: options.acme_contacts.clone(),
                external: external(options)?,
                account: Mutex::default(),
            })
        });
        let dns01 = options.dns01_endpoint.as_ref().map(|endpoint| {
            let credentials = options.dns01_credentials_file.as_deref().map(read).transpose()?;
            Ok::<_, SetupError>(Dns01::new(
                Fetch::new(options.dns01_ca_file.as_deref(), DNS01_WITHIN)?,
                endpoint,
                credentials.as_deref(),
            ))
        });
        Ok(Self {
            lookup,
            authority: authority.transpose()?,
            dns01: dns01.transpose()?,
            zones: options.dns01_delegated_zones.clone(),
            budget: Budget::default(),
        })
    }
}

fn external(options: &DomainOptions) -> Result<Option<External>, SetupError> {
    let (Some(key_id), Some(file)) = (&options.acme_external_key_id, &options.acme_external_key_file) else { return Ok(None) };
    let text = read(file)?;
    let key =
        BASE64_URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).map_err(|_| SetupError::ExternalKey(file.clone()))?;
    Ok(Some(External { key_id: key_id.clone(), key }))
}

fn read(file: &Path) -> Result<String, SetupError> {
    std::fs::read_to_string(file).map_err(|source| SetupError::Read { file: file.to_owned(), source })
}

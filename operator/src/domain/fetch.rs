//! How authorities and providers of DNS are asked: with bounds, and nowhere else than where it was said that they are.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};

const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Larger answers are none.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Why nobody could be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchSetupError {
    #[error("failed to read {file}: give the certificates of whom to believe, as PEM")]
    Read { file: PathBuf, source: std::io::Error },
    #[error("failed to set up how an authority is asked")]
    Client(#[source] reqwest::Error),
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("it was not reached, or hung up")]
    Ask(#[source] reqwest::Error),
    #[error("its answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("what it was asked or said is no HTTP")]
    Http(#[from] http::Error),
}

/// Asks over HTTP. Clones share connections.
#[derive(Clone, Debug)]
pub(crate) struct Fetch(Client);

impl Fetch {
    /// One that believes the authorities of a file, or those that browsers do, and waits for so long.
    ///
    /// # Errors
    /// See [`FetchSetupError`].
    pub(crate) fn new(authorities: Option<&Path>, within: Duration) -> Result<Self, FetchSetupError> {
        let certificates = match authorities {
            Some(file) => {
                let read = std::fs::read(file).map_err(|source| FetchSetupError::Read { file: file.to_owned(), source })?;
                Certificate::from_pem_bundle(&read).map_err(FetchSetupError::Client)?
            }
            None => {
                let trusted = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
                trusted
                    .map(|certificate| Certificate::from_der(certificate))
                    .collect::<Result<_, _>>()
                    .map_err(FetchSetupError::Client)?
            }
        };
        let builder = Client::builder().tls_certs_only(certificates).connect_timeout(CONNECT_WITHIN).timeout(within);
        builder.redirect(Policy::none()).no_proxy().build().map(Self).map_err(FetchSetupError::Client)
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub(crate) async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
        let request = reqwest::Request::try_from(request).map_err(FetchError::of)?;
        let mut answer = self.0.execute(request).await.map_err(FetchError::of)?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(FetchError::of)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(FetchError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(response.body(body.into())?)
    }
}

impl FetchError {
    /// Without the address, which may hold a password: what is said here is said to tenants.
    fn of(error: reqwest::Error) -> Self {
        Self::Ask(error.without_url())
    }
}

impl HttpClient for Fetch {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let fetch = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let asked = fetch.ask(Request::from_parts(parts, body.to_bytes())).await;
            asked.map(|answer| answer.map(Full::new).into()).map_err(|error| instant_acme::Error::Other(Box::new(error)))
        })
    }
}

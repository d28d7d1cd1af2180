//! How a provider is asked: with bounds, and nowhere else than where it says that it is.

use std::pin::Pin;
use std::time::Duration;

use openidconnect::url::Url;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};

use crate::options::{OptionsError, Places, ProviderOptions};

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const WITHIN: Duration = Duration::from_secs(5);
/// Larger answers are none.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Why a provider did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// It said to ask where anybody could listen in.
    #[error("{0} is no https:// URL, or leads to this very machine")]
    Place(String),
    /// It was not reached, or hung up.
    #[error("it was not reached, or hung up")]
    Ask(#[source] reqwest::Error),
    /// It said more than anybody has to say.
    #[error("its answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// What it was asked or said is no HTTP.
    #[error("what it was asked or said is no HTTP")]
    Http(#[from] http::Error),
}

impl<'c> AsyncHttpClient<'c> for Fetch {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}

/// Asks one provider. Clones share its connections.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    client: Client,
    places: Places,
}

impl Fetch {
    pub(crate) fn new(options: &ProviderOptions, places: Places) -> Result<Self, OptionsError> {
        let failed = |source| OptionsError::Client { name: options.name.clone(), source };
        let certificates = match &options.ca_file {
            Some(file) => {
                let read = std::fs::read(file).map_err(|source| OptionsError::Read { file: file.clone(), source })?;
                let trusted = Certificate::from_pem_bundle(&read).map_err(failed)?;
                if trusted.is_empty() {
                    return Err(OptionsError::NoCertificate { file: file.clone() });
                }
                trusted
            }
            None => {
                let trusted = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
                trusted.map(|certificate| Certificate::from_der(certificate)).collect::<Result<_, _>>().map_err(failed)?
            }
        };
        let builder = Client::builder().tls_certs_only(certificates).connect_timeout(CONNECT_WITHIN).timeout(WITHIN);
        // Whoever follows where an answer leads asks what they were never told to.
        builder.redirect(Policy::none()).no_proxy().build().map(|client| Self { client, places }).map_err(failed)
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string();
        let url = Url::parse(&url).ok().filter(|url| self.places.have(url)).ok_or(FetchError::Place(url))?;
        let asked = self.client.request(parts.method, url).headers(parts.headers).body(body).send();
        let mut answer = asked.await.map_err(FetchError::Ask)?;
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(FetchError::Ask)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(FetchError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(response.body(body)?)
    }
}

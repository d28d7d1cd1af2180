//! Putting records of challenges into DNS, by whoever has it: in the form of lego's provider `httpreq`, which many speak
//! (<https://go-acme.github.io/lego/dns/httpreq/>): `POST /present` and `POST /cleanup` with `{"fqdn", "value"}`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use serde_json::json;

use super::fetch::{Fetch, FetchError};

/// Why a record is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Dns01Error {
    #[error("failed to ask for the record of the challenge")]
    Ask(#[from] FetchError),
    #[error("failed to ask for the record of the challenge: its address is none")]
    Address(#[from] http::Error),
    #[error("who has the DNS answered {0} when asked for the record of the challenge")]
    Refused(StatusCode),
}

/// Whoever has the DNS.
pub(crate) struct Dns01 {
    fetch: Fetch,
    endpoint: String,
    /// As `user:password`, if it wants them.
    credentials: Option<String>,
}

impl Dns01 {
    pub(crate) fn new(fetch: Fetch, endpoint: &str, credentials: Option<&str>) -> Self {
        let (endpoint, credentials) = (endpoint.trim_end_matches('/').to_owned(), credentials.map(|text| text.trim().to_owned()));
        Self { fetch, endpoint, credentials }
    }

    /// Puts a TXT record there.
    ///
    /// # Errors
    /// See [`Dns01Error`].
    pub(super) async fn present(&self, name: &str, value: &str) -> Result<(), Dns01Error> {
        self.ask("present", name, value).await
    }

    /// Takes it away.
    ///
    /// # Errors
    /// See [`Dns01Error`].
    pub(super) async fn clean_up(&self, name: &str, value: &str) -> Result<(), Dns01Error> {
        self.ask("cleanup", name, value).await
    }

    async fn ask(&self, what: &str, name: &str, value: &str) -> Result<(), Dns01Error> {
        let mut request = Request::builder().method(Method::POST).uri(format!("{}/{what}", self.endpoint));
        request = request.header(CONTENT_TYPE, "application/json");
        if let Some(credentials) = &self.credentials {
            request = request.header(AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(credentials)));
        }
        let body = json!({"fqdn": format!("{name}."), "value": value}).to_string();
        let status = self.fetch.ask(request.body(Bytes::from(body))?).await?.status();
        if status.is_success() { Ok(()) } else { Err(Dns01Error::Refused(status)) }
    }
}

//! Requests to the cloud.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use crate::config::{Config, SignedIn};
use crate::error::{CliError, Problem};

/// Whoever does not answer a first packet is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Whoever sends nothing for so long has gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Whoever is gone without a word is noticed by this, and some more.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// What of a path needs no escape.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The same of a part of it.
const PART: &AsciiSet = &PATH.add(b'/');

/// A cloud, as somebody who is signed in there.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// Without a bound on how long nothing is heard: that of reqwest runs while something is sent, too.
    long: reqwest::Client,
    signed_in: SignedIn,
}

/// One part of a path, or a value, with all that needs it escaped.
pub(crate) fn escaped_part(part: &str) -> String {
    utf8_percent_encode(part, PART).to_string()
}

/// A path with all that needs it escaped.
pub(crate) fn escaped(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

impl Client {
    /// The cloud of a context.
    pub(crate) fn of(config: &Config, context: Option<&str>) -> Result<Self, CliError> {
        Self::new(config.signed_in(context)?)
    }

    pub(crate) fn new(signed_in: SignedIn) -> Result<Self, CliError> {
        let url = signed_in.url.clone();
        let parsed = reqwest::Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let host = parsed.as_ref().and_then(|url| url.host_str()).map(str::to_owned);
        let host =
            host.ok_or_else(|| CliError::Wrong(format!("{url:?} is no address of a cloud, as https://cloud.example.com is")))?;
        let builder = || {
            let builder = reqwest::Client::builder().connect_timeout(CONNECT_WITHIN).tcp_keepalive(KEEPALIVE);
            // Where one is led elsewhere, what is shown is not to follow.
            let builder = builder.redirect(reqwest::redirect::Policy::none());
            let builder = builder.user_agent(concat!("eddy/", env!("CARGO_PKG_VERSION")));
            match signed_in.connect {
                Some(address) => builder.resolve(&host, address),
                None => builder,
            }
        };
        let built = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|source| CliError::Unreachable { url: url.clone(), source })
        };
        let (http, long) = (built(builder().read_timeout(SILENCE_MAX))?, built(builder())?);
        Ok(Self { http, long, signed_in: SignedIn { url: signed_in.url.trim_end_matches('/').to_owned(), ..signed_in } })
    }

    pub(crate) fn signed_in(&self) -> &SignedIn {
        &self.signed_in
    }

    /// A request to a path, which begins with a slash and is escaped.
    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.shown(self.http.request(method, format!("{}{path}", self.signed_in.url)))
    }

    /// One whose body may take as long as it takes.
    pub(crate) fn send_long(&self, method: Method, path: &str) -> RequestBuilder {
        self.shown(self.long.request(method, format!("{}{path}", self.signed_in.url)))
    }

    fn shown(&self, request: RequestBuilder) -> RequestBuilder {
        match &*self.signed_in.token {
            "" => request,
            token => request.bearer_auth(token),
        }
    }

    /// Sends a request that is to succeed.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, CliError> {
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.map_err(|source| self.unreachable(source))?;
        let problem = serde_json::from_slice::<Problem>(&body).ok().filter(|problem| !problem.detail.is_empty());
        Err(CliError::Refused(problem.map_or_else(
            || Problem {
                status: status.as_u16(),
                code: status.to_string(),
                detail: "the cloud refused".into(),
                errors: Vec::new(),
            },
            |problem| Problem { status: status.as_u16(), ..problem },
        )))
    }

    /// Sends a request, and returns the JSON that it is answered with; null where there is nothing.
    pub(crate) async fn json(&self, request: RequestBuilder) -> Result<Value, CliError> {
        let response = self.send(request).await?;
        let body = response.bytes().await.map_err(|source| self.unreachable(source))?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| self.strange())
    }

    /// Sends JSON.
    pub(crate) async fn send_json(&self, method: Method, path: &str, body: &Value) -> Result<Value, CliError> {
        let request = self.ask(method, path).header(CONTENT_TYPE, "application/json").body(body.to_string());
        self.json(request).await
    }

    pub(crate) fn unreachable(&self, source: reqwest::Error) -> CliError {
        CliError::Unreachable { url: self.signed_in.url.clone(), source: source.without_url() }
    }

    pub(crate) fn strange(&self) -> CliError {
        CliError::Strange { url: self.signed_in.url.clone() }
    }

    /// Who is signed in.
    pub(crate) async fn user(&self) -> Result<String, CliError> {
        if !self.signed_in.user.is_empty() {
            return Ok(self.signed_in.user.clone());
        }
        let who = self.json(self.ask(Method::GET, "/api/v1/whoami")).await?;
        who["user"].as_str().map(str::to_owned).ok_or_else(|| self.strange())
    }
}

//! What the gateway answers itself, instead of a backend.

use bytes::Bytes;
use http::{Method, header};
use pingora_core::protocols::http::HttpTask;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use crate::proxy::RequestContext;
use crate::request::X_REQUEST_ID;

/// Why the gateway itself answered, instead of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The host or path of the request is malformed.
    BadRequest,
    /// The connection was begun for a host with another certificate.
    Misdirected,
    /// No route has the host and path.
    NoRoute,
    /// The Route wants a token, and none is shown that is good.
    Unauthorized,
    /// The Route does not let this address in.
    Address,
    /// The Route lets in no more of them for now.
    TooMany,
    /// The body is larger than the Route takes.
    TooLarge,
    /// The Route is for WebSockets, and the request is for none.
    NoUpgrade,
    /// The token that is shown does not hold what the Route requires.
    Forbidden,
    /// Whose token it is cannot be known now.
    Stale,
    /// The Route asks for what cannot be done.
    Broken,
    /// The backend is none.
    NoBackend,
    /// No endpoint is there to answer.
    NoEndpoint,
    /// The backend did not take the connection, or broke it.
    Upstream,
    /// The backend took too long.
    Timeout,
}

impl Refusal {
    pub(crate) const ALL: [Self; 15] = [
        Self::BadRequest,
        Self::Misdirected,
        Self::NoRoute,
        Self::Unauthorized,
        Self::Address,
        Self::TooMany,
        Self::TooLarge,
        Self::NoUpgrade,
        Self::Forbidden,
        Self::Stale,
        Self::Broken,
        Self::NoBackend,
        Self::NoEndpoint,
        Self::Upstream,
        Self::Timeout,
    ];

    /// Whose fault an error was; none where the client left.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        use ErrorType::{ConnectTimedout, ConnectionClosed, ReadError, ReadTimedout, WriteError, WriteTimedout};
        match (error.esource(), error.etype()) {
            (ErrorSource::Downstream, ReadError | WriteError | ConnectionClosed | ReadTimedout | WriteTimedout) => None,
            (ErrorSource::Downstream, _) => Some(Self::BadRequest),
            (_, ConnectTimedout | ReadTimedout | WriteTimedout) => Some(Self::Timeout),
            _ => Some(Self::Upstream),
        }
    }

    /// The name in metrics and the access log.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Misdirected => "misdirected",
            Self::NoRoute => "no_route",
            Self::Unauthorized => "unauthorized",
            Self::Address => "address",
            Self::TooMany => "too_many",
            Self::TooLarge => "too_large",
            Self::NoUpgrade => "no_upgrade",
            Self::Forbidden => "forbidden",
            Self::Stale => "stale",
            Self::Broken => "broken",
            Self::NoBackend => "no_backend",
            Self::NoEndpoint => "no_endpoint",
            Self::Upstream => "upstream",
            Self::Timeout => "timeout",
        }
    }

    pub(crate) fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::NoRoute => 404,
            Self::Unauthorized => 401,
            Self::Forbidden | Self::Address => 403,
            Self::TooLarge => 413,
            Self::Misdirected => 421,
            Self::NoUpgrade => 426,
            Self::TooMany => 429,
            Self::NoBackend => 500,
            Self::NoEndpoint | Self::Stale | Self::Broken => 503,
            Self::Upstream => 502,
            Self::Timeout => 504,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::BadRequest => "400: the host or path of this request is malformed\n",
            Self::Misdirected => "421: this connection was begun for another host; begin one for this\n",
            Self::NoRoute => "404: no Route has this host and path\n",
            Self::Unauthorized => {
                "401: this Route wants a token: Authorization: Bearer, or as the password of basic authentication\n"
            }
            Self::Address => "403: this Route does not let in who comes from your address\n",
            Self::TooMany => "429: this Route lets in no more for now; come again after what Retry-After says\n",
            Self::TooLarge => "413: the body of this request is larger than this Route takes\n",
            Self::NoUpgrade => "426: this Route is for WebSockets only\n",
            Self::Forbidden => "403: the token does not hold the scopes that this Route requires\n",
            Self::Stale => "503: whose token this is cannot be known now; try again later\n",
            Self::Broken => "503: this Route asks for what cannot be done; its status says what\n",
            Self::NoBackend => "500: this Route leads to a backend that is not there; its status says which\n",
            Self::NoEndpoint => "503: nothing is ready to answer for this Route\n",
            Self::Upstream => "502: the backend of this Route refused or broke the connection\n",
            Self::Timeout => "504: the backend of this Route took too long\n",
        }
    }

    /// What clients of gRPC know it by (gRPC, "Statuscodes").
    fn grpc_status(self) -> u8 {
        match self {
            Self::BadRequest | Self::NoUpgrade => 3,
            Self::Timeout => 4,
            Self::Address | Self::Forbidden => 7,
            Self::TooMany | Self::TooLarge => 8,
            Self::NoRoute | Self::Misdirected => 12,
            Self::Stale | Self::Broken | Self::NoBackend | Self::NoEndpoint | Self::Upstream => 14,
            Self::Unauthorized => 16,
        }
    }

    /// The answer to a client of gRPC, which looks for what went wrong among the trailers.
    fn grpc(self) -> Result<ResponseHeader> {
        let mut response = ResponseHeader::build(200, Some(5))?;
        response.insert_header(header::CONTENT_TYPE, "application/grpc")?;
        response.insert_header("grpc-status", u64::from(self.grpc_status()))?;
        response.insert_header("grpc-message", self.sentence().trim_end())?;
        response.insert_header(header::CACHE_CONTROL, "no-store")?;
        Ok(response)
    }

    /// The answer to any other.
    fn plain(self) -> Result<ResponseHeader> {
        let mut response = ResponseHeader::build(self.status(), Some(6))?;
        response.insert_header(header::CONTENT_TYPE, "text/plain; charset=utf-8")?;
        response.insert_header(header::CONTENT_LENGTH, self.sentence().len())?;
        // A cache must not go on to refuse what works again.
        response.insert_header(header::CACHE_CONTROL, "no-store")?;
        if self == Self::Unauthorized {
            // Browsers ask for a password then, which a token is as well.
            response.append_header(header::WWW_AUTHENTICATE, "Bearer realm=\"eddy\"")?;
            response.append_header(header::WWW_AUTHENTICATE, "Basic realm=\"eddy\"")?;
        }
        if self == Self::NoUpgrade {
            response.insert_header(header::UPGRADE, "websocket")?;
        }
        Ok(response)
    }

    /// Answers, unless the backend's answer has begun. The connection is closed afterwards: the rest of the
    /// request may still be on it.
    pub(crate) async fn answer(self, session: &mut Session, context: &RequestContext) -> Result<()> {
        let says = session.req_header().headers.get(header::CONTENT_TYPE);
        let is_grpc = session.req_header().method == Method::POST
            && says.is_some_and(|says| says.as_bytes().starts_with(b"application/grpc"));
        let mut response = if is_grpc { self.grpc()? } else { self.plain()? };
        response.insert_header(&X_REQUEST_ID, context.request_id.as_str())?;
        if let Some(wait) = context.retry_after {
            // In whole seconds, of which the last has not ended either.
            response.insert_header(header::RETRY_AFTER, wait.as_secs() + 1)?;
        }
        if let Some(route) = &context.route {
            // Pages that may know an answer may know a refusal.
            route.allow_origin(session.req_header(), &mut response)?;
        }
        if is_grpc && session.response_written().is_none() {
            // The header is the end: whoever finds trailers before anything else takes them for these.
            session.as_downstream_mut().set_keepalive(None);
            let header = HttpTask::Header(Box::new(response), true);
            return session.as_downstream_mut().response_duplex_vec(vec![header]).await.map(drop);
        }
        let body = if session.req_header().method == Method::HEAD {
            Bytes::new()
        } else {
            Bytes::from_static(self.sentence().as_bytes())
        };
        session.as_downstream_mut().write_error_response(response, body).await
    }
}

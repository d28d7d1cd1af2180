//! Requests to the Kubernetes API, as the tenant whose objects they change.

use std::time::Duration;

use eddy_telemetry::error_chain;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use kube::Client;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::time::timeout;

use crate::problem::{Problem, of_status};

/// Longer than the Kubernetes API takes for one object.
const WITHIN: Duration = Duration::from_secs(30);
/// Of administrators: who may change Users.
pub(crate) const ADMINS: &str = "eddy:admins";

/// Who a request is to the Kubernetes API.
#[derive(Clone, Copy, Debug)]
pub(crate) enum As<'a> {
    /// The tenant in whose core namespace the object is.
    Tenant(&'a str),
    /// An administrator: for what is in no core namespace.
    Admin(&'a str),
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

/// Sends a request, and returns what it is answered with.
///
/// # Errors
/// What the Kubernetes API refused, or that it cannot be reached.
pub(crate) async fn send(client: &Client, who: As<'_>, ask: Ask) -> Result<Value, Problem> {
    let unreachable = || Problem::unavailable("the platform's API cannot be reached now: try again in a few seconds");
    let request = request(who, ask).ok_or_else(|| Problem::bad("the path or a parameter has what no path may have"))?;
    match timeout(WITHIN, client.request::<Value>(request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(of_status(&status)),
        Ok(Err(error)) => {
            tracing::warn!(error = error_chain(&error), "failed to reach the Kubernetes API");
            Err(unreachable())
        }
        Err(_) => Err(unreachable()),
    }
}

fn request(who: As<'_>, ask: Ask) -> Option<http::Request<Vec<u8>>> {
    let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let query: Vec<_> = ask.query.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    let builder = http::Request::builder().method(ask.method).uri(format!("{}?{}", ask.path, query.join("&")));
    let builder = builder.header(CONTENT_TYPE, ask.content_type);
    let user = |name: &str| HeaderValue::from_str(&format!("eddy:{name}")).ok();
    let builder = match who {
        As::Tenant(name) => builder.header("Impersonate-User", user(name)?),
        As::Admin(name) => builder.header("Impersonate-User", user(name)?).header("Impersonate-Group", ADMINS),
    };
    builder.body(ask.body).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_the_tenants_and_its_parameters_stay_parameters() {
        let ask = Ask {
            method: Method::POST,
            path: "/apis/x".into(),
            query: vec![("fieldManager", "a&dryRun=All".into())],
            content_type: "application/json",
            body: Vec::new(),
        };
        let sent = request(As::Tenant("ada"), ask.clone()).unwrap();
        assert_eq!(sent.uri(), "/apis/x?fieldManager=a%26dryRun%3DAll");
        assert_eq!(
            (&sent.headers()["impersonate-user"], sent.headers().get("impersonate-group")),
            (&HeaderValue::from_static("eddy:ada"), None)
        );
        assert_eq!(request(As::Admin("root"), ask.clone()).unwrap().headers()["impersonate-group"], ADMINS);
        assert!(request(As::Tenant("a\nb"), ask).is_none());
    }
}

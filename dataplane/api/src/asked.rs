//! A request that writes: who asks, from where, how it is to be done, and the record of what became of it.

use axum::extract::{FromRequestParts, Query};
use axum::response::Response;
use eddy_audit::Origin;
use eddy_authz::Action;
use http::HeaderMap;
use http::request::Parts;
use serde::Deserialize;

use crate::access::{Caller, Target};
use crate::problem::Problem;
use crate::router::Api;

/// Who owns what is written, to the Kubernetes API, where nobody else is said.
const MANAGER: &str = "eddy-api";

/// How something is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct How {
    /// Only whether it would be.
    #[serde(default)]
    pub(crate) dry_run: bool,
    /// Who owns what an apply says.
    field_manager: Option<String>,
    /// An apply takes what others own.
    #[serde(default)]
    pub(crate) force: bool,
}

impl How {
    pub(crate) fn query(&self) -> Result<Vec<(&'static str, String)>, Problem> {
        let manager = self.field_manager.as_deref().unwrap_or(MANAGER);
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        // The operator's fields are the operator's.
        if manager.is_empty() || manager.len() > 64 || !manager.chars().all(plain) || manager.starts_with("eddy-operator") {
            return Err(Problem::bad("fieldManager has 1 to 64 letters, digits, -, _ and ., and is not the operator's"));
        }
        let mut query = vec![("fieldManager", manager.to_owned()), ("fieldValidation", "Strict".to_owned())];
        if self.dry_run {
            query.push(("dryRun", "All".to_owned()));
        }
        Ok(query)
    }
}

/// What a request that writes says besides what it writes.
pub(crate) struct Asked {
    pub(crate) api: Api,
    pub(crate) caller: Caller,
    pub(crate) headers: HeaderMap,
    pub(crate) how: How,
    origin: Origin,
}

impl FromRequestParts<Api> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let Ok(origin) = Origin::from_request_parts(parts, api).await;
        let how = Query::from_request_parts(parts, api).await.map_err(|error| Problem::bad(error.body_text()))?;
        Ok(Self { api: api.clone(), caller, headers: parts.headers.clone(), how: how.0, origin })
    }
}

impl Asked {
    /// Writes down what became of it, unless it was only a trial.
    pub(crate) fn record(&self, action: Action, target: Target<'_>, done: &Result<Response, Problem>) {
        if !self.how.dry_run {
            self.api.audit(&self.origin, &self.caller, action, target, done);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nobody_writes_in_the_operators_name() {
        let manager = |name: &str| How { field_manager: Some(name.to_owned()), ..How::default() }.query().is_ok();
        assert!(manager("kubectl") && manager("eddy-cli") && How::default().query().is_ok());
        assert!(
            !manager("")
                && !manager("eddy-operator")
                && !manager("eddy-operator-2")
                && !manager("a b")
                && !manager(&"a".repeat(65))
        );
    }
}

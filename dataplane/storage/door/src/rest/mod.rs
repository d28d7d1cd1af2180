//! The API of files, `/v1/…`; `openapi.json` describes it.

mod attributes;
mod extract;
mod files;
mod form;
mod listing;
mod moves;
mod receive;
mod shares;
mod uploads;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::door::Door;
use crate::error::Problem;

/// What the API is, for programs.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");
/// Longer requests than this are refused where they are no files.
const JSON_BYTES_MAX: usize = 256 * 1024;

/// All of the API.
pub(crate) fn router(door: Door) -> Router {
    Router::new()
        .route("/v1/openapi.json", get(|| async { ([(CONTENT_TYPE, "application/json")], OPENAPI) }))
        .route("/v1/files", get(listing::namespaces))
        .route("/v1/files/{namespace}", get(listing::list).post(form::upload).layer(DefaultBodyLimit::disable()))
        .route("/v1/files/{namespace}/", get(listing::list))
        .route("/v1/files/{namespace}/{*key}", get(files::read).put(files::write).delete(files::delete))
        .route("/v1/metadata/{namespace}/{*key}", get(attributes::read).put(attributes::write))
        .route("/v1/uploads/{namespace}", get(uploads::begun))
        .route(
            "/v1/uploads/{namespace}/{*key}",
            get(uploads::parts).post(uploads::begin_or_complete).put(uploads::part).delete(uploads::abort),
        )
        .route("/v1/shares/{namespace}/{*key}", post(shares::share))
        .route("/v1/copy", post(moves::copy))
        .route("/v1/move", post(moves::rename))
        .fallback(nothing)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(JSON_BYTES_MAX))
        .with_state(door)
}

async fn nothing() -> Response {
    let detail = "there is no such path: /v1/openapi.json describes those that there are";
    Problem::new(StatusCode::NOT_FOUND, "NoPath", detail).into_response()
}

async fn no_method() -> Response {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "NoMethod", "the path does not have this method").into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    #[test]
    fn every_route_is_described() {
        let described: serde_json::Value = serde_json::from_str(super::OPENAPI).unwrap();
        let router = include_str!("mod.rs").split("#[cfg(test)]").next().unwrap();
        let paths = described["paths"].as_object().unwrap();
        let routes = router.split("\"/v1/").skip(1).filter_map(|rest| rest.split('"').next());
        for route in routes.filter(|route| !route.ends_with('/') && !route.is_empty() && !route.contains('…')) {
            let path = format!("/v1/{}", route.replace("{*key}", "{key}"));
            assert!(paths.contains_key(&path), "{path} is not described");
        }
        for (path, methods) in paths {
            for (method, operation) in methods.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters") {
                assert!(operation["summary"].is_string() && operation["responses"].is_object(), "{method} {path}");
            }
        }
    }
    #[test]
    fn every_code_of_an_error_is_in_the_guide_with_its_status() {
        // Others answer these: nothing here makes or removes a namespace.
        const OF_NAMESPACES: [&str; 2] = ["NamespaceExists", "NotEmpty"];
        let guide = include_str!("../../../../../docs/files.md");
        let sources = [
            include_str!("../error.rs"),
            include_str!("form.rs"),
            include_str!("mod.rs"),
            include_str!("moves.rs"),
            include_str!("receive.rs"),
        ];
        let mut known = 0;
        for source in sources {
            for said in source.split("StatusCode::").skip(1) {
                let Some((status, rest)) = said.split_once(", \"") else { continue };
                let Some(status) = status_named(status) else { continue };
                let code = rest.split('"').next().unwrap();
                let row = |line: &&str| line.starts_with(&format!("| {status} |")) && line.contains(&format!("`{code}`"));
                let is_said = OF_NAMESPACES.contains(&code) || guide.lines().any(|line| row(&line));
                assert!(is_said, "{status} {code} is not in docs/files.md");
                known += 1;
            }
        }
        assert!(known > 20, "{known}");
    }

    /// The number of a status by the name of its constant.
    fn status_named(name: &str) -> Option<u16> {
        (100..600).find(|code| {
            let status = http::StatusCode::from_u16(*code).ok();
            let reason = status.and_then(|status| status.canonical_reason());
            reason.is_some_and(|reason| reason.to_uppercase().replace([' ', '-'], "_") == name)
        })
    }
}

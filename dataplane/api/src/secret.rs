//! What a Token was written to: for its user, whom programs have to be given it by.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eddy_http::Problem;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method};
use serde_json::{Map, Value};

use crate::access::Caller;
use crate::router::{Api, Found};
use crate::upstream::{As, Ask, send};

/// The Secret of a Token. Only its user has it, and nobody in their name who may less than they: it may be good for more.
pub(crate) async fn get(State(api): State<Api>, caller: Caller, found: Found) -> Result<Response, Problem> {
    let (kind, followed) = api.kind(&found.plural, found.is_tenanted)?;
    let nothing = || Problem::not_found(format!("secret of {:?} among these {}", found.name, kind.plural));
    let who = &caller.0;
    let is_all_of_them = !who.is_limited() && who.account().is_none() && (who.is_session() || who.expires_s().is_none());
    if kind.plural != "tokens" || who.user() != found.tenant || !is_all_of_them {
        return Err(nothing());
    }
    let item = followed.read().get(&found.place()).ok_or_else(nothing)?;
    let token: Value = serde_json::from_slice(&item.json).map_err(|_| nothing())?;
    let name = token["spec"]["secretName"].as_str().unwrap_or(&found.name);
    let path = format!("/api/v1/namespaces/{}/secrets/{name}", found.place().namespace);
    let ask = Ask { method: Method::GET, path, query: Vec::new(), content_type: "application/json", body: Vec::new() };
    let secret = send(api.client(), As::Tenant(&found.tenant), ask).await?;
    // Of that name there may be something else that is theirs.
    let is_of_it = |owner: &Value| owner["uid"].as_str() == Some(&*item.uid);
    if !secret["metadata"]["ownerReferences"].as_array().into_iter().flatten().any(is_of_it) {
        return Err(nothing());
    }
    let fields = secret["data"].as_object().into_iter().flatten().filter_map(|(name, value)| {
        let text = String::from_utf8(STANDARD.decode(value.as_str()?).ok()?).ok()?;
        Some((name.clone(), Value::String(text)))
    });
    let mut response = Json(fields.collect::<Map<_, _>>()).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

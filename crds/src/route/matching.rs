//! Which requests a Route is for.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A condition on a request's path.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.type) && self.type == 'Regex') || (self.path.startsWith('/') && !self.path.contains('//') && !self.path.matches('/[.][.]?(/|$)') && !self.path.matches('[?#]'))")
    .message("must be an absolute path in normal form, as in /api/v1, without //, . or .. elements, ? or #"))]
pub struct PathMatch {
    /// The path, starting with a slash, or an expression that matches it as a whole.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
    /// How it is compared; Prefix if unset.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<PathMatchType>,
}

impl PathMatch {
    /// How it is compared, given or not.
    pub fn kind(&self) -> PathMatchType {
        self.kind.unwrap_or_default()
    }
}

/// How a path is compared.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathMatchType {
    /// Element by element: `/api` matches `/api` and `/api/v1`, not `/apis`.
    #[default]
    Prefix,
    /// The whole path, letter by letter.
    Exact,
    /// The whole path, by a regular expression in the syntax of Rust's regex crate, as in `/v[0-9]+/users`.
    Regex,
}

/// A condition on a header, or on a parameter of the query.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FieldMatch {
    /// Its name. Of parameters, letters' case counts.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// What it must be, or an expression that matches it as a whole. Of a header that is there several times the values count joined by commas,
    /// of such a parameter the first.
    #[schemars(length(max = 4096))]
    pub value: String,
    /// How it is compared; Exact if unset.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FieldMatchType>,
}

impl FieldMatch {
    /// How it is compared, given or not.
    pub fn kind(&self) -> FieldMatchType {
        self.kind.unwrap_or_default()
    }
}

/// How a header or a parameter is compared.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldMatchType {
    /// Letter by letter.
    #[default]
    Exact,
    /// By a regular expression in the syntax of Rust's regex crate.
    Regex,
}

/// A method of HTTP.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "RFC 9110 says what they are")]
pub enum RouteMethod {
    GET,
    HEAD,
    POST,
    PUT,
    PATCH,
    DELETE,
    OPTIONS,
    TRACE,
    CONNECT,
}

impl RouteMethod {
    /// As it is written in requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GET => "GET",
            Self::HEAD => "HEAD",
            Self::POST => "POST",
            Self::PUT => "PUT",
            Self::PATCH => "PATCH",
            Self::DELETE => "DELETE",
            Self::OPTIONS => "OPTIONS",
            Self::TRACE => "TRACE",
            Self::CONNECT => "CONNECT",
        }
    }
}

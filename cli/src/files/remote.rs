//! Files there.

use futures::StreamExt;
use jiff::Timestamp;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Method, Response};
use serde_json::{Value, json};
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;

use super::place::Remote;
use crate::client::{Client, escaped, escaped_part};
use crate::error::CliError;

/// A file there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteFile {
    pub(super) key: String,
    pub(super) bytes: u64,
    pub(super) modified: Timestamp,
}

/// A file, or what several begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Folder(String),
    File(RemoteFile),
}

impl Entry {
    fn of(value: &Value) -> Option<Self> {
        if let Some(prefix) = value["prefix"].as_str() {
            return Some(Self::Folder(prefix.to_owned()));
        }
        Some(Self::File(RemoteFile {
            key: value["key"].as_str()?.to_owned(),
            bytes: value["bytes"].as_u64()?,
            modified: value["modified"].as_str()?.parse().ok()?,
        }))
    }

    pub(super) fn json(&self) -> Value {
        match self {
            Self::Folder(prefix) => json!({"prefix": prefix}),
            Self::File(file) => json!({"key": file.key, "bytes": file.bytes, "modified": file.modified.to_string()}),
        }
    }
}

/// The path of a file. A part that is `.` or `..` would lead elsewhere, whatever is escaped of it: such keys, which S3 lets somebody make, are
/// for S3.
fn path(place: &Remote) -> Result<String, CliError> {
    let leads = |part: &str| matches!(part, "." | "..");
    if leads(&place.namespace) || place.namespace.contains('/') || place.key.split('/').any(leads) {
        return Err(CliError::Wrong(format!("{place} has a part that is . or .., and is only reached by S3")));
    }
    Ok(format!("{}/{}", escaped(&place.namespace), escaped(&place.key)))
}

pub(super) async fn namespaces(client: &Client) -> Result<Vec<Value>, CliError> {
    let all = client.json(client.ask(Method::GET, "/v1/files")).await?;
    all.as_array().cloned().ok_or_else(|| client.strange())
}

/// All entries that begin as a place; of folders only their names, where `in_one_folder`.
pub(super) async fn list(client: &Client, place: &Remote, in_one_folder: bool) -> Result<Vec<Entry>, CliError> {
    let (namespace, prefix) = (escaped_part(&place.namespace), escaped_part(&place.key));
    let delimiter = if in_one_folder { "%2F" } else { "" };
    let (mut entries, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/files/{namespace}?prefix={prefix}&delimiter={delimiter}&after={}", escaped_part(&after));
        let page = client.json(client.ask(Method::GET, &path)).await?;
        let all = page["entries"].as_array().ok_or_else(|| client.strange())?;
        for entry in all {
            entries.push(Entry::of(entry).ok_or_else(|| client.strange())?);
        }
        match page["next"].as_str() {
            Some(next) if next != after => after = next.to_owned(),
            _ => return Ok(entries),
        }
    }
}

/// All files below a folder.
pub(super) async fn files(client: &Client, folder: &Remote) -> Result<Vec<RemoteFile>, CliError> {
    let mut files = all_files(client, folder).await?;
    // What ends with a slash stands for a folder, as some programs have it.
    files.retain(|file| !file.key.ends_with('/'));
    Ok(files)
}

/// The same with what stands for folders.
pub(super) async fn all_files(client: &Client, folder: &Remote) -> Result<Vec<RemoteFile>, CliError> {
    let entries = list(client, folder, false).await?.into_iter();
    Ok(entries
        .filter_map(|entry| match entry {
            Entry::File(file) => Some(file),
            Entry::Folder(_) => None,
        })
        .collect())
}

/// Writes a file.
pub(super) async fn put(client: &Client, place: &Remote, body: Body, bytes: Option<u64>) -> Result<(), CliError> {
    let kind = media_type(place.name());
    let request = client.send_long(Method::PUT, &format!("/v1/files/{}", path(place)?)).header(CONTENT_TYPE, kind);
    let request = bytes.into_iter().fold(request, |request, bytes| request.header(CONTENT_LENGTH, bytes));
    client.send(request.body(body)).await.map(drop)
}

/// Reads a file.
pub(super) async fn get(client: &Client, place: &Remote) -> Result<Response, CliError> {
    client.send(client.ask(Method::GET, &format!("/v1/files/{}", path(place)?))).await
}

/// Passes a file on as it comes; false where what takes it does not.
pub(super) async fn pour(
    client: &Client,
    response: Response,
    mut to: impl AsyncWrite + Unpin,
) -> Result<std::io::Result<()>, CliError> {
    let mut coming = response.bytes_stream();
    while let Some(chunk) = coming.next().await {
        let chunk = chunk.map_err(|source| client.unreachable(source))?;
        if let Err(error) = to.write_all(&chunk).await {
            return Ok(Err(error));
        }
    }
    Ok(to.flush().await)
}

pub(super) async fn delete(client: &Client, place: &Remote) -> Result<(), CliError> {
    client.send(client.ask(Method::DELETE, &format!("/v1/files/{}", path(place)?))).await.map(drop)
}

/// Copies a file there.
pub(super) async fn copy(client: &Client, from: &Remote, to: &Remote) -> Result<(), CliError> {
    // Either may be one that only S3 reaches.
    path(from)?;
    path(to)?;
    let place = |place: &Remote| json!({"namespace": place.namespace, "key": place.key});
    // It is answered once all of it is copied.
    let request = client.send_long(Method::POST, "/v1/copy").header(CONTENT_TYPE, "application/json");
    client.send(request.body(json!({"from": place(from), "to": place(to)}).to_string())).await.map(drop)
}

/// A link that anyone may read a file by.
pub(super) async fn share(client: &Client, place: &Remote, lasts_s: i64) -> Result<String, CliError> {
    let asked = json!({"expiresInSeconds": lasts_s});
    let link = client.send_json(Method::POST, &format!("/v1/shares/{}", path(place)?), &asked).await?;
    let path = link["path"].as_str().ok_or_else(|| client.strange())?;
    Ok(format!("{}{path}", client.signed_in().url))
}

/// What browsers are told that a file is, by its name.
fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
    match &*extension {
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" | "md" | "log" => "text/plain; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "yaml" | "yml" => "application/yaml",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "svg" => "image/svg+xml",
        "mp3" => "audio/mpeg",
        "flac" => "audio/flac",
        "ogg" => "audio/ogg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leads_to_another() {
        let of = |namespace: &str, key: &str| path(&Remote { namespace: namespace.into(), key: key.into() });
        assert_eq!(of("photos", "2026/ä b?.jpg").ok().as_deref(), Some("photos/2026/%C3%A4%20b%3F.jpg"));
        assert_eq!(of("photos", "a..b/...").ok().as_deref(), Some("photos/a..b/..."));
        for (namespace, key) in [("photos", "x/../a"), ("photos", ".."), ("photos", "./a"), ("..", "a"), ("a/b", "c")] {
            assert!(of(namespace, key).is_err(), "{namespace} {key}");
        }
    }

    #[test]
    fn names_say_what_files_are() {
        assert_eq!((media_type("a.JPG"), media_type("a.b.txt")), ("image/jpeg", "text/plain; charset=utf-8"));
        assert_eq!((media_type("a"), media_type("jpg")), ("application/octet-stream", "application/octet-stream"));
    }
}

//! Links to files that anyone may open for a while.
//!
//! A link is signed with an access key of whoever made it, and is good for as long as that key is: nothing has to be stored, and
//! every replica of the door can check it.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eddy_authz::{Action, Authenticator, Kind, Refused, Resource, Secret, Signer};
use eddy_object::schema::NamespaceRow;
use hmac::{Hmac, KeyInit, Mac};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::extract::{Json, Target};
use super::files::reach_present;
use crate::access::{Caller, Right, scoped_id};
use crate::door::Door;
use crate::error::Problem;

/// A link is good for at most a year.
const SECONDS_MAX: u64 = 366 * 24 * 3600;
/// What of a key needs no escape in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// For how long a file is shared.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Share {
    expires_in_seconds: u64,
}

/// A link.
#[derive(Debug, Serialize)]
pub(super) struct Link {
    /// From the root of this host.
    path: String,
    /// When it ends.
    expires: String,
}

pub(super) async fn share(
    State(door): State<Door>,
    caller: Caller,
    target: Target,
    headers: HeaderMap,
    Json(share): Json<Share>,
) -> Result<(StatusCode, axum::Json<Link>), Problem> {
    let (space, row) = reach_present(&door, &caller, &target, Right::GetObject).await?;
    caller.may(&door, Right::PutObjectAcl, (&target.namespace, Some(&target.key)), &space, Some(&row)).await?;
    if caller.writer(&space).is_some() {
        return Err(Problem::forbidden("links are shared by the namespace's owner"));
    }
    if !(1..=SECONDS_MAX).contains(&share.expires_in_seconds) {
        return Err(Problem::bad(format!("expiresInSeconds is a number from 1 to {SECONDS_MAX}")));
    }
    let shown = headers.get(AUTHORIZATION).ok_or_else(Problem::unauthorized)?;
    let signer = door.authenticator().signer_of_header(shown.as_bytes())?;
    let expires = now() + share.expires_in_seconds;
    let signature = URL_SAFE_NO_PAD.encode(sign(&signer.secret, space.id, &target.key, expires)?.finalize().into_bytes());
    let path = format!(
        "/v1/files/{}/{}?share={}~{expires}~{signature}",
        utf8_percent_encode(&target.namespace, PATH),
        utf8_percent_encode(&target.key, PATH),
        signer.id
    );
    let expires = i64::try_from(expires).ok().and_then(|expires| Timestamp::from_second(expires).ok());
    let expires = expires.ok_or_else(|| Problem::bad("it expires beyond the end of time"))?.to_string();
    Ok((StatusCode::CREATED, axum::Json(Link { path, expires })))
}

/// What whoever has a link is told that opens nothing.
pub(super) fn refused() -> Problem {
    Problem::forbidden("the link is not good: it has expired, was withdrawn, or is of another file")
}

/// Whether a link opens a file.
pub(super) fn check(known: &Authenticator, share: &str, space: &NamespaceRow, (name, key): (&str, &str)) -> Result<(), Problem> {
    let mut parts = share.split('~');
    let (Some(id), Some(expires), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(refused());
    };
    let expires: u64 = expires.parse().map_err(|_| refused())?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| refused())?;
    let signer = known.signer(id).map_err(|why| if why == Refused::Stale { Problem::stale() } else { refused() })?;
    let Signer { secret, principal, .. } = signer;
    sign(&secret, space.id, key, expires)?.verify_slice(&signature).map_err(|_| refused())?;
    // Who made it may have lost the namespace since. What is opened is only read, however old what is known of them is.
    let principal = principal.once_fresh().unwrap_or(principal);
    let resource = Resource { owner: &space.settings.owner, kind: Kind::Files, id: &scoped_id(name, Some(key)) };
    let may = [Action::Share, Action::Read].into_iter().all(|action| principal.may(action, &resource));
    if expires < now() || !may { Err(refused()) } else { Ok(()) }
}

/// The signature is of the namespace's number, so that another of its name has other links.
fn sign(secret: &Secret, namespace: u64, key: &str, expires: u64) -> Result<Hmac<Sha256>, Problem> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes());
    let mut mac = mac.map_err(|_| Problem::bad("the access key cannot sign"))?;
    mac.update(format!("eddy share 1\nread\n{namespace:016x}\n{expires}\n{key}").as_bytes());
    Ok(mac)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use eddy_object::schema::NamespaceSettings;

    use std::time::Duration;

    use super::*;
    use eddy_authz::feed::{Ages, Feed};
    use eddy_authz::{Entry, Keys, Permissions, SigningKey, Token, TokenEntry, UserEntry, token_key, user_key};

    #[test]
    fn a_link_is_only_read_however_old_what_is_known_of_its_maker() {
        let token = Token::draw().unwrap();
        let entry = TokenEntry {
            user: "alice".into(),
            name: "t".into(),
            account: None,
            scopes: None,
            hash: token.hash(),
            expires_s: None,
        };
        let signing = SigningKey::new(&[3; 32]).unwrap();
        let secret = signing.secret_of(token.id(), &token.hash());
        let settings = NamespaceSettings { owner: "alice".to_owned(), ..NamespaceSettings::default() };
        let space = NamespaceRow { id: 7, created_ms: 0, settings };
        let expires = now() + 60;
        let mac = sign(&secret, 7, "x", expires).unwrap().finalize().into_bytes();
        let link = format!("{}~{expires}~{}", token.id(), URL_SAFE_NO_PAD.encode(mac));
        let opens = |writes_s, reads_s| {
            let permissions = Permissions::default();
            permissions.set(&user_key("alice"), Some(&Entry::User(UserEntry::default()).to_bytes().unwrap()));
            permissions.set(&token_key(token.id()), Some(&Entry::Token(entry.clone()).to_bytes().unwrap()));
            let ages = Ages { writes_max: Duration::from_secs(writes_s), reads_max: Duration::from_secs(reads_s) };
            let feed = Feed::fixed_at(permissions, ages, Duration::from_secs(5));
            let known = Authenticator::of_keys(Keys::default()).with_tokens(feed, Some(signing.clone()));
            check(&known, &link, &space, ("files", "x")).map_err(|problem| problem.status().as_u16())
        };
        assert_eq!([opens(9, 9), opens(0, 9), opens(0, 0)], [Ok(()), Ok(()), Err(503)]);
    }

    #[test]
    fn a_link_is_of_one_file_and_ends() {
        let secret = "0123456789abcdef";
        let single = |id: &str, secret: &str| Authenticator::of_keys(Keys::single("alice", id, secret));
        let keys = single("one", secret);
        let space = |id, owner: &str| NamespaceRow {
            id,
            created_ms: 0,
            settings: NamespaceSettings { owner: owner.to_owned(), ..NamespaceSettings::default() },
        };
        let link = |id: &str, key: &str, expires: u64| {
            let mac = sign(&Secret::new(secret), 7, key, expires).unwrap().finalize().into_bytes();
            format!("{id}~{expires}~{}", URL_SAFE_NO_PAD.encode(mac))
        };
        let good = link("one", "a b", now() + 60);
        assert!(check(&keys, &good, &space(7, "alice"), ("files", "a b")).is_ok());
        assert!(check(&keys, &good, &space(7, "alice"), ("files", "other")).is_err());
        assert!(check(&keys, &good, &space(8, "alice"), ("files", "a b")).is_err());
        assert!(check(&keys, &good, &space(7, "bob"), ("files", "a b")).is_err(), "it was given to another");
        assert!(check(&keys, &link("one", "a b", now() - 1), &space(7, "alice"), ("files", "a b")).is_err());
        assert!(check(&single("two", secret), &good, &space(7, "alice"), ("files", "a b")).is_err());
        assert!(check(&single("one", "another-secret-123"), &good, &space(7, "alice"), ("files", "a b")).is_err());
        for bad in ["", "~", "~~", "one~5", "one~x~y", "one~99999999999~!", &format!("{good}~x"), &good.replace("one", "two")] {
            assert!(check(&keys, bad, &space(7, "alice"), ("files", "a b")).is_err(), "{bad}");
        }
    }
}

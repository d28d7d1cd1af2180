//! What whoever asks shows.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::token::Token;

/// Longer values of the header are not looked at.
const HEADER_BYTES_MAX: usize = 1024;

/// A secret: compared in constant time, never shown, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A secret.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The secret in the clear, to sign or to check a signature with.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether both are the same, in a time that says nothing.
    pub fn is(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// An access key as it is shown.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Which key.
    pub id: String,
    /// That it is theirs.
    pub secret: Secret,
}

impl Credential {
    /// That of an `Authorization` header: `Bearer eddy_<id>_<secret>`, or `Basic` with the id as the name (RFC 6750, RFC 7617);
    /// none if it is anything else.
    pub fn of_header(value: &[u8]) -> Option<Self> {
        let value = std::str::from_utf8(value).ok().filter(|value| value.len() <= HEADER_BYTES_MAX)?;
        let (scheme, rest) = value.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            let (id, secret) = rest.strip_prefix("eddy_")?.split_once('_')?;
            return Some(Self { id: id.to_owned(), secret: Secret::new(secret) });
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let decoded = Zeroizing::new(STANDARD.decode(rest).ok()?);
            let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
            return Some(Self { id: id.to_owned(), secret: Secret::new(secret) });
        }
        None
    }
}

impl Credential {
    /// The token that was shown, if one was, by itself or as the password of whatever name; and what was shown, with the token's id.
    pub fn into_token(self) -> (Option<Token>, Self) {
        let whole = Zeroizing::new(format!("eddy_{}_{}", self.id, self.secret.expose()));
        match Token::parse(&whole).or_else(|| Token::parse(self.secret.expose())) {
            Some(token) => (Some(token.clone()), Self { id: token.id().to_owned(), ..self }),
            None => (None, self),
        }
    }
}

/// The cookie that somebody who has signed in shows. Its prefix makes browsers take it only from this very host, and by TLS (RFC 6265bis).
pub const SESSION_COOKIE: &str = "__Host-eddy";

/// The secret of the session among cookies; none if there is none, or more than one.
pub fn session_of_cookies<'a>(headers: impl Iterator<Item = &'a [u8]>) -> Option<Token> {
    let all = headers.filter_map(|header| std::str::from_utf8(header).ok()).flat_map(|header| header.split(';'));
    let mut ours = all.filter_map(|cookie| cookie.trim().strip_prefix(SESSION_COOKIE)?.strip_prefix('='));
    match (ours.next(), ours.next()) {
        (Some(secret), None) => Token::parse(secret),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_one_cookie() {
        let secret = Token::draw().unwrap();
        let of = |cookies: &[&str]| session_of_cookies(cookies.iter().map(|cookie| cookie.as_bytes())).is_some();
        let ours = format!("__Host-eddy={}", secret.expose());
        assert!(of(&[&ours]) && of(&[&format!("a=b; {ours};c=d")]) && of(&["a=b", &ours]));
        for wrong in [&[][..], &["a=b"], &["__Host-eddy=x"], &[&ours[..ours.len() - 1]], &[&ours, &ours], &[&format!("x{ours}")]]
        {
            assert!(!of(wrong), "{wrong:?}");
        }
        assert!(!of(&[&ours.replace("__Host-", "")]));
    }

    #[test]
    fn headers_are_read_and_nonsense_is_none() {
        for header in ["Bearer eddy_ID_s3cret", "bearer  eddy_ID_s3cret", "Basic SUQ6czNjcmV0"] {
            let credential = Credential::of_header(header.as_bytes()).unwrap();
            assert_eq!((credential.id.as_str(), credential.secret.expose()), ("ID", "s3cret"), "{header}");
        }
        let long = format!("Bearer eddy_ID_{}", "x".repeat(2000));
        for header in ["", "Bearer", "Bearer eddy_ID", "Bearer other_ID_s", "Basic !", "Basic SUQ=", "Digest x", &long, "\u{ff}"]
        {
            assert!(Credential::of_header(header.as_bytes()).is_none(), "{header}");
        }
        assert!(Credential::of_header(&[0xff, b' ', b'x']).is_none());
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert!(!format!("{:?}", Credential { id: "a".into(), secret: Secret::new("hidden") }).contains("hidden"));
    }
}

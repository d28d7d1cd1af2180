//! What a request shows of who asks: a token in its header, or the cookie of somebody who has signed in.

use eddy_authz::{Credential, Token, session_of_cookies};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue, Method};

use crate::origin::is_same_origin;
use crate::problem::Problem;

/// A secret, not yet looked at.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which.
    pub secret: Token,
    /// A browser showed it by itself, in a cookie: only sessions are shown so.
    pub is_cookie: bool,
}

/// Why nothing is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    /// There is nothing, something else, or more than one.
    #[error("sign in, or show a token: Authorization: Bearer eddy_<id>_<secret>")]
    Nothing,
    /// A browser shows its cookies for whoever's page makes it ask.
    #[error("a page of another site asks for this")]
    OfAnotherSite,
}

impl From<NotShown> for Problem {
    fn from(why: NotShown) -> Self {
        match why {
            NotShown::Nothing => Self::unauthorized(why.to_string()),
            NotShown::OfAnotherSite => Self::forbidden(why.to_string()),
        }
    }
}

impl Shown {
    /// That of one request: of its one `Authorization`, or, where there is none, of its cookies, which pages of other sites change nothing by.
    ///
    /// # Errors
    /// See [`NotShown`].
    pub fn of(method: &Method, headers: &HeaderMap) -> Result<Self, NotShown> {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        match (shown.next(), shown.next()) {
            (Some(header), None) => {
                let token = Credential::of_header(header.as_bytes()).and_then(|credential| credential.into_token().0);
                token.map(|secret| Self { secret, is_cookie: false }).ok_or(NotShown::Nothing)
            }
            (None, _) => {
                let secret = session_of_cookies(headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes));
                let secret = secret.ok_or(NotShown::Nothing)?;
                let is_harmless = method.is_safe() || is_same_origin(headers);
                if is_harmless { Ok(Self { secret, is_cookie: true }) } else { Err(NotShown::OfAnotherSite) }
            }
            _ => Err(NotShown::Nothing),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_header_counts_or_else_the_cookie_of_a_page_of_this_site() {
        let token = Token::draw().unwrap();
        let (bearer, cookie) = (format!("Bearer {}", token.expose()), format!("a=b; __Host-eddy={}", token.expose()));
        let of = |method: Method, headers: &[(&'static str, &str)]| {
            let mut all = HeaderMap::new();
            for (name, value) in headers {
                all.append(*name, value.parse().unwrap());
            }
            Shown::of(&method, &all).map(|shown| (shown.secret.id().to_owned(), shown.is_cookie))
        };
        let id = token.id().to_owned();
        assert_eq!(of(Method::DELETE, &[("authorization", &bearer)]), Ok((id.clone(), false)));
        assert_eq!(of(Method::GET, &[("cookie", &cookie)]), Ok((id.clone(), true)));
        assert_eq!(of(Method::POST, &[("cookie", &cookie), ("sec-fetch-site", "same-origin")]), Ok((id, true)));
        assert_eq!(of(Method::POST, &[("cookie", &cookie)]), Err(NotShown::OfAnotherSite));
        assert_eq!(of(Method::POST, &[("cookie", &cookie), ("sec-fetch-site", "cross-site")]), Err(NotShown::OfAnotherSite));
        for nothing in [
            &[][..],
            &[("authorization", "Bearer x")],
            &[("authorization", "Bearer x"), ("cookie", &cookie)],
            &[("authorization", &bearer), ("authorization", &bearer)],
            &[("cookie", &cookie), ("cookie", &cookie)],
            &[("cookie", "__Host-eddy=x")],
        ] {
            assert_eq!(of(Method::GET, nothing), Err(NotShown::Nothing), "{nothing:?}");
        }
    }
}

//! Whom a Route lets in: whoever shows a token that holds the scopes which it requires.

use eddy_authz::feed::Feed;
use eddy_authz::{Action, Credential, Kind, Principal, Refused, Resource, Scope, ScopeError};
use eddy_crds::RouteSpec;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::refusal::Refusal;

/// One thing that whoever is let in must be allowed to do.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Required {
    action: Action,
    kind: Kind,
    owner: Box<str>,
    /// Empty for all of the kind.
    id: Box<str>,
}

/// Everything that whoever is let in must be allowed to do; nothing where everyone is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requirement(Box<[Required]>);

impl Requirement {
    /// What a Route requires.
    ///
    /// # Errors
    /// That one of its scopes is none: it must not be served without.
    pub(crate) fn of(spec: &RouteSpec) -> Result<Self, ScopeError> {
        let mut all = Vec::new();
        for written in &spec.required_scopes {
            let scope = Scope::parse(&written.scope, written.actions.iter().map(String::as_str))?;
            all.extend(scope.actions.iter().map(|action| Required {
                action,
                kind: scope.kind,
                owner: scope.owner.clone(),
                id: scope.id.clone().unwrap_or_default(),
            }));
        }
        Ok(Self(all.into()))
    }

    /// Whether everyone is let in.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The user whom a request with these headers is let in as.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn admit(&self, headers: &HeaderMap, feed: Option<&Feed>) -> Result<Box<str>, Refusal> {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let (Some(header), None) = (shown.next(), shown.next()) else { return Err(Refusal::Unauthorized) };
        let credential = Credential::of_header(header.as_bytes()).ok_or(Refusal::Unauthorized)?;
        let token = credential.into_token().0.ok_or(Refusal::Unauthorized)?;
        let feed = feed.ok_or(Refusal::Stale)?;
        let who = feed.authenticate(&token).map_err(|refused| match refused {
            Refused::Stale => Refusal::Stale,
            Refused::Unknown | Refused::Expired | Refused::Suspended => Refusal::Unauthorized,
        })?;
        let may = |who: &Principal| self.0.iter().all(|required| required.is_given(who, feed));
        match who.once_fresh() {
            _ if may(&who) => Ok(who.user().into()),
            Some(fresh) if may(&fresh) => Err(Refusal::Stale),
            _ => Err(Refusal::Forbidden),
        }
    }
}

impl Required {
    fn is_given(&self, who: &Principal, feed: &Feed) -> bool {
        let resource = Resource { owner: &self.owner, kind: self.kind, id: &self.id };
        feed.permissions().may(who, self.action, &resource)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use eddy_authz::feed::Ages;
    use eddy_authz::{Entry, Permissions, Scopes, Token, TokenEntry, UserEntry, token_key, user_key};

    use super::*;

    fn requirement(scopes: &[(&str, &[&str])]) -> Result<Requirement, ScopeError> {
        let scope = |(scope, actions): &(&str, &[&str])| eddy_crds::Scope {
            scope: (*scope).to_owned(),
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        };
        Requirement::of(&RouteSpec { required_scopes: scopes.iter().map(scope).collect(), ..RouteSpec::default() })
    }

    fn token(permissions: &Permissions, user: &str, scopes: Option<Scopes>) -> String {
        let token = Token::draw().unwrap();
        let (user, name, hash) = (user.into(), "t".into(), token.hash());
        let entry = TokenEntry { user, name, account: None, scopes, hash, expires_s: None };
        permissions.set(&token_key(token.id()), Some(&Entry::Token(entry).to_bytes().unwrap()));
        token.expose().to_owned()
    }

    #[test]
    fn whoever_holds_what_is_required_is_let_in() {
        let permissions = Permissions::default();
        for user in ["ada", "bob"] {
            permissions.set(&user_key(user), Some(&Entry::User(UserEntry::default()).to_bytes().unwrap()));
        }
        let open: Scopes = [Scope::parse("networking.ada.routes.web", ["open"]).unwrap()].into_iter().collect();
        let [all, some, bob, claims] = [("ada", None), ("ada", Some(open.clone())), ("bob", None), ("bob", Some(open))]
            .map(|(user, scopes)| token(&permissions, user, scopes));
        let feed = Feed::fixed(permissions);
        let web = requirement(&[("networking.ada.routes.web", &["open"])]).unwrap();
        let both = requirement(&[("networking.ada.routes.web", &["open"]), ("storage.ada.files", &["read"])]).unwrap();
        let admit = |requirement: &Requirement, shown: &[&str]| {
            let headers = shown.iter().map(|value| (AUTHORIZATION, value.parse().unwrap())).collect();
            requirement.admit(&headers, Some(&feed)).map(String::from)
        };
        let bearer = |token: &str| format!("Bearer {token}");
        assert_eq!(admit(&web, &[&bearer(&all)]).as_deref(), Ok("ada"));
        assert_eq!(admit(&web, &[&bearer(&some)]).as_deref(), Ok("ada"));
        assert_eq!(admit(&both, &[&bearer(&some)]), Err(Refusal::Forbidden));
        for other in [&bob, &claims] {
            assert_eq!(admit(&web, &[&bearer(other)]), Err(Refusal::Forbidden));
        }
        for wrong in [&[][..], &["Bearer x"], &[&bearer(&all[..all.len() - 1])], &[&bearer(&all), &bearer(&all)]] {
            assert_eq!(admit(&web, wrong), Err(Refusal::Unauthorized), "{wrong:?}");
        }
        let headers = [(AUTHORIZATION, bearer(&all).parse().unwrap())].into_iter().collect();
        assert_eq!(web.admit(&headers, None), Err(Refusal::Stale), "nobody is known without what identity says");
    }

    #[test]
    fn opening_only_reads_and_goes_on_longer() {
        let permissions = Permissions::default();
        permissions.set(&user_key("ada"), Some(&Entry::User(UserEntry::default()).to_bytes().unwrap()));
        let token = token(&permissions, "ada", None);
        let ages = Ages { writes_max: Duration::ZERO, reads_max: Duration::from_secs(60) };
        let feed = Feed::fixed_at(permissions, ages, Duration::from_secs(5));
        let headers = [(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())].into_iter().collect();
        let admit = |action: &str, scope: &str| requirement(&[(scope, &[action])]).unwrap().admit(&headers, Some(&feed));
        assert_eq!(admit("open", "networking.ada.routes.web").as_deref(), Ok("ada"));
        assert_eq!(admit("write", "storage.ada.files").unwrap_err(), Refusal::Stale);
    }

    #[test]
    fn what_is_no_scope_is_no_requirement() {
        assert!(requirement(&[("networking.ada.roads", &["open"])]).is_err());
        assert!(requirement(&[]).unwrap().is_empty());
    }
}

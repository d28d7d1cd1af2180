//! All that permissions are made of, and what changes of them when one of it does.
//!
//! What belongs to one user is worked out together and apart from all others, so that a change costs what one user has.

use std::collections::{BTreeMap, BTreeSet};

use eddy_authz::Entry;
use eddy_crds::tenant_of;
use kube::ResourceExt;
use kube::runtime::watcher::Event;

use crate::fact::{Fact, Says};

/// What happened to an object.
pub(crate) enum Change {
    /// It is so now.
    There(Place, Fact),
    /// It is gone.
    Gone(Place),
    /// These are all of a kind, and there are no others.
    All(&'static str, Vec<(Place, Fact)>),
}

/// Which object: whose, of which kind, of which name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    owner: String,
    kind: &'static str,
    name: String,
}

/// Events of one kind, as changes.
pub(crate) struct Listing<K>(Option<Vec<(Place, Fact)>>, std::marker::PhantomData<K>);

impl<K: Says> Default for Listing<K> {
    fn default() -> Self {
        Self(None, std::marker::PhantomData)
    }
}

impl<K: Says> Listing<K> {
    /// What an event means. Objects in no core namespace are nobody's, and mean nothing.
    pub(crate) fn change(&mut self, event: Event<K>) -> Option<Change> {
        match event {
            Event::Init => {
                self.0 = Some(Vec::new());
                None
            }
            Event::InitApply(object) => {
                let found = place(&object).map(|place| (place.clone(), Fact::of(&object, &place.owner)));
                self.0.get_or_insert_default().extend(found);
                None
            }
            Event::InitDone => Some(Change::All(K::KIND, self.0.take().unwrap_or_default())),
            Event::Apply(object) => {
                let place = place(&object)?;
                let fact = Fact::of(&object, &place.owner);
                Some(Change::There(place, fact))
            }
            Event::Delete(object) => place(&object).map(Change::Gone),
        }
    }
}

impl Place {
    /// What is of a user, of this kind and name.
    pub(crate) fn new(owner: &str, kind: &'static str, name: &str) -> Self {
        Self { owner: owner.to_owned(), kind, name: name.to_owned() }
    }
}

fn place<K: Says>(object: &K) -> Option<Place> {
    let name = object.name_any();
    let owner = match &object.meta().namespace {
        Some(namespace) => tenant_of(namespace)?.to_owned(),
        None => name.clone(),
    };
    Some(Place { owner, kind: K::KIND, name })
}

/// All that permissions are made of.
#[derive(Debug, Default)]
pub(crate) struct World {
    facts: BTreeMap<Place, Fact>,
    /// What is said by now, by user and key.
    said: BTreeMap<String, BTreeMap<String, Entry>>,
    /// Whose key it is: no two users have one.
    owners: BTreeMap<String, String>,
    touched: BTreeSet<String>,
    listed: BTreeSet<&'static str>,
}

impl World {
    /// Takes in a change.
    pub(crate) fn take(&mut self, change: Change) {
        match change {
            Change::There(place, fact) => {
                self.touched.insert(place.owner.clone());
                self.facts.insert(place, fact);
            }
            Change::Gone(place) => {
                self.touched.insert(place.owner.clone());
                self.facts.remove(&place);
            }
            Change::All(kind, all) => {
                self.listed.insert(kind);
                let gone: Vec<Place> = self.facts.keys().filter(|place| place.kind == kind).cloned().collect();
                for place in gone {
                    self.take(Change::Gone(place));
                }
                for (place, fact) in all {
                    self.take(Change::There(place, fact));
                }
            }
        }
    }

    /// Whether all of these kinds were listed: before that, what is missing may only be still to come.
    pub(crate) fn knows(&self, kinds: &[&str]) -> bool {
        kinds.iter().all(|kind| self.listed.contains(kind))
    }

    /// What changed of what is to be said since this was last asked: entries, and keys without any. What takes something away comes first.
    pub(crate) fn changes(&mut self) -> Vec<(String, Option<Entry>)> {
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        for user in std::mem::take(&mut self.touched) {
            let before = self.said.remove(&user).unwrap_or_default();
            let now = self.entries(&user);
            for key in before.keys().filter(|key| !now.contains_key(*key)) {
                self.owners.remove(key);
                gone.push((key.clone(), None));
            }
            for (key, entry) in &now {
                if before.get(key) != Some(entry) {
                    self.owners.insert(key.clone(), user.clone());
                    new.push((key.clone(), Some(entry.clone())));
                }
            }
            if !now.is_empty() {
                self.said.insert(user, now);
            }
        }
        gone.extend(new);
        gone
    }

    /// All that is to be said, as of the last [`World::changes`].
    pub(crate) fn all(&self) -> BTreeMap<String, Entry> {
        self.said.values().flatten().map(|(key, entry)| (key.clone(), entry.clone())).collect()
    }

    /// How many entries that is.
    pub(crate) fn len(&self) -> usize {
        self.said.values().map(BTreeMap::len).sum()
    }

    /// What is to be said of a user and of all that is theirs: nothing, if they are not there. What is older than its user was of another
    /// of the same name, and counts for nothing.
    fn entries(&self, user: &str) -> BTreeMap<String, Entry> {
        let first = Place { owner: user.to_owned(), kind: "", name: String::new() };
        let theirs = || self.facts.range(&first..).take_while(|(place, _)| place.owner == user);
        let themselves = theirs().find(|(place, fact)| place.kind == eddy_crds::User::KIND && !fact.entries.is_empty());
        let Some((_, themselves)) = themselves else { return BTreeMap::new() };
        let (mut entries, mut doubled) = (BTreeMap::new(), BTreeSet::new());
        for (key, entry) in theirs().filter(|(_, fact)| fact.made >= themselves.made).flat_map(|(_, fact)| &fact.entries) {
            let is_another_s = self.owners.get(key).is_some_and(|owner| owner != user);
            if is_another_s || entries.insert(key.clone(), entry.clone()).is_some() {
                doubled.insert(key.clone());
            }
        }
        for key in doubled {
            tracing::warn!(key, user, "two Tokens have a secret of one id: it is not accepted");
            entries.remove(&key);
        }
        entries
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use eddy_authz::{Action, Kind, Permissions, Refused, Resource as Asked};
    use eddy_crds::{
        Access, Container, ContainerSpec, ServiceAccount, ServiceAccountSpec, Token, TokenSecret, TokenSpec, TokenStatus, User,
        UserSpec,
    };
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kube::Resource;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn object<K: Resource>(mut object: K, core: Option<&str>, made_s: i64) -> K {
        object.meta_mut().namespace = core.map(str::to_owned);
        object.meta_mut().creation_timestamp = Some(at(made_s));
        object
    }

    fn user(name: &str, made_s: i64) -> User {
        object(User::new(name, UserSpec::default()), None, made_s)
    }

    fn token(core: &str, made_s: i64, spec: TokenSpec, drawn: &eddy_authz::Token, ends_s: Option<i64>) -> Token {
        let mut token = Token::new("t", spec);
        let secret = TokenSecret {
            id: drawn.id().to_owned(),
            hash: drawn.hash().to_string(),
            issued_at: at(made_s),
            expires_at: ends_s.map(at),
        };
        token.status = Some(TokenStatus { secrets: vec![secret], ..TokenStatus::default() });
        object(token, Some(core), made_s)
    }

    fn written(scope: &str, action: &str) -> eddy_crds::Scope {
        eddy_crds::Scope { scope: scope.into(), actions: vec![action.into()] }
    }

    /// A world, and what whoever follows it knows.
    #[derive(Default)]
    struct Followed(World, Permissions);

    impl Followed {
        fn put<K: Says>(&mut self, object: K) -> &mut Self {
            self.event(Event::Apply(object))
        }

        fn event<K: Says>(&mut self, event: Event<K>) -> &mut Self {
            if let Some(change) = Listing::default().change(event) {
                self.0.take(change);
            }
            for (key, entry) in self.0.changes() {
                self.1.set(&key, entry.map(|entry| entry.to_bytes().unwrap()).as_deref());
            }
            assert_eq!(self.0.all().len(), self.1.len());
            self
        }

        fn may(&self, token: &eddy_authz::Token, action: Action, now_s: i64) -> Result<bool, Refused> {
            let who = self.1.authenticate(token, now_s)?;
            Ok(self.1.may(&who, action, &Asked { owner: "ada", kind: Kind::Files, id: "x" }))
        }
    }

    #[test]
    fn a_token_may_what_its_objects_say() {
        let drawn = eddy_authz::Token::draw().unwrap();
        let account = |action| {
            let scopes = vec![written("storage.ada.files", action)];
            object(ServiceAccount::new("ci", ServiceAccountSpec { scopes, ..ServiceAccountSpec::default() }), Some("u-ada"), 2)
        };
        let spec = TokenSpec { service_account: Some("ci".into()), expires_at: Some(at(50)), ..TokenSpec::default() };
        let mut followed = Followed::default();
        followed.put(token("u-ada", 2, spec, &drawn, Some(40))).put(account("read")).put(user("ada", 1));
        assert_eq!((followed.may(&drawn, Action::Read, 39), followed.may(&drawn, Action::Write, 39)), (Ok(true), Ok(false)));
        assert_eq!(followed.may(&drawn, Action::Read, 40), Err(Refused::Expired), "the earlier end counts");
        followed.put(account("write"));
        assert_eq!(followed.may(&drawn, Action::Read, 39), Ok(false));
    }

    #[test]
    fn what_is_nobody_s_grants_nothing() {
        let one = eddy_authz::Token::draw().unwrap();
        let of = |core, made_s| token(core, made_s, TokenSpec::default(), &one, None);
        let known = |objects: (Option<User>, Token)| {
            let mut followed = Followed::default();
            if let Some(user) = objects.0 {
                followed.put(user);
            }
            followed.put(objects.1).may(&one, Action::Read, 0)
        };
        assert_eq!(known((Some(user("ada", 1)), of("u-ada", 1))), Ok(true));
        assert_eq!(known((None, of("u-ada", 1))), Err(Refused::Unknown));
        assert_eq!(known((Some(user("ada", 1)), of("default", 1))), Err(Refused::Unknown));
        assert_eq!(known((Some(user("ada", 1)), of("u-adam", 1))), Err(Refused::Unknown));
        assert_eq!(known((Some(user("ada", 2)), of("u-ada", 1))), Err(Refused::Unknown), "of another of the same name");
        let (mut gone, mut leaving) = (user("ada", 1), of("u-ada", 1));
        gone.metadata.deletion_timestamp = Some(at(5));
        assert_eq!(known((Some(gone), of("u-ada", 1))), Err(Refused::Unknown));
        leaving.metadata.deletion_timestamp = Some(at(5));
        assert_eq!(known((Some(user("ada", 1)), leaving)), Err(Refused::Unknown));
    }

    #[test]
    fn an_id_that_two_have_is_not_taken_from_whoever_had_it() {
        let one = eddy_authz::Token::draw().unwrap();
        let mut followed = Followed::default();
        followed.put(user("ada", 1)).put(user("eve", 1)).put(token("u-ada", 1, TokenSpec::default(), &one, None));
        followed.put(token("u-eve", 1, TokenSpec::default(), &one, None));
        assert_eq!(followed.1.authenticate(&one, 0).unwrap().user(), "ada");
        let mut twice = token("u-ada", 1, TokenSpec::default(), &one, None);
        twice.metadata.name = Some("other".into());
        followed.put(twice);
        assert_eq!(followed.may(&one, Action::Read, 0), Err(Refused::Unknown), "of one user it is nobody's");
    }

    #[test]
    fn scopes_that_are_none_are_not_all() {
        let drawn = eddy_authz::Token::draw().unwrap();
        let spec = TokenSpec { scopes: vec![written("storage.ada.disks", "read")], ..TokenSpec::default() };
        let mut followed = Followed::default();
        followed.put(user("ada", 1)).put(token("u-ada", 1, spec, &drawn, None));
        assert_eq!(followed.may(&drawn, Action::Read, 0), Ok(false));
    }

    #[test]
    fn a_container_is_shared_with_whom_it_names() {
        let manage = vec!["user/bob".into(), "serviceaccount/eve/ci".into()];
        let access = Access { exec: vec!["user/bob".into()], manage, ..Access::default() };
        let container = Container::new("web", ContainerSpec { access: Some(access), ..ContainerSpec::default() });
        let mut followed = Followed::default();
        followed.put(user("ada", 1)).put(object(container, Some("u-ada"), 1));
        let all = followed.0.all();
        let Some(Entry::Access(access)) = all.get("access.containers.ada.web") else { panic!("{all:?}") };
        assert_eq!(access.0["user/bob"], ["exec", "read", "update", "delete"]);
        assert_eq!(access.0["serviceaccount/eve/ci"], ["read", "update", "delete"]);
        followed.put(object(Container::new("web", ContainerSpec::default()), Some("u-ada"), 1));
        assert_eq!(followed.0.all().len(), 1);
    }

    #[test]
    fn a_change_is_said_once_and_a_list_says_who_is_gone() {
        let (one, two) = (eddy_authz::Token::draw().unwrap(), eddy_authz::Token::draw().unwrap());
        let mut world = World::default();
        let mut tokens = Listing::default();
        let mut put = |world: &mut World, event| {
            if let Some(change) = tokens.change(event) {
                world.take(change);
            }
        };
        world.take(Listing::default().change(Event::Apply(user("ada", 1))).unwrap());
        assert!(!world.knows(&["Token"]));
        for event in [Event::Init, Event::InitApply(token("u-ada", 1, TokenSpec::default(), &one, None)), Event::InitDone] {
            put(&mut world, event);
        }
        assert!(world.knows(&["Token"]) && !world.knows(&["Token", "User"]));
        assert_eq!((world.changes().len(), world.changes().len()), (2, 0));
        // The same again is nothing new.
        put(&mut world, Event::Apply(token("u-ada", 1, TokenSpec::default(), &one, None)));
        assert!(world.changes().is_empty());
        for event in [Event::Init, Event::InitApply(token("u-ada", 1, TokenSpec::default(), &two, None)), Event::InitDone] {
            put(&mut world, event);
        }
        let keys: Vec<_> = world.changes().into_iter().map(|(key, entry)| (key, entry.is_some())).collect();
        assert_eq!(keys, [(eddy_authz::token_key(one.id()), false), (eddy_authz::token_key(two.id()), true)]);
        put(&mut world, Event::Delete(token("u-ada", 1, TokenSpec::default(), &two, None)));
        assert_eq!(world.changes(), [(eddy_authz::token_key(two.id()), None)]);
    }
}

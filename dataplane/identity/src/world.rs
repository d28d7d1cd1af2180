//! All that permissions are made of, and what changes of them when one of it does.
//!
//! What belongs to one user is worked out together and apart from all others, so that a change costs what one user has.

use std::collections::{BTreeMap, BTreeSet};

use eddy_authz::Entry;
use eddy_crds::tenant_of;
use jiff::Timestamp;
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

/// What is to be said of a user.
#[derive(Default)]
struct Said {
    entries: BTreeMap<String, Entry>,
    /// Keys that two of their objects say.
    doubled: BTreeSet<String>,
    /// Keys that are another's.
    denied: BTreeSet<String>,
}

/// All that permissions are made of.
#[derive(Debug, Default)]
pub(crate) struct World {
    facts: BTreeMap<Place, Fact>,
    /// What is said by now, by user and key.
    said: BTreeMap<String, BTreeMap<String, Entry>>,
    /// Whose key it is: no two users have one.
    owners: BTreeMap<String, String>,
    /// Who says a key that is another's.
    denied: BTreeSet<(String, String)>,
    /// Keys that two objects of their owner say, so that it says nothing, and nobody else gets it.
    doubled: BTreeSet<(String, String)>,
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
        let mut changed = BTreeSet::new();
        while let Some(user) = self.touched.pop_first() {
            self.say_again(&user, &mut changed);
        }
        let said = |key: String| {
            let entry = self.owners.get(&key).and_then(|owner| self.said.get(owner)?.get(&key)).cloned();
            (key, entry)
        };
        let mut all: Vec<_> = changed.into_iter().map(said).collect();
        all.sort_by_key(|(_, entry)| entry.is_some());
        all
    }

    /// What is to be said of a user by now; whoever that gives room to, or takes it from, is touched.
    fn say_again(&mut self, user: &str, changed: &mut BTreeSet<String>) {
        let before = self.said.remove(user).unwrap_or_default();
        self.denied.retain(|(_, denied)| denied != user);
        let were_doubled: Vec<_> = self.doubled.extract_if(.., |(_, doubled)| doubled == user).map(|(key, _)| key).collect();
        let Said { entries: now, doubled, denied } = self.entries(user);
        let with_user = |key: String| (key, user.to_owned());
        self.denied.extend(denied.into_iter().map(with_user));
        self.owners.extend(doubled.iter().cloned().map(with_user));
        for key in before.keys().chain(&were_doubled).filter(|key| !now.contains_key(*key)) {
            if !doubled.contains(key) && self.owners.get(key).is_some_and(|owner| owner == user) {
                self.owners.remove(key);
                let waiting = self.denied.iter().filter(|(denied, other)| denied == key && other != user);
                self.touched.extend(waiting.map(|(_, other)| other.clone()));
            }
            changed.insert(key.clone());
        }
        for (key, entry) in &now {
            if before.get(key) != Some(entry) {
                let owner = self.owners.insert(key.clone(), user.to_owned());
                self.touched.extend(owner.filter(|owner| owner != user));
                changed.insert(key.clone());
            }
        }
        self.doubled.extend(doubled.into_iter().map(with_user));
        if !now.is_empty() {
            self.said.insert(user.to_owned(), now);
        }
    }

    /// All that is to be said, as of the last [`World::changes`].
    pub(crate) fn all(&self) -> BTreeMap<String, Entry> {
        self.said.values().flatten().map(|(key, entry)| (key.clone(), entry.clone())).collect()
    }

    /// The Token that a secret of this id is of: whose, and its name.
    pub(crate) fn token(&self, id: &str) -> Option<(String, String)> {
        let key = eddy_authz::token_key(id);
        let user = self.owners.get(&key)?;
        match self.said.get(user)?.get(&key)? {
            Entry::Token(token) => Some((user.clone(), token.name.to_string())),
            _ => None,
        }
    }

    /// How many entries that is.
    pub(crate) fn len(&self) -> usize {
        self.said.values().map(BTreeMap::len).sum()
    }

    /// What is to be said of a user and of all that is theirs: nothing, if they are not there. What is older than its user was of another
    /// of the same name, and counts for nothing.
    fn entries(&self, user: &str) -> Said {
        let mut said = Said::default();
        let Some(since) = self.since(user) else { return said };
        for (key, entry) in self.of(user).filter(|(_, fact)| fact.made >= since).flat_map(|(_, fact)| &fact.entries) {
            // Of two, it is whose user is older: it stays so, whoever looks in which order.
            let is_older_s = |owner: &&String| {
                *owner != user && self.since(owner).is_some_and(|theirs| (theirs, owner.as_str()) < (since, user))
            };
            if self.owners.get(key).filter(is_older_s).is_some() {
                said.denied.insert(key.clone());
            } else if said.entries.insert(key.clone(), entry.clone()).is_some() {
                said.doubled.insert(key.clone());
            }
        }
        for key in said.doubled.iter().chain(&said.denied) {
            tracing::warn!(
                key,
                user,
                "two objects say what only one may, as the id of a secret or a subject of a provider: it does not count"
            );
        }
        for key in &said.doubled {
            said.entries.remove(key);
        }
        said
    }

    /// When a user became one, if they are there.
    fn since(&self, user: &str) -> Option<Option<Timestamp>> {
        let themselves = self.of(user).find(|(place, fact)| place.kind == eddy_crds::User::KIND && !fact.entries.is_empty());
        themselves.map(|(_, fact)| fact.made)
    }

    /// All that is of a user.
    fn of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = (&'a Place, &'a Fact)> {
        let first = Place { owner: user.to_owned(), kind: "", name: String::new() };
        self.facts.range(first..).take_while(move |(place, _)| place.owner == user)
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
        followed.put(twice.clone());
        assert_eq!(followed.may(&one, Action::Read, 0), Err(Refused::Unknown), "of one user it is nobody's");
        followed.event(Event::Delete(twice));
        assert_eq!(followed.1.authenticate(&one, 0).unwrap().user(), "ada");
        followed.event(Event::Delete(token("u-ada", 1, TokenSpec::default(), &one, None)));
        assert_eq!(followed.1.authenticate(&one, 0).unwrap().user(), "eve");
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

    #[test]
    fn of_two_users_who_say_one_subject_the_older_has_it_until_they_do_not() {
        let subject = eddy_crds::OidcSubject { issuer: "https://id.example".into(), subject: "7".into() };
        let digest = eddy_authz::subject_digest("https://id.example", "7");
        let says = |name: &str, made_s, does: bool| {
            let oidc_subjects = if does { vec![subject.clone()] } else { Vec::new() };
            object(User::new(name, UserSpec { oidc_subjects, ..UserSpec::default() }), None, made_s)
        };
        let whose = |followed: &Followed| followed.1.user_of_subject(&digest).map(|user| user.to_string());
        // Whoever is looked at first.
        for names in [["ada", "zoe"], ["zoe", "ada"]] {
            let mut followed = Followed::default();
            for name in names {
                followed.put(says(name, if name == "zoe" { 1 } else { 2 }, true));
            }
            assert_eq!(whose(&followed).as_deref(), Some("zoe"));
            followed.put(says("zoe", 1, false));
            assert_eq!(whose(&followed).as_deref(), Some("ada"), "who waited for it gets it");
            followed.put(says("zoe", 1, true));
            assert_eq!(whose(&followed).as_deref(), Some("zoe"));
            followed.event(Event::Delete(says("zoe", 1, true)));
            assert_eq!(whose(&followed).as_deref(), Some("ada"));
            followed.event(Event::Delete(says("ada", 2, true)));
            assert_eq!(whose(&followed), None);
        }
        // Both at once.
        let mut followed = Followed::default();
        followed.put(says("zoe", 1, true)).put(says("ada", 2, false));
        for user in [says("ada", 2, true), says("zoe", 1, false)] {
            followed.0.take(Listing::default().change(Event::Apply(user)).unwrap());
        }
        for (key, entry) in followed.0.changes() {
            followed.1.set(&key, entry.map(|entry| entry.to_bytes().unwrap()).as_deref());
        }
        assert_eq!(whose(&followed).as_deref(), Some("ada"));
    }
}

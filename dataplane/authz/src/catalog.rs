//! Everything that may be done to anything: the services, their resources, and the actions on each.

use std::fmt;

/// Names a closed set of words, each with its text.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its word in a scope.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What has this word in a scope, if anything.
            pub fn of(word: &str) -> Option<Self> {
                match word { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// A service of the platform: the first word of a scope.
    Service {
        /// Containers and virtual machines.
        Compute = "compute",
        /// Namespaces and the files in them.
        Storage = "storage",
        /// Routes, domains and networks.
        Networking = "networking",
        /// Repositories of images.
        Registry = "registry",
        /// Topics of messages.
        Queue = "queue",
        /// Databases, and collections of documents.
        Datastore = "datastore",
        /// Logs, metrics, traces, and what watches them.
        Observability = "observability",
        /// Users and what stands for them.
        Identity = "identity",
    }
}

words! {
    /// What may be done.
    Action {
        /// See which there are.
        List = "list",
        /// See it; of an object of the API, also list and watch.
        Read = "read",
        /// Make one.
        Create = "create",
        /// Change it.
        Update = "update",
        /// Remove it.
        Delete = "delete",
        /// Make or change what is in it.
        Write = "write",
        /// Let others in by a link.
        Share = "share",
        /// Run programs in it.
        Exec = "exec",
        /// Open SSH sessions.
        Ssh = "ssh",
        /// See its console.
        Console = "console",
        /// Read its log.
        Logs = "logs",
        /// Send requests through it.
        Open = "open",
        /// Fetch images.
        Pull = "pull",
        /// Put images.
        Push = "push",
        /// Send messages.
        Publish = "publish",
        /// Receive messages.
        Subscribe = "subscribe",
    }
}

impl Action {
    /// Whether nothing is changed by it, nor can be.
    pub const fn only_reads(self) -> bool {
        matches!(self, Self::List | Self::Read | Self::Logs | Self::Pull | Self::Open)
    }
}

/// Names the kinds of resources, each with its service, its word and what may be done to it.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $service:ident $text:literal [$($action:ident)+],)+) => {
        /// A kind of resource of a service: the third word of a scope.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[$doc])* $variant,)+ }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Whose service it is.
            pub const fn service(self) -> Service {
                match self { $(Self::$variant => Service::$service,)+ }
            }

            /// Its word in a scope.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What may be done to it.
            pub const fn actions(self) -> &'static [Action] {
                match self { $(Self::$variant => &[$(Action::$action,)+],)+ }
            }

            /// The kind of a service that has this word, if one has.
            pub fn of(service: Service, word: &str) -> Option<Self> {
                match (service, word) { $((Service::$service, $text) => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

kinds! {
    /// Container objects, and the pods that they are.
    Containers = Compute "containers" [Create Read Update Delete Exec Ssh Logs],
    /// Virtual machines.
    Vms = Compute "vms" [Create Read Update Delete Console Ssh Logs],
    /// Volumes that outlive what uses them.
    Volumes = Compute "volumes" [Create Read Update Delete],
    /// Namespaces of storage: their settings.
    Namespaces = Storage "namespaces" [Create Read Update Delete],
    /// What is in the namespaces of storage. An id is a namespace, or a namespace and the first folders of a path in it.
    Files = Storage "files" [List Read Write Delete Share],
    /// Routes.
    Routes = Networking "routes" [Create Read Update Delete Open],
    /// Custom domains.
    Domains = Networking "domains" [Create Read Update Delete],
    /// Private networks.
    Networks = Networking "networks" [Create Read Update Delete],
    /// Repositories of images.
    Repositories = Registry "repositories" [Create Read Update Delete Pull Push],
    /// Topics of messages.
    Topics = Queue "topics" [Create Read Update Delete Publish Subscribe],
    /// Databases.
    Databases = Datastore "databases" [Create Read Update Delete],
    /// Collections: their settings.
    Collections = Datastore "collections" [Create Read Update Delete],
    /// What is in collections. An id is a collection.
    Documents = Datastore "documents" [List Read Write Delete],
    /// What programs wrote.
    LogLines = Observability "logs" [Read],
    /// What was measured.
    Metrics = Observability "metrics" [Read],
    /// Which way requests went.
    Traces = Observability "traces" [Read],
    /// Checks that something is up.
    Checks = Observability "checks" [Create Read Update Delete],
    /// Conditions under which somebody is told.
    AlertRules = Observability "alertrules" [Create Read Update Delete],
    /// Where that is told.
    Receivers = Observability "receivers" [Create Read Update Delete],
    /// The person. Only administrators make and remove them.
    Users = Identity "users" [Create Read Update Delete],
    /// Principals that are no persons.
    ServiceAccounts = Identity "serviceaccounts" [Create Read Update Delete],
    /// Credentials of programs.
    Tokens = Identity "tokens" [Create Read Update Delete],
    /// Where a person is signed in.
    Sessions = Identity "sessions" [Read Delete],
    /// The record of who did what.
    Audit = Identity "audit" [Read],
}

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Actions(u32);

impl Actions {
    /// Whether it has an action.
    pub const fn has(self, action: Action) -> bool {
        self.0 & (1 << action as u32) != 0
    }

    /// What is in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.iter().copied().filter(move |action| self.has(*action))
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<All: IntoIterator<Item = Action>>(all: All) -> Self {
        all.into_iter().fold(Self::default(), |set, action| Self(set.0 | 1 << action as u32))
    }
}

/// The table of every resource and action, as docs/scopes.md has it.
pub fn table() -> String {
    let mut table = String::from("| service | resource | actions |\n|---|---|---|\n");
    for kind in Kind::ALL {
        let actions: Vec<String> = kind.actions().iter().map(|action| format!("`{action}`")).collect();
        table.push_str(&format!("| `{}` | `{}` | {} |\n", kind.service(), kind.as_str(), actions.join(", ")));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_what_it_says() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.service(), kind.as_str()), Some(*kind));
            assert!(kind.as_str().bytes().all(|byte| byte.is_ascii_lowercase()), "the schema of scopes takes letters only");
        }
        for action in Action::ALL {
            assert_eq!(Action::of(action.as_str()), Some(*action));
            assert!(Kind::ALL.iter().any(|kind| kind.actions().contains(action)), "{action} can be done to nothing");
        }
        for service in Service::ALL {
            assert_eq!(Service::of(service.as_str()), Some(*service));
            assert!(Kind::ALL.iter().any(|kind| kind.service() == *service), "{service} has nothing");
        }
        assert_eq!(Kind::of(Service::Compute, "files"), None);
        assert!(Action::ALL.len() <= 32, "a set of actions is 32 bits");
    }

    #[test]
    fn the_guide_has_the_table() {
        let guide = include_str!("../../../docs/scopes.md");
        assert!(guide.contains(&table()), "docs/scopes.md needs this table:\n{}", table());
    }

    #[test]
    fn sets_of_actions() {
        let set: Actions = [Action::Read, Action::Delete].into_iter().collect();
        assert!(set.has(Action::Read) && !set.has(Action::Create));
        assert_eq!(set.iter().collect::<Vec<_>>(), [Action::Read, Action::Delete]);
        let read: Actions = [Action::Read].into_iter().collect();
        assert_eq!((set.and(read), set.without(read).or(read), Actions::default().is_empty()), (read, set, true));
    }
}

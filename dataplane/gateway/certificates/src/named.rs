//! Which of the Secrets that a tenant's Routes name are read.

use std::collections::{BTreeSet, HashMap};

/// A user's Routes have so many certificates, those of the oldest Routes: each is watched by every gateway.
pub const SECRETS_A_TENANT_MAX: usize = 50;

/// Of Secrets that Routes name, each by its namespace and name and the oldest Route's first, those that are read. The operator lets gateways read
/// these, and gateways ask for no others.
pub fn readable<'a, Name: Ord>(named: impl IntoIterator<Item = (&'a str, Name)>) -> BTreeSet<(&'a str, Name)> {
    let (mut readable, mut counts) = (BTreeSet::new(), HashMap::<&str, usize>::new());
    for (namespace, secret) in named {
        let count = counts.entry(namespace).or_default();
        if *count < SECRETS_A_TENANT_MAX && readable.insert((namespace, secret)) {
            *count += 1;
        }
    }
    readable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_tenant_are_read() {
        let names: Vec<String> = (0..SECRETS_A_TENANT_MAX + 5).map(|number| format!("s{number:03}")).collect();
        // One that is named twice counts once.
        let twice = names.iter().flat_map(|name| [("u-ada", name.as_str()); 2]);
        let read = readable(twice.chain([("u-bob", "s054")]));
        assert_eq!(read.len(), SECRETS_A_TENANT_MAX + 1);
        assert!(read.contains(&("u-ada", "s049")) && !read.contains(&("u-ada", "s050")) && read.contains(&("u-bob", "s054")));
    }
}

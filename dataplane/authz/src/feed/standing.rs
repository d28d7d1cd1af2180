//! What permissions are good for that were heard of a while ago.

use std::time::Duration;

/// How old what identity says may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// For changing anything.
    pub writes_max: Duration,
    /// For reading what is not public.
    pub reads_max: Duration,
}

impl Default for Ages {
    fn default() -> Self {
        Self { writes_max: Duration::from_secs(5 * 60), reads_max: Duration::from_secs(60 * 60) }
    }
}

/// What permissions of some age are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing: who shows something cannot be known. What is public goes on being read.
    PublicOnly,
    /// Reading.
    ReadsOnly,
    /// Everything.
    Fresh,
}

impl Ages {
    /// What permissions of this age are good for; of none if nothing was ever heard.
    pub fn standing(&self, age: Option<Duration>) -> Standing {
        match age {
            Some(age) if age <= self.writes_max => Standing::Fresh,
            Some(age) if age <= self.reads_max => Standing::ReadsOnly,
            _ => Standing::PublicOnly,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_the_less() {
        let ages = Ages { writes_max: Duration::from_secs(10), reads_max: Duration::from_secs(20) };
        let at = |second| ages.standing(Some(Duration::from_secs(second)));
        assert_eq!(
            [at(0), at(10), at(11), at(20), at(21)],
            [Standing::Fresh, Standing::Fresh, Standing::ReadsOnly, Standing::ReadsOnly, Standing::PublicOnly]
        );
        assert_eq!(ages.standing(None), Standing::PublicOnly);
    }
}

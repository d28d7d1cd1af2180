//! Label selectors, as `kubectl -l` takes them.

use std::collections::BTreeMap;

use kube::core::{Expression, Selector, SelectorExt};

/// More of a selector is not read.
const BYTES_MAX: usize = 4096;

/// Why something is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no label selector: write them as app=web,tier!=front,env in (a,b),!old")]
pub(crate) struct NoSelector(String);

/// What a selector's text says. Requirements are separated by commas and all hold.
///
/// # Errors
/// That it is none.
pub(crate) fn parse(text: &str) -> Result<Selector, NoSelector> {
    let wrong = || NoSelector(text.chars().take(100).collect());
    if text.len() > BYTES_MAX {
        return Err(wrong());
    }
    requirements(text).filter(|part| !part.trim().is_empty()).map(|part| requirement(part.trim()).ok_or_else(wrong)).collect()
}

/// Whether it selects what has these labels.
pub(crate) fn matches(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    selector.selects_all() || selector.matches(labels)
}

/// Commas in parentheses separate values, not requirements.
fn requirements(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0i32;
    text.split(move |letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth <= 0
    })
}

fn requirement(part: &str) -> Option<Expression> {
    if let Some(key) = part.strip_prefix('!') {
        return Some(Expression::DoesNotExist(key_of(key)?));
    }
    for (sign, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some((key, value)) = part.split_once(sign) {
            let (key, value) = (key_of(key)?, value_of(value)?);
            return Some(if equal { Expression::Equal(key, value) } else { Expression::NotEqual(key, value) });
        }
    }
    let Some((before, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) else {
        return Some(Expression::Exists(key_of(part)?));
    };
    let values = values.split(',').map(value_of).collect::<Option<_>>()?;
    let mut words = before.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(key), Some("in"), None) => Some(Expression::In(key_of(key)?, values)),
        (Some(key), Some("notin"), None) => Some(Expression::NotIn(key_of(key)?, values)),
        _ => None,
    }
}

fn key_of(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    (!text.is_empty() && text.len() <= 317 && text.chars().all(plain)).then(|| text.to_owned())
}

fn value_of(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    (text.len() <= 63 && text.chars().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selects(text: &str) -> bool {
        let labels = [("app", "web"), ("eddy.cloud/tier", "front"), ("empty", "")];
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        matches(&parse(text).unwrap(), &labels)
    }

    #[test]
    fn a_selector_selects_as_kubectl_does() {
        for text in [
            "",
            "app=web",
            "app==web",
            "app != db",
            "eddy.cloud/tier",
            "!old",
            "app in (web, db)",
            "none notin (a,b)",
            "empty=",
            " app = web , !old ",
            "app in (web),eddy.cloud/tier notin (back)",
        ] {
            assert!(selects(text), "{text:?}");
        }
        for text in ["app=db", "app!=web", "old", "!app", "app in (db)", "app notin (web)", "app=web,old"] {
            assert!(!selects(text), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_selector_is_told_so() {
        for text in ["=web", "a b", "app in web", "app in (web", "app within (a)", "a=b=c", "app in (a) b", "ä", "!", "a=b c"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse(&"a".repeat(BYTES_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_read_or_refused(text in ".{0,60}") {
            let _ = parse(&text);
        }
    }
}

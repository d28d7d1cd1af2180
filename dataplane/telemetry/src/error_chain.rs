//! An error in one line.

use std::error::Error;

/// An error and its causes on one line.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let mut text = error.to_string();
    for cause in causes.map(ToString::to_string) {
        // Some libraries print the cause in the error as well.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Cause {
        text: &'static str,
        #[source]
        source: Option<Box<Cause>>,
    }

    #[test]
    fn each_cause_is_said_once() {
        let innermost = Cause { text: "no such file", source: None };
        let middle = Cause { text: "failed to read: no such file", source: Some(Box::new(innermost)) };
        let outermost = Cause { text: "failed to start", source: Some(Box::new(middle)) };
        assert_eq!(error_chain(&outermost), "failed to start: failed to read: no such file");
    }
}

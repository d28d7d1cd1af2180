//! Why something was not done, and the exit code that says so to scripts.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Deserialize;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("failed to start")]
    Runtime(#[source] std::io::Error),
    #[error("you are not signed in: run eddy login https://<your cloud>, or set EDDY_URL and EDDY_TOKEN")]
    NotSignedIn,
    #[error("there is no context {0:?}: eddy context list shows all")]
    NoContext(String),
    #[error("{0}")]
    Wrong(String),
    #[error("failed to {verb} {path}")]
    File { verb: &'static str, path: PathBuf, source: std::io::Error },
    #[error("failed to understand {path}")]
    Config { path: PathBuf, source: serde_json::Error },
    #[error("failed to understand {origin}: {source}")]
    Yaml { origin: String, source: Box<serde_saphyr::Error> },
    #[error("failed to reach {url}")]
    Unreachable { url: String, source: reqwest::Error },
    #[error("{url} answers what this program does not understand: is it an Eddy of this version?")]
    Strange { url: String },
    #[error("{0}")]
    Refused(Problem),
    #[error("{failed} of {all} were not done")]
    Some { failed: usize, all: usize },
    #[error("there is nothing at {0}")]
    NotThere(String),
    #[error("{0}")]
    NotDone(String),
    #[error("failed to read standard input")]
    Input(#[source] std::io::Error),
}

/// What the cloud says it does not do (RFC 9457).
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Problem {
    #[serde(default)]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) detail: String,
    #[serde(default)]
    pub(crate) errors: Vec<FieldError>,
}

/// One field that is wrong.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.detail, self.code)?;
        for error in self.errors.iter().filter(|error| !self.detail.contains(&error.message)) {
            write!(formatter, "\n  {}: {}", error.field, error.message)?;
        }
        Ok(())
    }
}

impl CliError {
    /// What a file was not.
    pub(crate) fn file(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { verb, path, source }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Wrong(_) | Self::NoContext(_) | Self::Yaml { .. } => 2,
            Self::NotSignedIn => 3,
            Self::NotThere(_) => 4,
            // Wrong in itself, whoever would be reached.
            Self::Unreachable { source, .. } if source.is_builder() => 2,
            Self::Unreachable { .. } => 6,
            Self::Refused(problem) => match problem.status {
                401 | 403 => 3,
                404 | 410 => 4,
                409 | 412 => 5,
                408 | 429 | 502..=504 => 6,
                400..=499 => 7,
                _ => 1,
            },
            _ => 1,
        }
    }

    /// Whether it may go the next time, as it is.
    pub(crate) fn is_passing(&self) -> bool {
        self.exit_code() == 6
    }

    /// Says it on standard error, with all that led to it.
    pub(crate) fn tell(&self) -> ExitCode {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(source) = cause {
            let said = source.to_string();
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = source.source();
        }
        eprintln!("error: {text}");
        ExitCode::from(self.exit_code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_can_tell_why() {
        let refused = |status| CliError::Refused(Problem { status, ..Problem::default() }).exit_code();
        assert_eq!([401, 403, 404, 409, 412, 422, 429, 500, 503].map(refused), [3, 3, 4, 5, 5, 7, 6, 1, 6]);
        assert_eq!(CliError::NotSignedIn.exit_code(), 3);
    }

    #[test]
    fn a_problem_says_which_fields_are_wrong() {
        let text =
            r#"{"status": 422, "code": "Invalid", "detail": "no", "errors": [{"field": "spec.image", "message": "too long"}]}"#;
        let problem: Problem = serde_json::from_str(text).unwrap_or_default();
        assert_eq!(problem.to_string(), "no (Invalid)\n  spec.image: too long");
    }
}

//! Running other programs to their end.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program and returns what it printed; its error output is part of the error if it fails.
pub(crate) fn output<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = S>) -> Result<String> {
    run(Command::new(program.as_ref()).args(arguments), None)
}

/// The same, with some standard input.
pub(crate) fn run(command: &mut Command, input: Option<&str>) -> Result<String> {
    let line = format!("{command:?}");
    let mut child = command
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {line}"))?;
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        pipe.write_all(input.as_bytes()).with_context(|| format!("failed to write to {line}"))?;
    }
    let finished = child.wait_with_output().with_context(|| format!("failed to wait for {line}"))?;
    if !finished.status.success() {
        bail!("{line} failed ({}): {}", finished.status, String::from_utf8_lossy(&finished.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&finished.stdout).into_owned())
}

/// Runs a program whose failure means that there was nothing to do.
pub(crate) fn attempt<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) {
    let _ = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

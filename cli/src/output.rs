//! How results are shown to people.

use std::fmt;
use std::io::{self, Write, stdout};

use jiff::Timestamp;
use nix::sys::signal::{SigHandler, Signal, raise, signal};
use serde_json::Value;

/// Writes a line to standard output, as `println!` does for programs that may fail at it.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::output::line(format_args!($($text)*))
    };
}
pub(crate) use say;

/// Writes a line to standard output.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let mut output = stdout().lock();
    let written = output.write_fmt(format_args!("{text}\n")).and_then(|()| output.flush());
    end_if_read_enough(&written);
    if let Err(error) = written {
        eprintln!("error: failed to write to standard output: {error}");
    }
}

/// Whoever reads what is written may have read enough, as head has: this ends then as other programs do, by a signal. The signal itself is
/// ignored until then, since connections would raise it, too.
pub(crate) fn end_if_read_enough(written: &io::Result<()>) {
    if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        // SAFETY: the default is put back, and no handler of ours is replaced.
        let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
        let _ = raise(Signal::SIGPIPE);
    }
}

/// Rows in columns that are as wide as they need to be.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let longest = rows.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count())).max();
            longest.unwrap_or(0).max(head[column].chars().count())
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("   ").trim_end().to_owned()
    };
    let mut text = vec![line(&mut head.iter().copied())];
    text.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    text.join("\n")
}

/// A name as a terminal may be shown it: nothing in it is for the terminal.
pub(crate) fn shown(name: &str) -> String {
    name.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// The status and the reason of an object's condition `Ready`.
pub(crate) fn ready(object: &Value) -> [String; 3] {
    let conditions = object["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    ["status", "reason", "message"].map(|field| ready.and_then(|ready| ready[field].as_str()).unwrap_or_default().to_owned())
}

/// How long ago that was.
pub(crate) fn age(then: &str, now: Timestamp) -> String {
    let Ok(then) = then.parse::<Timestamp>() else { return String::new() };
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// So many bytes, as people read them.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut tenths = u128::from(count) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// How long something is to last, as in 30d, 12h, 15m or 90s.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at(text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at))?);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<i64>().ok().filter(|number| *number > 0)?.checked_mul(unit)
}

/// A value as YAML, which is what people read of objects.
pub(crate) fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = [vec!["a".to_owned(), "True".to_owned()], vec!["longer".to_owned(), String::new()]];
        assert_eq!(table(&["NAME", "READY"], &rows), "NAME     READY\na        True\nlonger");
    }

    #[test]
    fn lengths_and_times_are_as_people_say_them() {
        assert_eq!(
            [0, 1023, 1024, 1536, 1_048_576, 5_000_000_000].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "4.6 GiB"]
        );
        assert_eq!(bytes(u64::MAX), "16383.9 PiB");
        assert_eq!(["90s", "15m", "12h", "7d"].map(seconds), [Some(90), Some(900), Some(43_200), Some(604_800)]);
        for wrong in ["", "7", "d", "-1d", "0d", "7w", "7 d", "9223372036854775807d", "ä"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        assert_eq!(age("2026-01-01T23:59:00Z", now), "60s");
        assert_eq!((age("2026-01-01T00:00:00Z", now), age("2025-12-01T00:00:00Z", now)), ("24h".into(), "32d".into()));
        assert_eq!((age("soon", now), age("2026-01-02T00:00:09Z", now)), (String::new(), "0s".into()));
    }

    #[test]
    fn names_say_nothing_to_terminals() {
        assert_eq!(shown("a\u{1b}[2Jä\n"), "a\u{fffd}[2Jä\u{fffd}");
    }

    #[test]
    fn how_ready_something_is_is_said_by_its_condition() {
        let object =
            json!({"status": {"conditions": [{"type": "Stalled"}, {"type": "Ready", "status": "False", "reason": "HostTaken"}]}});
        assert_eq!(ready(&object), ["False", "HostTaken", ""]);
        assert_eq!(ready(&json!({})), ["", "", ""]);
    }
}

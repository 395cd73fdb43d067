//! The log of the hub, one line an event on the standard error.
//!
//! For people: `03:04:05  web1: attached`. For journald, which adds its own time: `<6>web1: attached`, with the priority
//! that sd-daemon(3) describes. `QMP_LOG` is a filter, such as `debug` or `qmp_hub=trace`.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};

use anstyle::{AnsiColor, Style};
use jiff::Zoned;
use jiff::tz::TimeZone;
use qmp_host::lock;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::progress;
use crate::render::{Palette, escape};
use crate::terminal::Terminal;

/// Keeps the client of NATS from writing passwords, which it does at `trace`.
const NO_PASSWORDS: &str = "async_nats=info";

/// Starts logging to the standard error, held back until the gate is dropped. The filter is `QMP_LOG`, or else `usually`.
pub fn start(terminal: &Terminal, usually: &str) -> Gate {
    let filter = EnvFilter::try_from_env("QMP_LOG").unwrap_or_else(|_| EnvFilter::new(usually));
    let filter = match NO_PASSWORDS.parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    let is_journald = std::env::var_os("JOURNAL_STREAM").is_some();
    let format = if is_journald {
        LogFormat::Journald
    } else {
        LogFormat::People { palette: terminal.stderr_palette(), zone: terminal.zone() }
    };
    let gate = Gate { pending: Arc::new(Mutex::new(Some(Vec::new()))) };
    let pending = gate.pending.clone();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || GatedWriter(Arc::clone(&pending)))
        .log_internal_errors(false)
        .event_format(format)
        .init();
    gate
}

/// Holds lines back until the start-up text is printed. Opens when it is dropped.
#[derive(Debug)]
pub struct Gate {
    pending: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut pending = lock(&self.pending);
        let lines = pending.take().unwrap_or_default();
        // A closed standard error is ignored.
        let _ = io::stderr().write_all(&lines);
    }
}

/// Writes one line to the standard error, or behind the gate.
struct GatedWriter(Arc<Mutex<Option<Vec<u8>>>>);

impl io::Write for GatedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *lock(&self.0) {
            Some(pending) => pending.extend_from_slice(bytes),
            None => {
                progress::clear();
                io::stderr().write_all(bytes)?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The format of lines.
#[derive(Clone, Debug)]
enum LogFormat {
    People { palette: Palette, zone: TimeZone },
    Journald,
}

impl LogFormat {
    fn line(&self, level: Level, text: &str, now: impl FnOnce(&TimeZone) -> Zoned) -> String {
        let text = escape::text(text);
        match self {
            Self::Journald => format!("<{}>{text}", priority(level)),
            Self::People { palette, zone } => {
                let time = now(zone).strftime("%H:%M:%S").to_string();
                let style = match level {
                    Level::ERROR => AnsiColor::Red.on_default(),
                    Level::WARN => AnsiColor::Yellow.on_default(),
                    _ => Style::new(),
                };
                format!("{}  {}", palette.dim(time), palette.paint(style, text))
            }
        }
    }
}

impl<S, N> FormatEvent<S, N> for LogFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = LogFields::default();
        event.record(&mut fields);
        let now = |zone: &TimeZone| Zoned::now().with_time_zone(zone.clone());
        writeln!(writer, "{}", self.line(*event.metadata().level(), &fields.text(), now))
    }
}

/// The priority of syslog.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// The fields of an event.
#[derive(Debug, Default)]
struct LogFields {
    vm: Option<String>,
    message: String,
    others: String,
}

impl LogFields {
    /// Returns `VM: message key=value`.
    fn text(&self) -> String {
        match &self.vm {
            Some(vm) if !names(&self.message, vm) => format!("{vm}: {}{}", self.message, self.others),
            _ => format!("{}{}", self.message, self.others),
        }
    }
}

/// Whether a message contains the VM's name: as a whole word, since a VM may be called `a`.
fn names(message: &str, vm: &str) -> bool {
    let is_part_of_a_name =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    message.split(|letter| !is_part_of_a_name(letter)).any(|word| word == vm)
}

impl Visit for LogFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            // The message says why and that the hub retries; the number adds nothing.
            "attempt" => {}
            "vm" => self.vm = Some(format!("{value:?}")),
            // Writing to a `String` cannot fail.
            name => drop(write!(self.others, " {name}={value:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gate_holds_lines_until_it_is_dropped() {
        let gate = Gate { pending: Arc::new(Mutex::new(Some(Vec::new()))) };
        let pending = Arc::clone(&gate.pending);
        GatedWriter(Arc::clone(&pending)).write_all(b"early\n").unwrap();
        assert_eq!(pending.lock().unwrap().as_deref(), Some(&b"early\n"[..]));
        drop(gate);
        GatedWriter(Arc::clone(&pending)).write_all(b"").unwrap();
        assert_eq!(*pending.lock().unwrap(), None);
    }

    fn shown(format: &LogFormat, level: Level, vm: Option<&str>, message: &str, others: &str) -> String {
        let fields = LogFields { vm: vm.map(str::to_owned), message: message.into(), others: others.into() };
        let noon = |zone: &TimeZone| {
            "2026-01-02T12:00:05Z".parse::<jiff::Timestamp>().unwrap().to_zoned(zone.clone())
        };
        format.line(level, &fields.text(), noon)
    }

    #[test]
    fn line_has_priority_or_time_and_the_vm() {
        let people = LogFormat::People { palette: Palette::new(false), zone: TimeZone::UTC };
        let cases = [
            (&people, Level::INFO, Some("web1"), "attached", "", "12:00:05  web1: attached"),
            (&people, Level::INFO, Some("a"), "attached", "", "12:00:05  a: attached"),
            (
                &people,
                Level::WARN,
                Some("web1"),
                "cannot attach to web1: no",
                " delay=1",
                "12:00:05  cannot attach to web1: no delay=1",
            ),
            (&people, Level::WARN, None, "a\x1b[2J", "", "12:00:05  a\\u001b[2J"),
            (&LogFormat::Journald, Level::WARN, Some("web1"), "detached", "", "<4>web1: detached"),
            (&LogFormat::Journald, Level::ERROR, None, "disk", "", "<3>disk"),
        ];
        for (lines, level, vm, message, others, expected) in cases {
            assert_eq!(shown(lines, level, vm, message, others), expected);
        }
    }
}

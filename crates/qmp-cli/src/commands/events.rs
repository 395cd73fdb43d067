//! `qmp events`: the catalogue.

mod page;

use std::fmt::Write as _;

use clap::Args;
use globset::Glob;
use qmp_events::{EventDesc, Release, catalogue, describe};

use crate::exit::{Exit, Failure};
use crate::render::Palette;
use crate::terminal::Terminal;
use crate::{filter, output};

pub(super) use page::page as event_page;

/// Show the events of QEMU, what they mean, and what changed when
///
/// Without a name, lists all events that QEMU ever had. With --release, shows them as in that release, with its
/// members, values and rate limits.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Events {
    /// An event, or a pattern such as 'BLOCK_*'
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Show events as in this release of QEMU, such as 7.2 or 10.0.9
    #[arg(long, value_name = "RELEASE")]
    release: Option<Release>,

    /// Print JSON: a list of events, or the named event
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  qmp events WATCHDOG                        everything about one event
  qmp events --release 7.2                   what QEMU 7.2 can send
  qmp events BLOCK_IO_ERROR --release 2.6    the event in that release
  qmp events --json | jq -r '.[] | select(.throttle) | .name'";

impl Events {
    /// Prints the list or the event.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        if let Some(release) = self.release.filter(|release| release.line() > Release::newest()) {
            output::note(format_args!(
                "note: the catalogue ends with QEMU {}; {release} may have more",
                Release::newest()
            ));
        }
        let palette = terminal.stdout_palette();
        let text = match &self.name {
            Some(name) if !name.contains(['*', '?', '[', '{']) => {
                let desc = self.named(name)?;
                match self.json {
                    true => format!("{}\n", describe::event_json(desc, self.release)),
                    false => page::page(desc, self.release, palette),
                }
            }
            pattern => {
                let events = self.matching(pattern.as_deref().unwrap_or("*"))?;
                if self.json { json_list(&events, self.release) } else { list(&events, palette) }
            }
        };
        output::print(&text)?;
        Ok(Exit::Done)
    }

    fn named(&self, name: &str) -> Result<&'static EventDesc, Failure> {
        let upper = name.to_uppercase();
        let Some(desc) = catalogue().iter().find(|desc| desc.name == upper) else {
            let warning = filter::name_warning(name).unwrap_or_else(|| format!("no event {name}"));
            return Err(Failure::usage(warning));
        };
        match self.release {
            Some(release) if !desc.exists_in(release) => {
                let mut text = format!("QEMU {release} has no event {upper}: it was added in {}", desc.since);
                if let Some(removed) = desc.removed {
                    text += &format!(" and removed in {removed}");
                }
                Err(Failure::usage(text))
            }
            _ => Ok(desc),
        }
    }

    fn matching(&self, pattern: &str) -> Result<Vec<&'static EventDesc>, Failure> {
        let glob = Glob::new(pattern).map_err(|error| Failure::usage(error.to_string()))?.compile_matcher();
        let exists = |desc: &EventDesc| self.release.is_none_or(|release| desc.exists_in(release));
        let found: Vec<_> =
            catalogue().iter().filter(|desc| exists(desc) && glob.is_match(desc.name)).collect();
        if found.is_empty() {
            return Err(Failure::usage(format_args!("no event matches {pattern}")));
        }
        Ok(found)
    }
}

/// A JSON list, one event a line.
fn json_list(events: &[&EventDesc], release: Option<Release>) -> String {
    let lines: Vec<String> =
        events.iter().map(|desc| describe::event_json(desc, release).to_string()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

/// One line an event: name, first release, summary.
fn list(events: &[&EventDesc], palette: Palette) -> String {
    let width = events.iter().map(|desc| desc.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for desc in events {
        let (name, since) = (palette.bold(desc.name), palette.dim(desc.since.to_string()));
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{name:width$}  {since:>5}  {}", desc.summary);
        if let Some(lifecycle) = lifecycle(desc) {
            let _ = write!(text, " {}", palette.dim(format_args!("({lifecycle})")));
        }
        text.push('\n');
    }
    text
}

/// The lifecycle of an event, if it is removed, deprecated or unstable.
fn lifecycle(desc: &EventDesc) -> Option<String> {
    match (desc.removed, desc.deprecated) {
        (Some(removed), _) => Some(format!("removed in {removed}")),
        (None, Some(deprecated)) => Some(format!("deprecated since {deprecated}")),
        (None, None) if desc.unstable => Some("unstable".to_owned()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(name: Option<&str>, release: Option<&str>) -> Events {
        Events {
            name: name.map(str::to_owned),
            release: release.map(|text| text.parse().unwrap()),
            json: false,
        }
    }

    #[test]
    fn event_is_found_or_refused_by_name_and_release() {
        assert_eq!(events(None, None).named("watchdog").unwrap().name, "WATCHDOG");
        let cases = [
            ("WATCHDGO", None, "did you mean WATCHDOG?"),
            ("GUEST_PVSHUTDOWN", Some("7.2"), "QEMU 7.2 has no event GUEST_PVSHUTDOWN: it was added in 9.1"),
            ("MEM_UNPLUG_ERROR", Some("9.1"), "it was added in 2.4 and removed in 9.1"),
        ];
        for (name, release, expected) in cases {
            let failure = events(None, release).named(name).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{name}");
            assert!(failure.to_string().contains(expected), "{name}: {failure}");
        }
    }

    #[test]
    fn list_is_json_with_every_event() {
        let all = events(None, None).matching("*").unwrap();
        let list: Vec<serde_json::Value> = serde_json::from_str(&json_list(&all, None)).unwrap();
        assert_eq!(list.len(), catalogue().len());
        let watchdog = events(None, None).matching("WATCH*").unwrap();
        let list: serde_json::Value =
            serde_json::from_str(&json_list(&watchdog, "2.3".parse().ok())).unwrap();
        assert_eq!(list[0]["members"][0]["name"], "action");
        assert!(
            !list[0]["members"][0]["values"].as_array().unwrap().contains(&"inject-nmi".into()),
            "{list}"
        );
    }

    #[test]
    fn list_has_one_line_for_each_event() {
        let list = list(&events(None, None).matching("MEM*").unwrap(), Palette::new(false));
        let lines: Vec<&str> = list.lines().collect();
        assert!(lines[0].starts_with("MEMORY_DEVICE_SIZE_CHANGE    5.1  "), "{list}");
        assert!(lines[2].starts_with("MEM_UNPLUG_ERROR             2.4  "), "{list}");
        assert!(lines[2].ends_with(" (removed in 9.1)") && lines.len() == 3, "{list}");
    }
}

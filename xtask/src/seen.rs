//! Events seen from a real QEMU: the captures of `crates/qmp-real-qemu`, and the events without a capture.
//!
//! `NAME.toml` lists the events of which a capture is an example, with their options and causes; `NAME.qmp` is the
//! output of the monitor. The events that follow are read from the latter, so that they cannot be wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::model::Catalogue;
use crate::release::Release;

/// The directory of the captures.
const CAPTURES: &str = "crates/qmp-real-qemu/captures";

/// The release whose captures are shown. Scenarios run with others, too; one release suffices for a reader.
const LINE: Release = Release { major: 7, minor: 2, micro: None };

/// The captures, and the events without one.
pub(crate) struct SeenEvents {
    /// The captures, ordered by name.
    pub(crate) captures: Vec<Capture>,
    /// Events that no capture shows, each with the reason.
    pub(crate) not_caused: BTreeMap<String, String>,
}

/// One capture.
pub(crate) struct Capture {
    pub(crate) name: String,
    pub(crate) about: CaptureInfo,
    /// Its events in order.
    pub(crate) events: Vec<SeenEvent>,
}

/// The description of a capture.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaptureInfo {
    pub(crate) shows: Vec<String>,
    pub(crate) options: String,
    pub(crate) cause: String,
}

/// An event of a capture.
pub(crate) struct SeenEvent {
    pub(crate) name: String,
    pub(crate) data: Value,
    /// The line, without its end.
    pub(crate) line: String,
}

/// Reads everything below `root`, and compares it with the catalogue.
///
/// # Errors
///
/// If a file cannot be read; and if an event of the release is neither shown by a capture nor excused, or both.
pub(crate) fn load(root: &Path, catalogue: &Catalogue) -> Result<SeenEvents> {
    let directory = root.join(CAPTURES);
    let excused = directory.join("not-caused.toml");
    let excused =
        fs::read_to_string(&excused).with_context(|| format!("cannot read {}", excused.display()))?;
    let mut seen = SeenEvents { captures: Vec::new(), not_caused: toml::from_str(&excused)? };
    let directory = directory.join(format!("qemu-{LINE}"));
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            seen.captures.push(capture(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    seen.captures.sort_by(|a, b| a.name.cmp(&b.name));
    check(&seen, catalogue)?;
    Ok(seen)
}

fn capture(path: &Path) -> Result<Capture> {
    let about: CaptureInfo = toml::from_str(&fs::read_to_string(path)?)?;
    let mut events = Vec::new();
    for line in fs::read_to_string(path.with_extension("qmp"))?.lines() {
        let mut message: Value = serde_json::from_str(line)?;
        if let Some(name) = message["event"].as_str() {
            let (name, line) = (name.to_owned(), line.to_owned());
            events.push(SeenEvent { name, data: message["data"].take(), line });
        }
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Capture { name, about, events })
}

fn check(seen: &SeenEvents, catalogue: &Catalogue) -> Result<()> {
    let mut errors = Vec::new();
    for capture in &seen.captures {
        let missing = capture.about.shows.iter().filter(|shown| {
            let is_present = capture.events.iter().any(|event| event.name == **shown);
            !is_present
        });
        errors.extend(missing.map(|shown| format!("{shown} is not in the capture {}", capture.name)));
    }
    for (module, event) in catalogue.events() {
        let exists = event.since.line() <= LINE && event.removed.is_none_or(|removed| removed.line() > LINE);
        // Events of another architecture.
        let exists = exists && !module.module.ends_with("-s390x");
        match (seen.of(&event.name).next().is_some(), seen.not_caused.contains_key(&event.name)) {
            (true, true) => errors.push(format!("{} must not be excused: a capture shows it", event.name)),
            (false, false) if exists => errors.push(format!("no capture shows {}", event.name)),
            (_, true) if !exists => errors.push(format!("QEMU {LINE} has no {} to be excused", event.name)),
            _ => {}
        }
    }
    if !errors.is_empty() {
        bail!("{CAPTURES}: {}", errors.join("; "));
    }
    Ok(())
}

impl SeenEvents {
    /// Returns the captures that are examples of an event.
    pub(crate) fn of(&self, event: &str) -> impl Iterator<Item = &Capture> {
        self.captures.iter().filter(move |capture| capture.about.shows.iter().any(|shown| shown == event))
    }

    /// Returns the path of a capture relative to the directory `docs`.
    pub(crate) fn link(capture: &Capture) -> String {
        format!("[{0}](../{CAPTURES}/qemu-{LINE}/{0}.qmp)", capture.name)
    }

    /// Returns the shown release.
    pub(crate) const fn line() -> Release {
        LINE
    }
}

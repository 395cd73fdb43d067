//! Generates the part of `crates/qmp-events`: for each module its types and its descriptions, one file for all events,
//! and the files with the kinds of events and with the releases, which the descriptions import.

mod literals;
mod paths;
mod descriptions;
mod types;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::model::{Catalogue, Event};
use crate::names;
use literals::release;
use paths::Scope;

const HEADER: &str =
    "// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.\n\n";

/// The attribute of a file whose comments have texts of the catalogue.
const ALLOW_TEXTS: &str = "#![allow(clippy::doc_markdown, reason = \"texts of the catalogue\")]\n";

/// Generates all files: path within `src`, text.
pub(crate) fn files(root: &Path, catalogue: &Catalogue) -> Result<Vec<(PathBuf, String)>> {
    let mut files = vec![
        ("releases.rs".into(), releases(catalogue)),
        ("event_kind.rs".into(), event_kind(catalogue)),
        ("generated/mod.rs".into(), overview(catalogue)),
    ];
    let mut types = String::from("//! The types of the wire, by QAPI module.\n\n");
    let mut descriptions = String::from("//! The descriptions of events and types, by QAPI module.\n\n");
    let mut exports = String::new();
    for module in paths::ordered(catalogue) {
        let name = names::module(&module.module);
        let scope = Scope { catalogue, module };
        if let Some(text) = types::module(scope) {
            _ = writeln!(types, "mod {name};");
            _ = writeln!(exports, "pub use {name}::*;");
            files.push((format!("generated/types/{name}.rs").into(), text));
        }
        _ = writeln!(descriptions, "pub(crate) mod {name};");
        files.push((format!("generated/desc/{name}.rs").into(), descriptions::module(scope)));
    }
    types.push('\n');
    types.push_str(&exports);
    files.push(("generated/types/mod.rs".into(), types));
    files.push(("generated/desc/mod.rs".into(), descriptions));
    files.into_iter().map(|(path, text)| Ok((path, formatted(root, &text)?))).collect()
}

fn releases(catalogue: &Catalogue) -> String {
    let releases: Vec<String> = catalogue.releases.iter().map(|one| release(*one)).collect();
    format!(
        "//! The releases of the catalogue.\n\n\
        use crate::release::Release;\n\n\
        /// All release lines of the catalogue, in order.\n\
        pub const RELEASES: &[Release] = &[{}];\n",
        releases.join(", ")
    )
}

fn event_kind(catalogue: &Catalogue) -> String {
    let mut variants = String::new();
    for (_, event) in catalogue.events() {
        let summary = literals::doc(&event.summary);
        _ = writeln!(variants, "    /// {summary}\n    {},", names::variant(&event.name));
    }
    format!(
        "//! The kinds of events.\n{ALLOW_TEXTS}\n\
        /// The kind of an event, without its data.\n\
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n\
        #[non_exhaustive]\n\
        pub enum EventKind {{\n{variants}}}\n"
    )
}

fn overview(catalogue: &Catalogue) -> String {
    let events = catalogue.events();
    let descriptions: Vec<String> = events
        .iter()
        .map(|(module, event)| format!("desc::{}::{}", names::module(&module.module), event.name))
        .collect();
    let mut variants = String::new();
    for (_, event) in &events {
        let ty = if event.members.is_empty() {
            "crate::wire::UnknownMembers".into()
        } else {
            names::variant(&event.name)
        };
        let summary = literals::doc(&event.summary);
        _ = writeln!(variants, "    /// {summary}\n    {}({ty}),", names::variant(&event.name));
    }
    let mut dataless = String::new();
    for (_, event) in events.iter().filter(|(_, event)| event.members.is_empty()) {
        let summary = literals::doc(&event.summary);
        _ = writeln!(dataless, "    /// {summary}\n    {},", names::variant(&event.name));
    }
    format!(
        "//! The catalogue as Rust.\n{ALLOW_TEXTS}\
        #![allow(clippy::large_enum_variant, reason = \"events are decoded and read, not stored\")]\n\n\
        pub(crate) mod desc;\nmod types;\n\npub use types::*;\n\nuse crate::desc::EventDesc;\nuse crate::event_kind::EventKind;\n\n\
        /// All events, sorted by name.\n\
        pub(crate) static EVENTS: [EventDesc; {}] = [{}];\n\n\
        crate::event::wire_events! {{\n{variants}}}\n\n\
        crate::event::dataless_events! {{\n{dataless}}}\n\n{}",
        events.len(),
        descriptions.join(", "),
        from_name(&events.iter().map(|(_, event)| *event).collect::<Vec<_>>()),
    )
}

/// Returns a look-up by name that compares a name only with those of the same length.
fn from_name(events: &[&Event]) -> String {
    let mut lengths: Vec<usize> = events.iter().map(|event| event.name.len()).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let mut arms = String::new();
    for length in lengths {
        _ = writeln!(arms, "{length} => match name {{");
        for event in events.iter().filter(|event| event.name.len() == length) {
            _ = writeln!(arms, "{:?} => Self::{},", event.name, names::variant(&event.name));
        }
        arms.push_str("_ => return None,\n},\n");
    }
    format!(
        "impl EventKind {{\n\
        /// Returns the event of that name; `None` if it is not in the catalogue.\n\
        pub fn from_name(name: &str) -> Option<Self> {{\n\
        Some(match name.len() {{\n{arms}_ => return None,\n}})\n}}\n}}\n"
    )
}

/// Runs `rustfmt` with the settings of this source tree.
pub(crate) fn formatted(root: &Path, text: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root.join("rustfmt.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run rustfmt: install it with `rustup component add rustfmt`")?;
    let mut input = child.stdin.take().context("rustfmt has no input")?;
    let text = format!("{HEADER}{text}");
    // Write the whole input before reading any output: rustfmt reads all of it first.
    input.write_all(text.as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("rustfmt refused this:\n{text}");
    }
    String::from_utf8(output.stdout).context("rustfmt wrote invalid UTF-8")
}

//! The generated files, and those that are out of date.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{check, commands, limits, load, page, rust, seen, typescript};

/// The directory of the catalogue as Rust.
const EVENTS: &str = "crates/qmp-events/src";

/// The directory that contains only generated files.
const GENERATED: &str = "crates/qmp-events/src/generated";

/// The typed commands of the client.
const COMMANDS: &str = "crates/qmp-client/src/generated/commands.rs";

/// The description of the HTTP interface, and the page's types of it.
const INTERFACE: &str = "crates/qmp-http/src/openapi.json";
const INTERFACE_TYPES: &str = "crates/qmp-http/web/src/generated/interface.ts";

/// The reference page.
const PAGE: &str = "docs/events.md";

/// The hand-written part of the reference page.
const DOCUMENTS: &str = "docs/documents.md";

/// The README, of which a part is generated.
const README: &str = "README.md";

/// The page of limits.
const LIMITS: &str = "docs/limits.md";

/// A change of a file.
pub(crate) struct Change {
    path: PathBuf,
    /// `None` to remove the file.
    text: Option<String>,
}

/// Generates the text of every file, by its path below `root`.
pub(crate) fn generate(root: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let catalogue = load::load(&root.join("catalogue"))?;
    check::check(&catalogue)?;
    let documents = root.join(DOCUMENTS);
    let documents = fs::read_to_string(&documents).with_context(|| format!("cannot read {DOCUMENTS}"))?;
    let mut files = rust::files(root, &catalogue)?
        .into_iter()
        .map(|(name, text)| (Path::new(EVENTS).join(name), text))
        .collect::<BTreeMap<_, _>>();
    files.insert(COMMANDS.into(), rust::formatted(root, &commands::rust(root, &catalogue)?)?);
    let seen = seen::load(root, &catalogue)?;
    files.insert(PAGE.into(), page::page(&catalogue, &seen, &documents));
    let interface =
        fs::read_to_string(root.join(INTERFACE)).with_context(|| format!("cannot read {INTERFACE}"))?;
    files.insert(INTERFACE_TYPES.into(), typescript::types(&interface)?);
    let readme = fs::read_to_string(root.join(README)).with_context(|| format!("cannot read {README}"))?;
    files.insert(README.into(), page::readme(&catalogue, &seen, &readme)?);
    files.insert(LIMITS.into(), limits::page(root)?);
    Ok(files)
}

/// Lists files that are missing, differ, or are superfluous in the generated directory.
pub(crate) fn stale(root: &Path, expected: &BTreeMap<PathBuf, String>) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for (path, text) in expected {
        let path = root.join(path);
        if fs::read_to_string(&path).ok().as_ref() != Some(text) {
            changes.push(Change { path, text: Some(text.clone()) });
        }
    }
    let mut directories = vec![root.join(GENERATED)];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if !path.strip_prefix(root).is_ok_and(|path| expected.contains_key(path)) {
                changes.push(Change { path, text: None });
            }
        }
    }
    Ok(changes)
}

impl Change {
    /// Writes or removes the file.
    pub(crate) fn apply(&self) -> Result<()> {
        let context = || format!("cannot change {}", self.path.display());
        let Some(text) = &self.text else {
            return fs::remove_file(&self.path).with_context(context);
        };
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory).with_context(context)?;
        }
        fs::write(&self.path, text).with_context(context)
    }

    /// The change as a line, before it is made.
    pub(crate) fn due(&self) -> String {
        self.line(if self.text.is_some() { "stale" } else { "left over" })
    }

    /// The change as a line, after it was made.
    pub(crate) fn done(&self) -> String {
        self.line(if self.text.is_some() { "written" } else { "removed" })
    }

    fn line(&self, what: &str) -> String {
        format!("{what}: {}", self.path.display())
    }
}

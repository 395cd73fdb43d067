//! The output of a scenario: the capture `NAME.qmp`, every byte that the raw monitor sent, and `NAME.toml` about
//! it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The description of one capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureDescription {
    /// The events of which it is an example.
    pub shows: Vec<String>,
    /// Options of QEMU.
    pub options: String,
    /// The cause, in a sentence.
    pub cause: String,
}

/// The captures that are kept of a line of releases, such as `7.2`: names in alphabetical order, and their bytes.
///
/// # Panics
///
/// If one of them cannot be read.
#[must_use]
pub fn captures(line: &str) -> Vec<(String, CaptureDescription, Vec<u8>)> {
    let directory = directory(line);
    let Ok(entries) = std::fs::read_dir(&directory) else { return Vec::new() };
    let mut captures: Vec<_> = entries
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("it can be read");
            let seen = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let bytes = std::fs::read(path.with_extension("qmp")).expect("its capture can be read");
            (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), seen, bytes)
        })
        .collect();
    captures.sort_by(|a, b| a.0.cmp(&b.0));
    captures
}

/// Writes the capture of a scenario to the directory in `QMP_CAPTURE_DIR`; without it, checks that the stored
/// description is of this scenario.
pub(crate) fn keep_or_check(line: &str, name: &str, seen: &CaptureDescription, bytes: &[u8]) {
    let text = toml::to_string(seen).expect("it can be written as TOML");
    if let Some(parent) = std::env::var_os("QMP_CAPTURE_DIR") {
        let directory = Path::new(&parent).join(format!("qemu-{line}"));
        std::fs::create_dir_all(&directory).expect("the directory can be made");
        std::fs::write(directory.join(format!("{name}.toml")), text).expect("it can be written");
        std::fs::write(directory.join(format!("{name}.qmp")), bytes).expect("it can be written");
        return;
    }
    let directory = directory(line);
    if !directory.is_dir() {
        return;
    }
    let kept = std::fs::read_to_string(directory.join(format!("{name}.toml"))).unwrap_or_default();
    assert_eq!(kept, text, "the capture of {name} is of another scenario: record it (QMP_CAPTURE_DIR)");
}

fn directory(line: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("captures/qemu-{line}"))
}

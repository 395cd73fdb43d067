//! The page of limits: each bounded memory, time and count of the code, with the reason in its documentation.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// The introduction of the page.
const HEAD: &str = "\
# Limits

Every limit of the code, with its reason, so that no input of a peer takes unbounded memory. `cargo xtask codegen` writes
this page from the documentation of the constants.
";

/// The crates in the order of the page, each with its title.
const CRATES: [(&str, &str); 17] = [
    ("qmp-wire", "Protocol"),
    ("qmp-events", "Catalogue"),
    ("qmp-client", "Client"),
    ("qmp-server", "Embedded monitor"),
    ("qmp-machine", "Emulated machine"),
    ("qmp-findings", "Findings"),
    ("qmp-journal", "Journal"),
    ("qmp-archive", "Archive"),
    ("qmp-libvirt", "libvirt"),
    ("qmp-hub", "Hub"),
    ("qmp-fleet", "Fleet"),
    ("qmp-sinks", "Rules and sinks"),
    ("qmp-http", "HTTP interface"),
    ("qmp-daemon", "Configuration"),
    ("qmp-host", "Operating system"),
    ("qmp-settings", "Settings"),
    ("qmp-cli", "Program"),
];

/// Parts of the names of constants that limit memory, time, or a count.
const MARKS: [&str; 12] = [
    "_MAX",
    "_LIMIT",
    "_BYTES",
    "_TIMEOUT",
    "_INTERVAL",
    "_DELAY",
    "_RECORDS",
    "RETRY_",
    "_EVERY",
    "KEEP_ALIVE",
    "_BURST",
    "_SPAN",
];

/// Types of limits.
const TYPES: [&str; 5] = ["usize", "u64", "u32", "i64", "Duration"];

/// Directories whose limits are not on the page: those of tests, and those that are generated.
const LEFT_OUT: [&str; 2] = ["tests", "generated"];

/// A limit of the code.
#[derive(Debug, PartialEq, Eq)]
struct Limit {
    name: String,
    value: String,
    /// Its documentation on one line; empty if there is none.
    reason: String,
}

/// Generates the page. A limit without documentation is an error.
pub(crate) fn page(root: &Path) -> Result<String> {
    let mut text = HEAD.to_owned();
    for (name, title) in CRATES {
        let source = root.join("crates").join(name).join("src");
        let mut rows = String::new();
        for file in files(&source)? {
            let code =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let place = file.strip_prefix(&source).unwrap_or(&file).display();
            for limit in limits(&code) {
                ensure!(!limit.reason.is_empty(), "{}: {} has no documentation", file.display(), limit.name);
                rows += &format!("| `{}` | `{}` | {} | `{place}` |\n", limit.name, limit.value, limit.reason);
            }
        }
        if !rows.is_empty() {
            text += &format!(
                "\n## {title} (`{name}`)\n\n| name | value | what it limits, and why | in |\n|---|---|---|---|\n{rows}"
            );
        }
    }
    Ok(text)
}

/// Lists the source files below a directory in the order of their paths.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            if !LEFT_OUT.iter().any(|name| path.ends_with(name)) {
                found.extend(files(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Finds the limits of a source file before its tests.
fn limits(code: &str) -> Vec<Limit> {
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    let mut documentation: Vec<&str> = Vec::new();
    let mut lines = code.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("///") {
            documentation.push(text.trim());
            continue;
        }
        if line.starts_with("#[") {
            continue;
        }
        if line.contains("const ") {
            let mut statement = line.to_owned();
            while !statement.contains(';') {
                let Some(next) = lines.next() else { break };
                statement = format!("{statement} {next}");
            }
            found.extend(limit(&statement, &documentation));
        }
        documentation.clear();
    }
    found
}

/// Parses `const NAME: TYPE = VALUE;`; `None` if that is no limit.
fn limit(statement: &str, documentation: &[&str]) -> Option<Limit> {
    let (_, definition) = statement.split_once("const ")?;
    let (name, rest) = definition.split_once(':')?;
    let (kind, rest) = rest.split_once('=')?;
    let (value, _) = rest.split_once(';')?;
    let constant = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
    let limits = TYPES.contains(&kind.trim())
        && name.chars().all(constant)
        && MARKS.iter().any(|mark| name.contains(mark));
    limits.then(|| Limit {
        name: name.to_owned(),
        value: value.split_whitespace().collect::<Vec<_>>().join(" "),
        reason: without_links(
            &documentation.iter().filter(|line| !line.is_empty()).copied().collect::<Vec<_>>().join(" "),
        )
        .replace('|', "\\|"),
    })
}

/// Replaces links of rustdoc, ``[`Name`]`` and `[text](target)`, by their texts: the page has no such targets. Brackets
/// within code are kept.
fn without_links(text: &str) -> String {
    let mut plain = Vec::new();
    for (position, part) in text.split('`').enumerate() {
        if position % 2 == 1 {
            plain.push(part.to_owned());
            continue;
        }
        let mut pieces = part.replace('[', "").split(']').map(str::to_owned).collect::<Vec<_>>();
        for piece in pieces.iter_mut().skip(1) {
            if let Some((_, after)) = piece.strip_prefix('(').and_then(|target| target.split_once(')')) {
                *piece = after.to_owned();
            }
        }
        plain.push(pieces.concat());
    }
    plain.join("`")
}

#[cfg(test)]
mod tests {
    use super::{Limit, limits, without_links};

    #[test]
    fn limits_of_source_have_value_and_documentation() {
        let source = "/// Bytes that wait,\n/// see [`Queue`].\n///\n/// A second line.\n#[cfg(unix)]\n\
                      pub(crate) const QUEUE_MAX_BYTES: usize =\n    4 << 20;\n\
                      /// Text.\nconst NAME_MAX: &str = \"x\";\nconst LONG: u64 = 3;\n\
                      #[cfg(test)]\nmod tests { const TEST_MAX: usize = 1; }";
        let expected = Limit {
            name: "QUEUE_MAX_BYTES".to_owned(),
            value: "4 << 20".to_owned(),
            reason: "Bytes that wait, see `Queue`. A second line.".to_owned(),
        };
        assert_eq!(limits(source), [expected]);
    }

    #[test]
    fn limit_without_documentation_has_no_reason() {
        let source =
            "/// Of the other.\nconst A: u8 = 1;\n\nconst WAIT_MAX: Duration = Duration::from_secs(1);";
        assert_eq!(limits(source)[0].reason, "");
    }

    #[test]
    fn links_become_their_texts() {
        assert_eq!(
            without_links("as [`A`] and [b](crate::b) (c), not `[[d]]`"),
            "as `A` and b (c), not `[[d]]`"
        );
    }
}

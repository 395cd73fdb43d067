//! `docs/limits.md` lists every limit of the code, with its value.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

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

/// The page and the code list the same limits with the same values.
#[test]
fn limits_of_page_equal_those_of_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/limits.md")).unwrap();
    let documented: BTreeSet<(String, String)> = page.lines().filter_map(row).collect();
    let mut found = BTreeSet::new();
    for file in sources(&root.join("crates")) {
        found.extend(constants(&fs::read_to_string(&file).unwrap()));
    }
    assert!(found.len() > 5, "the search finds limits: {found:?}");
    let unlisted: Vec<_> = found.difference(&documented).collect();
    let surplus: Vec<_> = documented.difference(&found).collect();
    assert!(unlisted.is_empty(), "docs/limits.md lacks {unlisted:?}");
    assert!(surplus.is_empty(), "docs/limits.md lists {surplus:?}, which the code lacks");
}

/// Parses a table row: `` | `NAME` | `value` | … ``.
fn row(line: &str) -> Option<(String, String)> {
    let mut cells = line.strip_prefix("| `")?.split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
    Some((cells.next()?, cells.next()?))
}

/// Returns the limits that a source file defines outside its tests.
fn constants(source: &str) -> Vec<(String, String)> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    code.split(';')
        .filter_map(constant)
        .filter(|(name, _)| MARKS.iter().any(|mark| name.contains(mark)))
        .collect()
}

fn constant(statement: &str) -> Option<(String, String)> {
    let (_, definition) = statement.rsplit_once("const ")?;
    let (name, rest) = definition.split_once(':')?;
    let (kind, value) = rest.split_once('=')?;
    let counts = ["usize", "u64", "u32", "i64", "Duration"].contains(&kind.trim());
    let named =
        name.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_');
    (counts && named).then(|| (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            // Limits of tests and examples are not documented.
            if !["generated", "tests", "examples", "benches", "target", "qmp-real-qemu"]
                .iter()
                .any(|name| path.ends_with(name))
            {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn only_limits_are_found() {
    let source = "/// Doc.\npub const QUEUE_MAX_BYTES: usize =\n    4 << 20;\nconst NAME: &str = \"x\";\nconst LONG: u64 = 3;\n\
                  #[cfg(test)]\nmod tests { const TEST_MAX: usize = 1; }";
    assert_eq!(constants(source), [("QUEUE_MAX_BYTES".to_owned(), "4 << 20".to_owned())]);
    assert_eq!(row("| `A_MAX` | `3` | why |"), Some(("A_MAX".to_owned(), "3".to_owned())));
    assert_eq!(row("| name | value |"), None);
}

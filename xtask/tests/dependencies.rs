//! ADR 2 lists every third-party dependency with its reason, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const PAGE: &str = "docs/adr/0002-dependencies.md";

/// Crates of the workspace that only test: their dependencies reach no user.
const TEST_CRATES: [&str; 3] = ["qmp-real-qemu", "qmp-testing", "qmp-events-fuzz"];

/// The dependencies of the workspace on other projects.
#[derive(Debug, Default, PartialEq)]
struct Dependencies {
    /// Built into a library, the program or xtask.
    built: BTreeSet<String>,
    /// Used by tests and benchmarks only.
    tests_only: BTreeSet<String>,
}

#[test]
fn dependencies_of_page_equal_those_of_the_manifests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join(PAGE)).unwrap();
    let mut found = Dependencies::default();
    for manifest in manifests(root) {
        found.add(&fs::read_to_string(&manifest).unwrap());
    }
    assert!(found.built.len() > 10 && found.tests_only.len() > 3, "the search finds crates: {found:?}");
    assert_eq!(documented(&page), found, "{PAGE} differs from the manifests");
}

/// Every version in the workspace's manifest belongs to a crate that is used.
#[test]
fn workspace_declares_only_used_dependencies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let declared = fs::read_to_string(root.join("Cargo.toml")).unwrap().parse::<toml::Table>().unwrap();
    let declared: BTreeSet<String> = third_party(&declared["workspace"]["dependencies"]).collect();
    let mut used = Dependencies::default();
    for manifest in manifests(root).iter().filter(|manifest| !manifest.ends_with("fuzz/Cargo.toml")) {
        used.add(&fs::read_to_string(manifest).unwrap());
    }
    assert_eq!(declared, &used.built | &used.tests_only);
}

fn manifests(root: &Path) -> Vec<PathBuf> {
    let crates = fs::read_dir(root.join("crates")).expect("a folder");
    let mut folders: Vec<_> = crates.map(|entry| entry.expect("an entry").path()).collect();
    folders.extend([root.join("xtask"), root.join("fuzz")]);
    folders.into_iter().map(|folder| folder.join("Cargo.toml")).collect()
}

impl Dependencies {
    fn add(&mut self, manifest: &str) {
        let manifest: toml::Table = manifest.parse().expect("a manifest");
        let name = manifest["package"]["name"].as_str().expect("a name");
        let is_test_crate = TEST_CRATES.contains(&name);
        // The sections of one system are below `target.'cfg(…)'`.
        let of_targets =
            manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values);
        for sections in of_targets.filter_map(toml::Value::as_table).chain([&manifest]) {
            for (section, is_built) in [
                ("dependencies", !is_test_crate),
                ("build-dependencies", !is_test_crate),
                ("dev-dependencies", false),
            ] {
                let Some(table) = sections.get(section) else { continue };
                let kind = if is_built { &mut self.built } else { &mut self.tests_only };
                kind.extend(third_party(table));
            }
        }
        self.tests_only = &self.tests_only - &self.built;
    }
}

fn third_party(dependencies: &toml::Value) -> impl Iterator<Item = String> {
    let names = dependencies.as_table().into_iter().flat_map(|table| table.keys());
    names.filter(|name| !name.starts_with("qmp-")).cloned()
}

/// Returns the crates of the table; each has a row with a reason.
fn documented(page: &str) -> Dependencies {
    let mut reasons: BTreeMap<String, bool> = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [crates, purpose, reason] = cells[..] else { panic!("a row has three cells: {row}") };
        assert!(!purpose.is_empty() && !reason.is_empty(), "a row has a purpose and a reason: {row}");
        for name in crates.split(", ") {
            let is_new = reasons.insert(name.to_owned(), reason.starts_with("tests only")).is_none();
            assert!(is_new, "{name} is listed twice");
        }
    }
    let names = |tests_only: bool| {
        reasons.iter().filter(|(_, kind)| **kind == tests_only).map(|(name, _)| name.clone()).collect()
    };
    Dependencies { built: names(false), tests_only: names(true) }
}

#[test]
fn manifest_of_test_crate_adds_tests_only() {
    let mut found = Dependencies::default();
    found.add("[package]\nname = 'qmp-real-qemu'\n[dependencies]\na = '1'\nqmp-wire = { path = '' }");
    found.add("[package]\nname = 'qmp-y'\n[target.'cfg(unix)'.dependencies]\nd = '1'");
    found.add("[package]\nname = 'qmp-x'\n[dependencies]\nb = '1'\n[dev-dependencies]\nb = '1'\nc = '1'");
    let page = "| crate | for | why |\n|---|---|---|\n| b, d | x | y |\n| a, c | x | tests only; y |\n";
    assert_eq!(documented(page), found);
}

//! The rules of the layout, as tests: the direction of imports, the length of files and functions, forbidden dependencies.
//!
//! A crate's root lists its modules from the lowest to the highest; a module imports only modules before it, by the path
//! of the definition. `xtask/exemptions.toml` lists the exceptions, each with its reason. Entries are removed, not added: an
//! unused entry fails the test.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::imports::{self, Function, Member};

/// Lines of a file of the program, its tests in files of their own aside.
const FILE_MAX_LINES: usize = 400;

/// Lines of a function of the program.
const FUNCTION_MAX_LINES: usize = 60;

/// The crates of the workspace from the lowest to the highest: a crate depends only on those before it.
const CRATES: [&str; 21] = [
    "qmp-settings",
    "qmp-events",
    "qmp-wire",
    "qmp-testing",
    "qmp-findings",
    "qmp-host",
    "qmp-server",
    "qmp-client",
    "qmp-archive",
    "qmp-journal",
    "qmp-history",
    "qmp-machine",
    "qmp-libvirt",
    "qmp-fleet",
    "qmp-hub",
    "qmp-sinks",
    "qmp-http",
    "qmp-daemon",
    "qmp-cli",
    "qmp-real-qemu",
    "xtask",
];

/// Crates and the packages that must not be among their dependencies, direct or indirect.
const ABSENT: [(&str, &[&str]); 12] = [
    ("qmp-events", &["tokio", "rustix", "rusqlite", "qmp-wire"]),
    ("qmp-wire", &["tokio", "rustix", "rusqlite", "qmp-events"]),
    ("qmp-settings", &["tokio", "rustix", "rusqlite"]),
    ("qmp-findings", &["tokio", "rustix", "rusqlite"]),
    ("qmp-server", &["tokio"]),
    // Optional features aside.
    ("qmp-machine", &["tokio", "toml", "rusqlite", "qmp-client"]),
    ("qmp-archive", &["tokio", "rusqlite", "hyper", "qmp-journal"]),
    ("qmp-journal", &["axum", "hyper", "rustls", "toml", "qmp-client", "qmp-findings"]),
    ("qmp-history", &["axum", "hyper", "rustls", "toml", "qmp-client"]),
    ("qmp-libvirt", &["rusqlite", "qmp-wire"]),
    // Its feature `fleet` aside.
    ("qmp-hub", &["axum", "hyper", "rustls", "async-nats", "qmp-sinks"]),
    ("qmp-fleet", &["rusqlite", "axum", "hyper", "toml", "qmp-journal", "qmp-findings"]),
];

/// The exceptions, with the reasons.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Exemptions {
    /// By both names: a dependency that points up, such as `qmp-hub qmp-sinks`.
    upward_dependencies: BTreeMap<String, String>,
    /// By crate: its modules are not in order yet.
    unordered_crates: BTreeMap<String, UnorderedCrate>,
    /// By module, such as `qmp-findings::why`.
    upward_modules: BTreeMap<String, String>,
    /// By path.
    long_files: BTreeMap<String, String>,
    /// By path and name, such as `crates/qmp-hub/src/hub.rs start`.
    long_functions: BTreeMap<String, String>,
}

/// A crate whose modules import in both directions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct UnorderedCrate {
    /// Imports that point up; there may be fewer.
    imports_max: usize,
    #[expect(dead_code, reason = "for readers of the file")]
    reason: String,
}

/// Returns all violations of the rules, one a line.
pub(crate) fn violations(workspace: &Path) -> Result<Vec<String>> {
    let members = imports::members(workspace)?;
    let file = workspace.join("xtask/exemptions.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let exemptions: Exemptions =
        toml::from_str(&text).with_context(|| format!("cannot read {}", file.display()))?;
    let mut found = crates(&members, &exemptions.upward_dependencies);
    found.extend(upward(&members, &exemptions));
    found.extend(long_files(&members, &exemptions.long_files));
    found.extend(long_functions(&members, &exemptions.long_functions));
    found.extend(present(workspace, &members)?);
    Ok(found)
}

/// Crates that depend on one above them.
fn crates(members: &[Member], exempt: &BTreeMap<String, String>) -> Vec<String> {
    let place = |name: &str| CRATES.iter().position(|one| *one == name);
    let (mut found, mut needed) = (Vec::new(), Vec::new());
    for Member { name, dependencies, .. } in members {
        if place(name).is_none() {
            found.push(format!("{name} has no place among the crates in xtask/src/layers.rs"));
        }
        for dependency in dependencies.iter().filter(|dependency| place(dependency) >= place(name)) {
            let key = format!("{name} {dependency}");
            if !exempt.contains_key(&key) {
                found.push(format!("{name} depends on {dependency}, which is above it"));
            }
            needed.push(key);
        }
    }
    found.extend(stale(exempt.keys(), &needed));
    found
}

fn upward(members: &[Member], exemptions: &Exemptions) -> Vec<String> {
    let Exemptions { unordered_crates, upward_modules, .. } = exemptions;
    let (mut found, mut needed) = (Vec::new(), Vec::new());
    for member in members {
        let upward = member.upward();
        if let Some(unordered) = unordered_crates.get(&member.name).filter(|_| !upward.is_empty()) {
            needed.push(member.name.clone());
            if upward.len() > unordered.imports_max {
                let (name, count, max) = (&member.name, upward.len(), unordered.imports_max);
                found.push(format!("{name} has {count} imports that point up, and at most {max} are exempt"));
            }
            continue;
        }
        for (from, to, import) in upward {
            let name = format!("{}::{}", member.name, from.name());
            if !upward_modules.contains_key(&name) {
                let (file, line, to) = (from.file.display(), import.line, to.name());
                found.push(format!("{file}:{line} imports {to}, which is not before {}", from.name()));
            }
            needed.push(name);
        }
    }
    let listed = unordered_crates.keys().chain(upward_modules.keys());
    found.extend(stale(listed, &needed));
    found
}

fn long_files(members: &[Member], exempt: &BTreeMap<String, String>) -> Vec<String> {
    let (mut found, mut needed) = (Vec::new(), Vec::new());
    for module in members.iter().flat_map(|member| &member.modules.modules) {
        let file = module.file.display().to_string();
        let is_generated = module.file.iter().any(|folder| folder == "generated");
        if module.file_lines > FILE_MAX_LINES && !is_generated {
            if !exempt.contains_key(&file) {
                found.push(format!("{file} has {} lines; at most {FILE_MAX_LINES}", module.file_lines));
            }
            needed.push(file);
        }
    }
    found.extend(stale(exempt.keys(), &needed));
    found
}

fn long_functions(members: &[Member], exempt: &BTreeMap<String, String>) -> Vec<String> {
    let (mut found, mut needed) = (Vec::new(), Vec::new());
    for module in members.iter().flat_map(|member| &member.modules.modules) {
        let is_generated = module.file.iter().any(|folder| folder == "generated");
        let is_long = |function: &&Function| function.lines > FUNCTION_MAX_LINES && !is_generated;
        for function in module.functions.iter().filter(is_long) {
            let (file, name, lines) = (module.file.display(), &function.name, function.lines);
            let key = format!("{file} {name}");
            if !exempt.contains_key(&key) {
                let line = function.line;
                found.push(format!("{file}:{line} {name} has {lines} lines; at most {FUNCTION_MAX_LINES}"));
            }
            needed.push(key);
        }
    }
    found.extend(stale(exempt.keys(), &needed));
    found
}

fn stale<'a>(listed: impl Iterator<Item = &'a String>, needed: &[String]) -> Vec<String> {
    let is_stale = |entry: &&String| !needed.contains(*entry);
    listed
        .filter(is_stale)
        .map(|entry| format!("take {entry} out of xtask/exemptions.toml: it needs none"))
        .collect()
}

/// Crates with a dependency that they must not have.
fn present(workspace: &Path, members: &[Member]) -> Result<Vec<String>> {
    let lock = fs::read_to_string(workspace.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let dependencies = locked(&lock)?;
    let mut found = Vec::new();
    for (name, absent) in ABSENT {
        let Some(member) = members.iter().find(|member| member.name == name) else { continue };
        let (mut open, mut reached) = (member.all_dependencies.clone(), Vec::new());
        while let Some(dependency) = open.pop() {
            if reached.contains(&dependency) {
                continue;
            }
            // For a crate of the workspace, the lock file includes its development dependencies.
            let ours = members.iter().find(|member| member.name == dependency);
            let next = ours.map(|member| &member.all_dependencies).or_else(|| dependencies.get(&dependency));
            open.extend(next.into_iter().flatten().cloned());
            reached.push(dependency);
        }
        let is_there = |one: &&&str| reached.iter().any(|dependency| dependency == **one);
        found.extend(absent.iter().filter(is_there).map(|one| format!("{name} must not depend on {one}")));
    }
    Ok(found)
}

/// Each package of `Cargo.lock`, with its dependencies.
fn locked(lock: &str) -> Result<BTreeMap<String, Vec<String>>> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        #[serde(default)]
        dependencies: Vec<String>,
    }
    let lock: Lock = toml::from_str(lock).context("cannot read Cargo.lock")?;
    // A dependency with several versions is listed with its version.
    let name = |dependency: String| dependency.split(' ').next().unwrap_or_default().to_owned();
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in lock.package {
        packages.entry(package.name).or_default().extend(package.dependencies.into_iter().map(name));
    }
    Ok(packages)
}

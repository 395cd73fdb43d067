//! The imports between crates, and between the modules of each crate.

mod circles;
mod tokens;
mod file;
mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

pub(crate) use file::Function;
pub(crate) use modules::{Import, Module, Modules};

/// A crate of the workspace.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// The crates of the workspace that it depends on, those for its tests aside.
    pub(crate) dependencies: BTreeSet<String>,
    /// The same, with crates of others.
    pub(crate) all_dependencies: Vec<String>,
    pub(crate) modules: Modules,
}

/// Reads all crates of the workspace, in the order of their names.
pub(crate) fn members(workspace: &Path) -> Result<Vec<Member>> {
    let mut folders = vec![workspace.join("xtask")];
    let crates = workspace.join("crates");
    for entry in fs::read_dir(&crates).with_context(|| format!("cannot read {}", crates.display()))? {
        folders.push(entry?.path());
    }
    folders.sort();
    folders.iter().map(|folder| member(workspace, folder)).collect()
}

fn member(workspace: &Path, folder: &Path) -> Result<Member> {
    let manifest = folder.join("Cargo.toml");
    let text =
        fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let table: toml::Table = text.parse().with_context(|| format!("cannot read {}", manifest.display()))?;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let dependencies = table.get("dependencies").and_then(toml::Value::as_table);
    // Dependencies of optional features are left out.
    let is_optional =
        |value: &toml::Value| value.get("optional").and_then(toml::Value::as_bool) == Some(true);
    let all_dependencies: Vec<String> = dependencies
        .into_iter()
        .flatten()
        .filter(|(_, value)| !is_optional(value))
        .map(|(name, _)| name.clone())
        .collect();
    let is_ours = |name: &&String| name.starts_with("qmp-");
    let dependencies =
        dependencies.into_iter().flat_map(|table| table.keys()).filter(is_ours).cloned().collect();
    let roots = ["src/lib.rs", "src/main.rs"].map(|root| folder.join(root));
    let root = roots.iter().find(|root| root.is_file()).context("a crate has lib.rs or main.rs")?;
    Ok(Member { name, dependencies, all_dependencies, modules: Modules::read(workspace, root)? })
}

/// The graph as a text: the crates, then each crate with its modules from the lowest to the highest.
pub(crate) fn report(members: &[Member]) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "crates")?;
    let total: usize = members.iter().map(Member::lines).sum();
    for member in members {
        let imports: Vec<&str> = member.dependencies.iter().map(String::as_str).collect();
        let (lines, share) = (member.lines(), 100.0 * ratio(member.lines(), total));
        writeln!(text, "  {:<16} {lines:>6} lines {share:>3.0} %  ← {}", member.name, imports.join(" "))?;
    }
    let places: BTreeMap<&str, usize> =
        members.iter().enumerate().map(|(place, member)| (member.name.as_str(), place)).collect();
    let to = |member: &Member| {
        member.dependencies.iter().filter_map(|name| places.get(name.as_str()).copied()).collect()
    };
    let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
    circles_of(&mut text, &members.iter().map(to).collect::<Vec<_>>(), &names)?;
    for member in members {
        writeln!(text, "\n{}", member.name)?;
        let modules = &member.modules.modules;
        let mut edges = vec![Vec::new(); modules.len()];
        member.modules.imports().iter().for_each(|import| edges[import.from].push(import.to));
        for (place, module) in modules.iter().enumerate() {
            let shown = |to: &usize| format!("{}{}", if *to > place { "↑" } else { "" }, modules[*to].name());
            let imports: Vec<String> = edges[place].iter().map(shown).collect();
            writeln!(text, "  {} ← {}", module.name(), imports.join(" "))?;
        }
        let names: Vec<String> = modules.iter().map(Module::name).collect();
        circles_of(&mut text, &edges, &names)?;
    }
    Ok(text)
}

fn circles_of(text: &mut String, edges: &[Vec<usize>], names: &[String]) -> Result<()> {
    let circles = circles::circles(edges);
    if circles.is_empty() {
        writeln!(text, "  no circle")?;
    }
    for circle in circles {
        let names: Vec<&str> = circle.iter().map(|place| names[*place].as_str()).collect();
        writeln!(text, "  circle of {}: {}", circle.len(), names.join(" "))?;
    }
    Ok(())
}

fn ratio(part: usize, whole: usize) -> f64 {
    let count = |lines: usize| f64::from(u32::try_from(lines).unwrap_or(u32::MAX));
    count(part) / count(whole)
}

impl Member {
    /// Lines of its files, tests in files of their own aside.
    fn lines(&self) -> usize {
        self.modules.modules.iter().map(|module| module.file_lines).sum()
    }

    /// The imports that point up, as `file:line imports module`.
    pub(crate) fn upward(&self) -> Vec<(&Module, &Module, Import)> {
        let modules = &self.modules.modules;
        let imports = self.modules.imports().into_iter().filter(|import| import.to > import.from);
        imports.map(|import| (&modules[import.from], &modules[import.to], import)).collect()
    }
}

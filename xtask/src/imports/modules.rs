//! The modules of one crate, from the lowest to the highest, and which of them import which.
//!
//! The order is that of the `mod` declarations; the files below a module precede it, since it consists of them. The
//! root (`lib.rs`, `main.rs`) is the highest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::file::{self, Function, ItemPath};

/// A crate's modules.
#[derive(Debug)]
pub(crate) struct Modules {
    /// From the lowest to the highest; the root is the last.
    pub(crate) modules: Vec<Module>,
    /// Index in `modules` by path.
    places: BTreeMap<Vec<String>, usize>,
}

/// A module with its own file.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its names from the root on: none for the root.
    pub(crate) path: Vec<String>,
    /// The file, relative to the root of the workspace.
    pub(crate) file: PathBuf,
    pub(crate) file_lines: usize,
    pub(crate) functions: Vec<Function>,
    paths: Vec<ItemPath>,
    /// Names of the modules directly below it.
    children: BTreeSet<String>,
}

/// One module names something of another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// Indices in [`Modules::modules`].
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// In the file of `from`.
    pub(crate) line: usize,
}

impl Modules {
    /// Reads the crate whose root is this file.
    pub(crate) fn read(workspace: &Path, root: &Path) -> Result<Self> {
        let mut modules = Vec::new();
        let folder = root.parent().unwrap_or(workspace);
        read_module(workspace, root, folder, Vec::new(), &mut modules)?;
        let places = modules.iter().enumerate().map(|(place, module)| (module.path.clone(), place)).collect();
        Ok(Self { modules, places })
    }

    /// Everything that a module names of another one, each pair once.
    pub(crate) fn imports(&self) -> Vec<Import> {
        let mut imports: Vec<Import> = Vec::new();
        for (from, module) in self.modules.iter().enumerate() {
            let mut seen = BTreeSet::new();
            for path in &module.paths {
                if let Some(to) = self.target(module, &path.segments)
                    && to != from
                    && seen.insert(to)
                {
                    imports.push(Import { from, to, line: path.line });
                }
            }
        }
        imports
    }

    /// The module that a path leads to; `None` for another crate.
    fn target(&self, module: &Module, segments: &[String]) -> Option<usize> {
        let mut path = match segments.first()?.as_str() {
            "crate" => Vec::new(),
            "super" | "self" => module.path.clone(),
            first if module.children.contains(first) => module.path.clone(),
            _ => return None,
        };
        for segment in segments {
            match segment.as_str() {
                "crate" | "self" => {}
                "super" => {
                    path.pop();
                }
                name => {
                    path.push(name.to_owned());
                    if !self.places.contains_key(&path) {
                        path.pop();
                        break;
                    }
                }
            }
        }
        self.places.get(&path).copied()
    }
}

impl Module {
    /// Its name, as in `crate::journal::queue`.
    pub(crate) fn name(&self) -> String {
        if self.path.is_empty() { "crate".to_owned() } else { self.path.join("::") }
    }
}

/// Reads a module and all modules below it, and adds it after them.
fn read_module(
    workspace: &Path,
    file: &Path,
    folder: &Path,
    path: Vec<String>,
    modules: &mut Vec<Module>,
) -> Result<()> {
    let source = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let read = file::read(&source);
    let mut children = BTreeSet::new();
    for name in read.modules {
        let path: Vec<String> = path.iter().cloned().chain([name.clone()]).collect();
        let candidates = [folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")];
        // A module inside an inline module (`mod a { mod b; }`) is not read.
        let Some(file) = candidates.iter().find(|file| file.is_file()) else { continue };
        read_module(workspace, file, &folder.join(&name), path, modules)?;
        children.insert(name);
    }
    modules.push(Module {
        path,
        file: file.strip_prefix(workspace).unwrap_or(file).to_owned(),
        file_lines: source.lines().count(),
        functions: read.functions,
        paths: read.paths,
        children,
    });
    Ok(())
}

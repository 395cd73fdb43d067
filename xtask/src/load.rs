//! Reads the files of the catalogue.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde::de::DeserializeOwned;

use crate::model::{Catalogue, Module, ReleaseTable};

/// The file that lists the releases; every other one describes a module.
const RELEASES: &str = "releases.toml";

/// Reads all `*.toml` of a directory, in the order of their names.
///
/// # Errors
///
/// The file with the line and the invalid key.
pub(crate) fn load(directory: &Path) -> Result<Catalogue> {
    let releases: ReleaseTable = read(&directory.join(RELEASES))?;
    let mut modules = Vec::new();
    for path in files(directory)? {
        let module: Module = read(&path)?;
        let expected = path.file_stem().and_then(|stem| stem.to_str());
        if expected != Some(&module.module) {
            return Err(anyhow!("{}: module = {:?} does not match the file", shown(&path), module.module));
        }
        modules.push(module);
    }
    Ok(Catalogue { releases: releases.release, modules })
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        let is_module = path.extension().is_some_and(|extension| extension == "toml")
            && path.file_name().is_some_and(|name| name != RELEASES);
        if is_module {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).map_err(|error| anyhow!("{}: {error}", shown(path)))
}

/// Returns the path as users write it: `catalogue/char.toml`.
fn shown(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("catalogue/{name}")
}

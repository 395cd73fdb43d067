//! Tasks of this source tree: `cargo xtask codegen [--check]`, `imports`, `layers`.
//!
//! `codegen` reads `catalogue/*.toml`, refuses an inconsistent catalogue, and writes the generated part of
//! `crates/qmp-events`, the typed commands of `crates/qmp-client`, the types of the HTTP interface for the page
//! (`crates/qmp-http/web`), the page `docs/events.md`, a table in `README.md`, and, from the documentation of constants, the
//! page `docs/limits.md`.
//! With `--check` it writes nothing and fails if a file differs from the generated text.
//!
//! `imports` prints the imports between crates and modules, and their circles. `layers` fails on an import that points
//! up, and on a file or a function that is too long.

mod release;
mod names;
mod model;
mod shape;
mod conditions;
mod check;
mod load;
mod seen;
mod page;
mod rust;
mod commands;
mod limits;
mod typescript;
mod output;
mod imports;
mod layers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask codegen [--check] | imports | layers";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *arguments {
        ["codegen"] => codegen(&root()),
        ["codegen", "--check"] => check_freshness(&root()),
        ["imports"] => print_imports(&root()),
        ["layers"] => check_layers(&root()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

fn codegen(root: &Path) -> Result<()> {
    let changed = output::stale(root, &output::generate(root)?)?;
    for change in &changed {
        change.apply()?;
        println!("{}", change.done());
    }
    Ok(())
}

fn check_freshness(root: &Path) -> Result<()> {
    let changed = output::stale(root, &output::generate(root)?)?;
    if changed.is_empty() {
        return Ok(());
    }
    for change in &changed {
        eprintln!("{}", change.due());
    }
    bail!("generated files are out of date: run `cargo xtask codegen`");
}

fn print_imports(root: &Path) -> Result<()> {
    print!("{}", imports::report(&imports::members(root)?)?);
    Ok(())
}

fn check_layers(root: &Path) -> Result<()> {
    let violations = layers::violations(root)?;
    violations.iter().for_each(|violation| eprintln!("{violation}"));
    if violations.is_empty() { Ok(()) } else { bail!("{} violations", violations.len()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn generated_files_match_the_catalogue() {
        super::check_freshness(&super::root()).unwrap();
    }

    #[test]
    fn imports_point_down_and_files_and_functions_are_short() {
        let found = super::layers::violations(&super::root()).unwrap();
        assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
    }
}

//! Debian packages, downloaded and unpacked, not installed: no rights are needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// apt's own lists of packages may be missing or out of date, and only root may write them.
#[derive(Debug)]
pub(crate) struct Packages {
    directory: PathBuf,
    options: Vec<String>,
}

impl Packages {
    /// Downloads into a directory.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), options: Vec::new() }
    }

    /// Downloads the package `name`, or the one that it depends on, and unpacks it.
    ///
    /// # Errors
    ///
    /// The fault, in a sentence.
    pub(crate) fn unpack(&mut self, name: &str, into: &Path) -> Result<(), String> {
        let mut got = self.download(name);
        if got.is_err() && self.options.is_empty() {
            self.lists_of_its_own()?;
            got = self.download(name);
        }
        self.run("dpkg-deb", &["-x", path(&got?), path(into)]).map(drop)
    }

    fn download(&self, name: &str) -> Result<PathBuf, String> {
        let name = self.real(name)?;
        self.apt("apt-get", &["download", &name])?;
        let prefix = format!("{name}_");
        let entries = fs::read_dir(&self.directory).map_err(|error| error.to_string())?;
        let mut files = entries.filter_map(Result::ok).map(|entry| entry.path());
        let is_it =
            |file: &PathBuf| file.file_name().is_some_and(|file| path(file.as_ref()).starts_with(&prefix));
        files.find(is_it).ok_or_else(|| format!("apt-get left no package {name}"))
    }

    /// `linux-image-amd64` is an empty package that depends on the one of the newest version.
    fn real(&self, name: &str) -> Result<String, String> {
        let depends = self.apt("apt-cache", &["depends", name])?;
        let prefix = name.trim_end_matches("-amd64");
        let mut needed = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(needed.find(|needed| needed.starts_with(prefix)).unwrap_or(name).to_owned())
    }

    /// Downloads lists of packages into the directory.
    fn lists_of_its_own(&mut self) -> Result<(), String> {
        let state = self.directory.join("apt");
        fs::create_dir_all(state.join("lists/partial")).map_err(|error| error.to_string())?;
        self.options = [
            "Dir::State::Lists=lists",
            "Dir::Cache::pkgcache=pkgcache.bin",
            "Dir::Cache::srcpkgcache=srcpkgcache.bin",
        ]
        .iter()
        .filter_map(|option| option.split_once('='))
        .flat_map(|(key, file)| ["-o".to_owned(), format!("{key}={}", path(&state.join(file)))])
        .collect();
        self.apt("apt-get", &["update"]).map(drop)
    }

    fn apt(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        self.run(program, &[&options, arguments].concat())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(program);
        let output = command.args(arguments).env("LC_ALL", "C").current_dir(&self.directory).output();
        let output = output.map_err(|error| format!("{program} cannot be run: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(format!("{program} {}: {}", arguments.join(" "), complaint.trim()))
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path that is a text")
}

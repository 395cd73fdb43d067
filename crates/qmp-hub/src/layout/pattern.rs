//! Paths with patterns in them, such as `/run/vm/*.sock`.
//!
//! Each component is a name or a glob (`*`, `?`, `[a-z]`, `{a,b}`); none spans several directories. A walk returns the
//! sockets that match, and the directories to be watched, in which other matches could appear.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, PathBuf};
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

/// Directory entries read in one walk. A user who may write to a watched directory must not keep the hub busy.
const ENTRIES_MAX: usize = 262_144;

/// An absolute path with patterns in it.
#[derive(Clone, Debug)]
pub struct PathPattern {
    text: Box<str>,
    components: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Name(Box<OsStr>),
    Glob(GlobMatcher),
}

/// Errors of reading a [`PathPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// No socket can be at the path.
    #[error("\"{text}\" is no path of sockets; write something like /run/vm/*.sock")]
    NoPath {
        /// The text that was given.
        text: Box<str>,
    },
    /// A pattern cannot be read.
    #[error("\"{text}\": {what}")]
    Glob {
        /// The pattern.
        text: Box<str>,
        /// The error.
        what: Box<str>,
    },
    /// A pattern spans directories.
    #[error("\"{text}\": ** is not known here; write * for each directory between")]
    TwoStars {
        /// The pattern.
        text: Box<str>,
    },
}

/// By their texts.
impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathPattern {}

/// The result of a walk.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    pub(crate) sockets: Vec<PathBuf>,
    /// Existing directories whose entries decided the result.
    pub(crate) directories: Vec<PathBuf>,
    /// Entries that may still be read.
    pub(crate) entries_left: usize,
}

impl PathPattern {
    /// All sockets of a directory.
    ///
    /// # Errors
    ///
    /// As with [`str::parse`].
    pub fn directory(path: &str) -> Result<Self, PatternError> {
        let escaped: String = path
            .chars()
            .map(|letter| match letter {
                '*' | '?' | '[' | ']' | '{' | '}' => format!("[{letter}]"),
                letter => letter.to_string(),
            })
            .collect();
        let pattern: Self = format!("{}/*", escaped.trim_end_matches('/')).parse()?;
        Ok(Self { text: path.into(), ..pattern })
    }

    /// Walks along the pattern, and adds to the result of other patterns.
    pub(crate) fn walk(&self, walk: &mut Walk) {
        step(PathBuf::from("/"), &self.components, walk);
    }
}

/// Walks on from `at`, the directory of the remaining components.
fn step(at: PathBuf, components: &[Part], walk: &mut Walk) {
    let Some((first, rest)) = components.split_first() else {
        // Links are followed: a link to a socket counts as a socket.
        if std::fs::metadata(&at).is_ok_and(|found| found.file_type().is_socket()) {
            walk.sockets.push(at);
        }
        return;
    };
    match first {
        Part::Name(name) => {
            let next = at.join(&**name);
            let exists = next.exists();
            if !exists || rest.is_empty() {
                // The missing entry would appear here.
                walk.directories.push(at);
            }
            if exists {
                step(next, rest, walk);
            }
        }
        Part::Glob(glob) => {
            let Ok(entries) = std::fs::read_dir(&at) else { return };
            let mut names = Vec::new();
            for entry in entries.flatten() {
                if walk.entries_left == 0 {
                    break;
                }
                walk.entries_left -= 1;
                let name = entry.file_name();
                // As in a shell, a glob does not match hidden entries.
                if glob.is_match(&name) && !name.as_encoded_bytes().starts_with(b".") {
                    names.push(name);
                }
            }
            names.sort();
            for name in names {
                step(at.join(name), rest, walk);
            }
            walk.directories.push(at);
        }
    }
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let path = if text.starts_with('/') {
            PathBuf::from(text)
        } else {
            std::path::absolute(text).map_err(|_| PatternError::NoPath { text: text.into() })?
        };
        let mut components = Vec::new();
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir => {}
                Component::Prefix(_) | Component::ParentDir => {
                    return Err(PatternError::NoPath { text: text.into() });
                }
                Component::Normal(name) => components.push(part(name, text)?),
            }
        }
        if components.is_empty() {
            return Err(PatternError::NoPath { text: text.into() });
        }
        Ok(Self { text: text.into(), components })
    }
}

fn part(name: &OsStr, text: &str) -> Result<Part, PatternError> {
    // Patterns are UTF-8.
    let glob = name.to_string_lossy();
    if glob == "**" {
        return Err(PatternError::TwoStars { text: text.into() });
    }
    if !glob.contains(['*', '?', '[', '{']) {
        return Ok(Part::Name(name.into()));
    }
    match GlobBuilder::new(&glob).literal_separator(true).build() {
        Ok(glob) => Ok(Part::Glob(glob.compile_matcher())),
        Err(error) => Err(PatternError::Glob { text: text.into(), what: error.kind().to_string().into() }),
    }
}

impl Walk {
    pub(crate) fn new() -> Self {
        Self { entries_left: ENTRIES_MAX, ..Self::default() }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_walk_tells_sockets_and_what_to_watch() {
        let home = tempfile::tempdir().expect("a directory");
        let at = |path: &str| home.path().join(path);
        for directory in ["vm/a", "vm/b", "vm/.c"] {
            std::fs::create_dir_all(at(directory)).expect("made");
        }
        std::fs::write(at("vm/a/file.sock"), "").expect("written");
        let sockets = ["vm/a/qmp.sock", "vm/b/qmp.sock", "vm/b/.hidden.sock", "vm/.c/qmp.sock", "vm/b/qga"];
        let _bound: Vec<_> =
            sockets.iter().map(|path| UnixListener::bind(at(path)).expect("bound")).collect();
        std::os::unix::fs::symlink(at("vm/b"), at("vm/link")).expect("linked");

        //  pattern            sockets                                            directories
        let cases = [
            ("vm/b/*.sock", "vm/b/qmp.sock", "vm/b"),
            ("vm/*/qmp.sock", "vm/a/qmp.sock vm/b/qmp.sock vm/link/qmp.sock", "vm/a vm/b vm/link vm"),
            ("vm/b/*", "vm/b/qga vm/b/qmp.sock", "vm/b"),
            ("vm/b/qmp.sock", "vm/b/qmp.sock", "vm/b"),
            ("vm/[ab]/q{mp,ga}*", "vm/a/qmp.sock vm/b/qga vm/b/qmp.sock", "vm/a vm/b vm"),
            ("none/*.sock", "", "."),
            ("none/deep/*.sock", "", "."),
            ("vm/*/none/*.sock", "", "vm/a vm/b vm/link vm"),
        ];
        for (pattern, sockets, directories) in cases {
            let mut walk = Walk::new();
            let path = format!("{}/{pattern}", home.path().display());
            path.parse::<PathPattern>().expect("a pattern").walk(&mut walk);
            let short = |paths: &[PathBuf]| {
                let of_home = |path: &PathBuf| match path.strip_prefix(home.path()) {
                    Ok(path) if path.as_os_str().is_empty() => ".".to_owned(),
                    Ok(path) => path.display().to_string(),
                    Err(_) => path.display().to_string(),
                };
                paths.iter().map(of_home).collect::<Vec<_>>().join(" ")
            };
            assert_eq!(short(&walk.sockets), sockets, "{pattern}");
            assert_eq!(short(&walk.directories), directories, "{pattern}");
        }
    }

    #[test]
    fn patterns_that_cannot_be_are_refused() {
        let cases = [
            ("/", "\"/\" is no path of sockets; write something like /run/vm/*.sock"),
            (
                "/run/../*.sock",
                "\"/run/../*.sock\" is no path of sockets; write something like /run/vm/*.sock",
            ),
            ("/run/**/x", "\"/run/**/x\": ** is not known here; write * for each directory between"),
            ("/run/[a/x", "\"/run/[a/x\": unclosed character class; missing ']'"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<PathPattern>().map(|pattern| pattern.to_string());
            assert_eq!(error.expect_err(text).to_string(), expected);
        }
    }

    #[test]
    fn a_directory_is_taken_by_its_name() {
        let home = tempfile::tempdir().expect("a directory");
        let odd = home.path().join("[vm]*");
        std::fs::create_dir(&odd).expect("made");
        let _bound = UnixListener::bind(odd.join("a.sock")).expect("bound");
        let mut walk = Walk::new();
        let pattern = PathPattern::directory(odd.to_str().expect("UTF-8")).expect("a pattern");
        pattern.walk(&mut walk);
        assert_eq!(walk.sockets, [odd.join("a.sock")]);
    }
}

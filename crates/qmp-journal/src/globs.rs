//! Patterns for names.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use qmp_wire::QualifiedName;

/// Errors of reading a query's parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// A pattern cannot be read.
    #[error(
        "bad pattern {pattern:?}: {what}; use * ? [a-z] {{a,b}}, ! before one that excludes, and \\ before one meant literally"
    )]
    Glob {
        /// The pattern.
        pattern: Box<str>,
        /// The fault of the pattern.
        what: Box<str>,
    },
    /// A condition is not of the form PATH=VALUE.
    #[error("bad condition {text:?}: write PATH=VALUE, such as action=reset or info.type=hyper-v")]
    Where {
        /// The condition.
        text: Box<str>,
    },
}

/// Patterns for names, one of which must match; without patterns every name matches.
///
/// `*` any text, `?` one character, `[a-z]` a range, `{a,b}` alternatives. Upper and lower case differ. A pattern after `!`
/// excludes the names that it matches; a list of such patterns alone matches every other name. `\!` is the character.
#[derive(Clone, Debug, Default)]
pub struct Globs {
    included: Option<PatternSet>,
    excluded: Option<PatternSet>,
    patterns: Vec<Box<str>>,
}

/// Compiled patterns, apart by what of a VM's name they are compared with.
#[derive(Clone, Debug)]
struct PatternSet {
    /// Without a `/`.
    plain: GlobSet,
    /// With a `/`.
    qualified: GlobSet,
    /// With a `/` in front, which is left out.
    local: GlobSet,
}

/// Compared by their patterns.
impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for Globs {}

impl Globs {
    /// Parses patterns.
    ///
    /// # Errors
    ///
    /// [`QueryError::Glob`] for the first pattern that is invalid.
    pub fn parse<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, QueryError> {
        let patterns: Vec<Box<str>> = patterns.into_iter().map(|pattern| pattern.as_ref().into()).collect();
        let (mut included, mut excluded) = (Vec::new(), Vec::new());
        for pattern in &patterns {
            match pattern.strip_prefix('!') {
                Some(rest) => excluded.push((rest, &**pattern)),
                None => included.push((&**pattern, &**pattern)),
            }
        }
        Ok(Self { included: PatternSet::of(&included)?, excluded: PatternSet::of(&excluded)?, patterns })
    }

    /// Patterns that match these names and nothing else.
    #[must_use]
    pub fn of_names<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self::parse(names.into_iter().map(escaped)).unwrap_or_default()
    }

    /// Patterns that match these VMs and nothing else, by the names by which a journal keys them.
    #[must_use]
    pub fn of_vms<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let pattern = |name| match QualifiedName::parse(name) {
            Some(_) => escaped(name),
            None => format!("/{}", escaped(name)),
        };
        Self::parse(names.into_iter().map(pattern)).unwrap_or_default()
    }

    /// Whether `name` matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.included.as_ref().is_none_or(|set| set.matches(name))
            && !self.excluded.as_ref().is_some_and(|set| set.matches(name))
    }

    /// Whether the VM matches that a journal keys by `name`.
    ///
    /// A pattern is compared with the VM's name on its host; one with a `/` with the whole [`QualifiedName`], and one that begins
    /// with `/` with the names of VMs of this host.
    #[must_use]
    pub fn matches_vm(&self, name: &str) -> bool {
        if self.is_any() {
            return true;
        }
        let (host, vm) = QualifiedName::divide(name);
        let has = |set: &PatternSet| set.matches_vm(name, host, vm);
        self.included.as_ref().is_none_or(has) && !self.excluded.as_ref().is_some_and(has)
    }

    /// Whether the host matches of the VM that a journal keys by `name`. A VM of this host matches if no pattern but those after
    /// `!` is given.
    #[must_use]
    pub fn matches_host(&self, name: &str) -> bool {
        self.is_any()
            || match QualifiedName::parse(name) {
                Some(QualifiedName { host, .. }) => self.matches(host),
                None => self.included.is_none(),
            }
    }

    /// The patterns as they were given.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| &**pattern)
    }

    /// Whether every name matches because no pattern was given.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.patterns.is_empty()
    }
}

impl PatternSet {
    /// The set of these patterns, each with the text for an error; `None` without any.
    fn of(patterns: &[(&str, &str)]) -> Result<Option<Self>, QueryError> {
        if patterns.is_empty() {
            return Ok(None);
        }
        let (mut plain, mut qualified, mut local) =
            (GlobSetBuilder::new(), GlobSetBuilder::new(), GlobSetBuilder::new());
        for (pattern, given) in patterns {
            let (set, pattern) = match pattern.strip_prefix('/') {
                Some(rest) => (&mut local, rest),
                None if pattern.contains('/') => (&mut qualified, *pattern),
                None => (&mut plain, *pattern),
            };
            set.add(glob(pattern).map_err(|error| refused(given, &error))?);
        }
        let build = |set: GlobSetBuilder| set.build().map_err(|error| refused("", &error));
        Ok(Some(Self { plain: build(plain)?, qualified: build(qualified)?, local: build(local)? }))
    }

    fn matches(&self, name: &str) -> bool {
        self.plain.is_match(name)
            || self.qualified.is_match(name)
            || name.strip_prefix('/').is_some_and(|rest| self.local.is_match(rest))
    }

    fn matches_vm(&self, name: &str, host: Option<&str>, vm: &str) -> bool {
        self.plain.is_match(vm)
            || self.qualified.is_match(name)
            || (host.is_none() && self.local.is_match(name))
    }
}

fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).backslash_escape(true).build()
}

/// The pattern that matches `name` alone.
fn escaped(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len() + 1);
    for character in name.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '{' | '}' | '\\' | '!') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

fn refused(pattern: &str, error: &globset::Error) -> QueryError {
    QueryError::Glob { pattern: pattern.into(), what: error.kind().to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_glob_patterns_and_bad_pattern_is_refused() {
        let cases: [(&[&str], &str, bool); 14] = [
            (&["*", "!noisy1"], "noisy1", false),
            (&["*", "!noisy1"], "web1", true),
            (&["!noisy*"], "web1", true),
            (&["!noisy*", "noisy1"], "noisy1", false),
            (&["\\!web1"], "!web1", true),
            (&[], "anything", true),
            (&["web*"], "web1", true),
            (&["web*"], "db1", false),
            (&["web*", "db?"], "db1", true),
            (&["BLOCK_*"], "BLOCK_IO_ERROR", true),
            (&["block_*"], "BLOCK_IO_ERROR", false),
            (&["{STOP,RESUME}"], "RESUME", true),
            (&["*"], "a/b", true),
            (&["a\\*"], "ab", false),
        ];
        for (patterns, name, expected) in cases {
            let globs = Globs::parse(patterns).expect("patterns can be read");
            assert_eq!(globs.matches(name), expected, "{patterns:?} {name}");
        }
        let error = Globs::parse(["ok", "[a"]).expect_err("an unclosed class");
        assert!(error.to_string().starts_with("bad pattern \"[a\": "), "{error}");
    }

    #[test]
    fn vm_is_compared_by_its_name_on_its_host_or_by_the_qualified_name() {
        //  patterns                     web1   node1/web1   node2/web1
        type Case = (&'static [&'static str], [bool; 3]);
        let cases: [Case; 12] = [
            (&[], [true, true, true]),
            (&["web1"], [true, true, true]),
            (&["web*"], [true, true, true]),
            (&["node1/web1"], [false, true, false]),
            (&["node*/web?"], [false, true, true]),
            (&["*/web1"], [false, true, true]),
            (&["/web1"], [true, false, false]),
            (&["/*"], [true, false, false]),
            (&["!node1/*"], [true, false, true]),
            (&["!/web1"], [false, true, true]),
            (&["web*", "!node2/web1"], [true, true, false]),
            (&["{node1/web1,web1}"], [true, true, false]),
        ];
        for (patterns, expected) in cases {
            let globs = Globs::parse(patterns).expect("patterns can be read");
            let found = ["web1", "node1/web1", "node2/web1"].map(|name| globs.matches_vm(name));
            assert_eq!(found, expected, "{patterns:?}");
        }
    }

    #[test]
    fn vm_of_this_host_has_no_host_to_match() {
        //  patterns                     web1   node1/web1   db-1.example/web1
        type Case = (&'static [&'static str], [bool; 3]);
        let cases: [Case; 6] = [
            (&[], [true, true, true]),
            (&["node1"], [false, true, false]),
            (&["*"], [false, true, true]),
            (&["!node1"], [true, false, true]),
            (&["!*"], [true, false, false]),
            (&["*", "!node1"], [false, false, true]),
        ];
        for (patterns, expected) in cases {
            let globs = Globs::parse(patterns).expect("patterns can be read");
            let found = ["web1", "node1/web1", "db-1.example/web1"].map(|name| globs.matches_host(name));
            assert_eq!(found, expected, "{patterns:?}");
        }
    }

    #[test]
    fn literal_patterns_match_their_name_alone() {
        let names =
            ["web1", "a*b", "[x]", "{a,b}", "c\\d", "!", "db/ü \"x\"", "?", "/a", "a b/c", "node1/!x", ""];
        for name in names {
            let (of_name, of_vm) = (Globs::of_names([name]), Globs::of_vms([name]));
            for other in names.into_iter().chain(["axb", "x", "a", "node1/web1", "db/web1"]) {
                assert_eq!(of_name.matches(other), other == name, "{name}: {other}");
                assert_eq!(of_vm.matches_vm(other), other == name, "{name}: {other}");
            }
        }
    }
}

//! The errors of the catalogue, collected.

use crate::model::Catalogue;
use crate::release::Release;

/// The errors found so far.
#[derive(Default)]
pub(super) struct Errors(pub(super) Vec<String>);

impl Errors {
    pub(super) fn add(&mut self, location: &str, error: impl std::fmt::Display) {
        self.0.push(format!("{location}: {error}"));
    }

    /// Adds an error for each release that is not in the table.
    pub(super) fn unless_known<'a>(
        &mut self,
        location: &str,
        catalogue: &Catalogue,
        releases: impl IntoIterator<Item = &'a Option<Release>>,
    ) {
        for release in releases.into_iter().flatten() {
            if !catalogue.releases.contains(release) {
                self.add(location, format_args!("release {release} is not in catalogue/releases.toml"));
            }
        }
    }

    /// Adds an error for each pair of releases that is not increasing.
    pub(super) fn unless_increasing(
        &mut self,
        location: &str,
        spans: &[(&str, Option<Release>, &str, Option<Release>)],
    ) {
        for (earlier_key, earlier, later_key, later) in spans {
            if let (Some(earlier), Some(later)) = (earlier, later)
                && earlier >= later
            {
                self.add(
                    location,
                    format_args!("{later_key} = {later} must come after {earlier_key} = {earlier}"),
                );
            }
        }
    }

    /// Adds an error for each duplicate name.
    pub(super) fn unless_distinct<'a>(
        &mut self,
        location: &str,
        what: &str,
        names: impl Iterator<Item = &'a str>,
    ) {
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                self.add(location, format_args!("{what} {name} is defined twice"));
            }
        }
    }

    /// Adds an error unless the text is one non-empty line.
    pub(super) fn unless_sentence(&mut self, location: &str, key: &str, text: &str) {
        if text.trim().is_empty() || text.contains('\n') || text.trim() != text {
            self.add(location, format_args!("{key} must be one line of text"));
        }
    }
}

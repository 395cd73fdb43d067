//! The features of events, members and values in introspection.

use crate::release::Release;

/// The features that the catalogue contains, too: deprecated and unstable.
pub(super) const FEATURES: [&str; 2] = ["deprecated", "unstable"];

/// First release whose introspection shows deprecation.
const SHOWS_DEPRECATED_SINCE: Release = Release::new(5, 0);

/// First release whose introspection shows instability, and features of enum values.
pub(super) const SHOWS_UNSTABLE_SINCE: Release = Release::new(6, 2);

/// Returns which of [`FEATURES`] the introspection of a release shows.
pub(super) fn features(release: Release, deprecated: Option<Release>, unstable: bool) -> [bool; 2] {
    let is_deprecated = deprecated.is_some_and(|deprecated| release >= deprecated);
    [is_deprecated && release >= SHOWS_DEPRECATED_SINCE, unstable && release >= SHOWS_UNSTABLE_SINCE]
}

//! Rate limits by release.
//!
//! QEMU sends the first of similar events at once and holds the newest of those that follow within the interval.
//! The definition of similar events and the exemptions changed over the releases.
//!
//! Source: QEMU `monitor/monitor.c`.

use std::time::Duration;

use crate::release::Release;

/// Describes the rate limit of an event in all releases.
#[derive(Debug)]
#[non_exhaustive]
pub struct ThrottleDesc {
    /// Shortest time between two events of one key, in milliseconds.
    pub interval_ms: u32,
    /// First release that limits the event.
    pub since: Release,
    /// The members with a separate limit for each value, in the order of `since`.
    pub keys: &'static [KeyDesc],
    /// The events that are never held.
    pub exempt: Option<ExemptDesc>,
}

/// A member with a separate limit for each of its values.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeyDesc {
    /// The member of `data`.
    pub member: &'static str,
    /// First release with this key.
    pub since: Release,
}

/// Events that are never held: those whose `member` is `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExemptDesc {
    /// The member of `data`.
    pub member: &'static str,
    /// Its value.
    pub value: &'static str,
    /// First release with the exemption.
    pub since: Release,
    /// Stable releases of older lines since which the exemption exists there, too.
    pub also: &'static [Release],
}

/// The rate limit of an event in one release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Throttle {
    /// Shortest time between two events of one key.
    pub interval: Duration,
    /// The member with a separate limit for each of its values; `None`: one limit for the event.
    pub key: Option<&'static str>,
    /// The events that are never held.
    pub exempt: Option<ExemptDesc>,
}

impl ExemptDesc {
    /// Returns whether `release` has the exemption.
    pub fn applies_in(&self, release: Release) -> bool {
        release >= self.since || self.also.iter().any(|stable| release.follows_in_line(*stable))
    }
}

//! Whether the journal can be written.

use std::fmt;
use std::path::{Path, PathBuf};

use qmp_host::clock::Clock;
use qmp_wire::UnixMicros;
use tokio::sync::watch;

/// Whether the journal can be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Every commit succeeds.
    #[default]
    Writing,
    /// The last commit failed and is retried; new drafts are kept as long as there is room.
    Stalled {
        /// Since when, on this host's clock.
        since: UnixMicros,
        /// The error, and a remedy.
        error: Box<str>,
    },
}

/// Publishes and logs each change of health once.
#[derive(Debug)]
pub(super) struct HealthReporter {
    path: PathBuf,
    clock: Clock,
    health: watch::Sender<Health>,
}

impl fmt::Display for Health {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writing => formatter.write_str("writing"),
            Self::Stalled { since, error } => {
                write!(formatter, "nothing can be written since {}: {error}", utc_text(*since))
            }
        }
    }
}

impl HealthReporter {
    pub(super) fn new(path: &Path, clock: Clock) -> Self {
        Self { path: path.to_owned(), clock, health: watch::Sender::default() }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Reports a commit that succeeded, or the error of one that failed.
    pub(super) fn report(&self, error: Option<&str>) {
        self.health.send_if_modified(|health| match (&*health, error) {
            (Health::Writing, None) => false,
            (Health::Stalled { error: known, .. }, Some(error)) if **known == *error => false,
            (Health::Stalled { since, .. }, None) => {
                tracing::info!(journal = %self.path.display(), since = %utc_text(*since), "journal writes again");
                *health = Health::Writing;
                true
            }
            (known, Some(error)) => {
                let since = match known {
                    Health::Stalled { since, .. } => *since,
                    Health::Writing => self.clock.now(),
                };
                tracing::error!(journal = %self.path.display(), "nothing can be written: {error}");
                *health = Health::Stalled { since, error: error.into() };
                true
            }
        });
    }
}

/// A time as text, in UTC with microseconds.
pub(super) fn utc_text(time: UnixMicros) -> String {
    jiff::Timestamp::from_microsecond(time.0)
        .map_or_else(|_| format!("{} µs", time.0), |time| format!("{time:.6}"))
}

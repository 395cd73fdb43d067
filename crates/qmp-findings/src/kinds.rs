//! The kinds of findings.

use crate::budget;
use crate::clock_steps;
use crate::drift;
use crate::interrupted;
use crate::jobs;
use crate::migration;
use crate::powerdown;
use crate::sequels;
use crate::storms;
use crate::unplug;
use crate::unplug_ignored;
use crate::unseen;
use crate::why;

/// The kind of the finding that a monitor does not answer. The hub adds it, since the hub knows when it asked.
pub const SILENT: &str = "silent";

/// The kind of the finding that a monitor answers again.
pub const ANSWERS_AGAIN: &str = "answers-again";

/// Every kind of finding.
pub const KINDS: [&str; 21] = [
    clock_steps::CLOCK_STEP,
    storms::FLAPPING,
    storms::FLAPPING_OVER,
    budget::FINDINGS_WITHHELD,
    unplug::HOT_UNPLUG,
    jobs::JOB,
    migration::MIGRATION,
    interrupted::MIGRATION_INTERRUPTED,
    powerdown::POWERDOWN_IGNORED,
    drift::SCHEMA_DRIFT,
    sequels::SEQUEL_MISSING,
    unseen::STATE_CHANGED_UNSEEN,
    storms::STORM,
    storms::STORM_OVER,
    ANSWERS_AGAIN,
    SILENT,
    unplug_ignored::UNPLUG_IGNORED,
    why::WHY_ENDED,
    why::WHY_PAUSED,
    why::WHY_RESET,
    why::WHY_SUSPENDED,
];

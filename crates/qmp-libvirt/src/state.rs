//! The state of a domain, and whether libvirtd can speak to its QEMU.

use std::borrow::Cow;

use crate::lifecycle::{Lifecycle, LifecycleEvent};
use crate::words::word;
use crate::xdr::{Decoder, XdrError};

/// The states, by number.
const STATES: [&str; 8] =
    ["nostate", "running", "blocked", "paused", "shutdown", "shutoff", "crashed", "pmsuspended"];

/// The reasons of each state, by number.
const REASONS: [&[&str]; 8] = [
    &["unknown"],
    &[
        "unknown",
        "booted",
        "migrated",
        "restored",
        "from-snapshot",
        "unpaused",
        "migration-cancelled",
        "save-cancelled",
        "wakeup",
        "crashed",
        "postcopy",
        "postcopy-failed",
    ],
    &["unknown"],
    &[
        "unknown",
        "user",
        "migration",
        "save",
        "dump",
        "ioerror",
        "watchdog",
        "from-snapshot",
        "shutting-down",
        "snapshot",
        "crashed",
        "starting-up",
        "postcopy",
        "postcopy-failed",
        "api-error",
    ],
    &["unknown", "user"],
    &[
        "unknown",
        "shutdown",
        "destroyed",
        "crashed",
        "migrated",
        "saved",
        "failed",
        "from-snapshot",
        "daemon",
    ],
    &["unknown", "panicked"],
    &["unknown"],
];

/// The state of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainState {
    /// The state's number.
    pub state: i32,
    /// The number of its reason, which depends on the state.
    pub reason: i32,
}

impl DomainState {
    /// Returns libvirt's word for the state, or its number.
    #[must_use]
    pub fn state_word(self) -> Cow<'static, str> {
        word(&STATES, self.state)
    }

    /// Returns libvirt's word for the reason, or its number.
    #[must_use]
    pub fn reason_word(self) -> Cow<'static, str> {
        let reasons = usize::try_from(self.state).ok().and_then(|state| REASONS.get(state));
        word(reasons.copied().unwrap_or_default(), self.reason)
    }

    /// Returns whether a QEMU belongs to the domain.
    #[must_use]
    pub fn has_process(self) -> bool {
        self.state != 5
    }

    /// How a domain stopped that does not run; `None` if the reason is not known.
    pub(crate) fn how_stopped(self) -> Option<Lifecycle> {
        // The reasons from `shutdown` on are the details of the event, counted from 1.
        let detail = (!self.has_process()).then_some(self.reason)?;
        Some(Lifecycle { event: LifecycleEvent::Stopped, detail: detail - 1 })
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, XdrError> {
        Ok(Self { state: decoder.i32()?, reason: decoder.i32()? })
    }
}

/// Whether libvirtd can speak to the domain's QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// It can.
    Ok,
    /// A job runs, and events arrive.
    Job,
    /// A command waits for its reply, or the monitor is not connected yet.
    Occupied,
    /// The monitor is lost.
    Error,
    /// Any other.
    Other(u32),
}

impl Control {
    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, XdrError> {
        let control = match decoder.u32()? {
            0 => Self::Ok,
            1 => Self::Job,
            2 => Self::Occupied,
            3 => Self::Error,
            other => Self::Other(other),
        };
        let _details = decoder.u32()?;
        let _since_ms = decoder.u64()?;
        Ok(control)
    }
}

#[cfg(test)]
mod tests {
    use super::DomainState;

    #[test]
    fn numbers_of_states_have_libvirts_words() {
        let cases = [
            ((1, 1), "running booted"),
            ((3, 14), "paused api-error"),
            ((3, 15), "paused 15"),
            ((5, 4), "shutoff migrated"),
            ((6, 1), "crashed panicked"),
            ((7, 0), "pmsuspended unknown"),
            ((8, 1), "8 1"),
            ((-1, -1), "-1 -1"),
        ];
        for ((state, reason), expected) in cases {
            let found = DomainState { state, reason };
            assert_eq!(format!("{} {}", found.state_word(), found.reason_word()), expected);
        }
    }
}

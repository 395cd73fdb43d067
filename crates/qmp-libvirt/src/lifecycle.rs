//! Starts, stops and the like of a domain, as libvirt reports them.

use std::borrow::Cow;

use crate::words::word;

/// What happened to a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LifecycleEvent {
    /// Its definition was stored.
    Defined,
    /// Its definition was deleted.
    Undefined,
    /// A QEMU began to run it, or a suspended guest woke.
    Started,
    /// It was paused.
    Suspended,
    /// It goes on.
    Resumed,
    /// Its QEMU ended.
    Stopped,
    /// Its guest ended, and its QEMU may follow.
    Shutdown,
    /// Its guest suspended itself.
    PmSuspended,
    /// Its guest crashed.
    Crashed,
    /// Any other.
    Other(i32),
}

/// A lifecycle event and its detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// What happened.
    pub event: LifecycleEvent,
    /// How, by a number that depends on the event.
    pub detail: i32,
}

impl Lifecycle {
    /// The detail of [`LifecycleEvent::Started`] for a guest that woke: its QEMU is the same.
    pub(crate) const WAKEUP: i32 = 4;

    pub(crate) fn new(event: i32, detail: i32) -> Self {
        let event = match event {
            0 => LifecycleEvent::Defined,
            1 => LifecycleEvent::Undefined,
            2 => LifecycleEvent::Started,
            3 => LifecycleEvent::Suspended,
            4 => LifecycleEvent::Resumed,
            5 => LifecycleEvent::Stopped,
            6 => LifecycleEvent::Shutdown,
            7 => LifecycleEvent::PmSuspended,
            8 => LifecycleEvent::Crashed,
            other => LifecycleEvent::Other(other),
        };
        Self { event, detail }
    }

    /// Returns libvirt's word for the detail, or its number.
    #[must_use]
    pub fn detail_word(self) -> Cow<'static, str> {
        let words: &[&str] = match self.event {
            LifecycleEvent::Defined => &["added", "updated", "renamed", "from-snapshot"],
            LifecycleEvent::Undefined => &["removed", "renamed"],
            LifecycleEvent::Started => {
                &["booted", "migrated", "restored", "from-snapshot", "wakeup", "recreated"]
            }
            LifecycleEvent::Suspended => &[
                "paused",
                "migrated",
                "ioerror",
                "watchdog",
                "restored",
                "from-snapshot",
                "api-error",
                "postcopy",
                "postcopy-failed",
            ],
            LifecycleEvent::Resumed => {
                &["unpaused", "migrated", "from-snapshot", "postcopy", "postcopy-failed"]
            }
            LifecycleEvent::Stopped => &[
                "shutdown",
                "destroyed",
                "crashed",
                "migrated",
                "saved",
                "failed",
                "from-snapshot",
                "recreated",
            ],
            LifecycleEvent::Shutdown => &["finished", "guest", "host"],
            LifecycleEvent::PmSuspended => &["memory", "disk"],
            LifecycleEvent::Crashed => &["panicked", "crashloaded"],
            LifecycleEvent::Other(_) => &[],
        };
        word(words, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::{Lifecycle, LifecycleEvent};

    #[test]
    fn details_have_libvirts_words() {
        let cases = [(2, 2, "restored"), (5, 4, "saved"), (5, 9, "9"), (8, 0, "panicked"), (12, 3, "3")];
        for (event, detail, expected) in cases {
            assert_eq!(Lifecycle::new(event, detail).detail_word(), expected);
        }
        assert_eq!(Lifecycle::new(12, 3).event, LifecycleEvent::Other(12));
    }
}

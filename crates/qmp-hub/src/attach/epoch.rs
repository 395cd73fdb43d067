//! The epoch of one VM, as far as the journal has it.
//!
//! Pure: times are arguments, and so is the journal. Each `append` passes records on and returns whether the journal had
//! room for them. Every loss is recorded: an epoch is closed at the last certain moment, and the next one opens only after
//! the journal has that record.
//!
//! ```text
//!            attached               no room, or detached without room
//! Closed ───────────────▶ Open ───────────────────────────────────────▶ Overrun
//!   ▲  │ no room           │ detached                                      │ room: `detached` is appended
//!   │  └────▶ Unrecorded   ▼                                               ▼
//!   └────────────┴─── Closed ◀─────────────────────────────────────────────┘
//! ```

use std::borrow::Cow;

use qmp_wire::{Body, DetachReason, Timestamp, UnixMicros};

/// The state machine of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EpochMachine {
    state: State,
    /// When the newest record of the epoch was received.
    newest_record: UnixMicros,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open,
    /// The journal had no room, and has an open epoch that must be closed.
    Overrun {
        lost_events: u64,
        /// When the first of them was sent, or the monitor closed.
        certain_until: UnixMicros,
    },
    /// The journal had no room for the record that opens an epoch.
    Unrecorded,
}

/// How many events one read brought, and their times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventTimes {
    count: u64,
    /// When the last of them was received.
    newest_received: UnixMicros,
    /// When the first of them was sent.
    earliest_sent: UnixMicros,
}

/// The result of recording the events of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventsOutcome {
    /// The journal has them.
    Recorded,
    /// They are lost, like those before them.
    Discarded,
    /// They are lost, and the epoch with them: the journal had no room.
    OverrunBegan,
}

/// The effect of the end of a connection on the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DetachOutcome {
    /// The journal has the record that closes the epoch.
    Closed,
    /// The journal had no room for that record.
    OverrunBegan,
    /// No epoch was open, or the record of its overrun waits for room.
    NoneOpen,
}

/// The journal had no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

impl EpochMachine {
    pub(super) const fn new() -> Self {
        Self { state: State::Closed, newest_record: UnixMicros(0) }
    }

    /// Opens an epoch with the VM's state, received at `now`. An overrun must have been recorded before.
    ///
    /// # Errors
    ///
    /// [`NoRoom`]: the VM's state must be queried again when there is room.
    pub(super) fn open(
        &mut self,
        snapshot: &str,
        now: UnixMicros,
        append: impl FnOnce(Body<'_>) -> bool,
    ) -> Result<(), NoRoom> {
        debug_assert!(!self.is_overrun(), "the epoch before is closed first");
        if append(Body::Attached { snapshot: Cow::Borrowed(snapshot) }) {
            *self = Self { state: State::Open, newest_record: now };
            Ok(())
        } else {
            self.state = State::Unrecorded;
            Err(NoRoom)
        }
    }

    /// Records the events of one read. `append` hands them to the journal; it is called only in an open epoch.
    pub(super) fn record_events(
        &mut self,
        times: EventTimes,
        append: impl FnOnce() -> bool,
    ) -> EventsOutcome {
        // Recorded events are certain, however late a rate-limited event was sent.
        let certain_until = times.earliest_sent.max(self.newest_record);
        match &mut self.state {
            State::Open => {
                if append() {
                    self.newest_record = times.newest_received;
                    return EventsOutcome::Recorded;
                }
                self.state = State::Overrun { lost_events: times.count, certain_until };
                EventsOutcome::OverrunBegan
            }
            State::Overrun { lost_events, certain_until: earliest } => {
                *lost_events += times.count;
                *earliest = certain_until.min(*earliest);
                EventsOutcome::Discarded
            }
            State::Closed | State::Unrecorded => EventsOutcome::Discarded,
        }
    }

    /// The connection ended at `now`.
    pub(super) fn detach(
        &mut self,
        reason: &DetachReason,
        detail: &str,
        now: UnixMicros,
        append: impl FnOnce(Body<'_>) -> bool,
    ) -> DetachOutcome {
        match self.state {
            State::Open => {
                if append(detached(reason, detail, now)) {
                    self.state = State::Closed;
                    return DetachOutcome::Closed;
                }
                self.state = State::Overrun { lost_events: 0, certain_until: now };
                DetachOutcome::OverrunBegan
            }
            // The record of the overrun still waits for room; the end of the connection does not change it.
            State::Overrun { .. } => DetachOutcome::NoneOpen,
            State::Closed | State::Unrecorded => {
                self.state = State::Closed;
                DetachOutcome::NoneOpen
            }
        }
    }

    /// Closes an epoch that an overrun ended, after which the VM's state can be queried again. Returns how many events
    /// the overrun lost; `None` if there was none.
    ///
    /// # Errors
    ///
    /// [`NoRoom`]: nothing has changed.
    pub(super) fn record_overrun(
        &mut self,
        append: impl FnOnce(Body<'_>) -> bool,
    ) -> Result<Option<u64>, NoRoom> {
        let mut lost = None;
        if let State::Overrun { lost_events, certain_until } = self.state {
            let detail = format!("the journal had no room; {lost_events} events were thrown away");
            if !append(detached(&DetachReason::Overrun, &detail, certain_until)) {
                return Err(NoRoom);
            }
            lost = Some(lost_events);
        }
        if self.waits_for_room() {
            self.state = State::Closed;
        }
        Ok(lost)
    }

    /// Closes an open epoch of a VM that is left. An overrun must be recorded by [`Self::record_overrun`].
    ///
    /// # Errors
    ///
    /// [`NoRoom`]: the epoch is still open.
    pub(super) fn leave(
        &mut self,
        reason: &DetachReason,
        detail: &str,
        certain_until: UnixMicros,
        append: impl FnOnce(Body<'_>) -> bool,
    ) -> Result<(), NoRoom> {
        if self.is_overrun() || self.is_open() && !append(detached(reason, detail, certain_until)) {
            return Err(NoRoom);
        }
        self.state = State::Closed;
        Ok(())
    }

    /// Whether events are recorded.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the record that closes the epoch waits for room.
    pub(super) const fn is_overrun(&self) -> bool {
        matches!(self.state, State::Overrun { .. })
    }

    /// Whether [`Self::record_overrun`] must be called when the journal has room.
    pub(super) const fn waits_for_room(&self) -> bool {
        matches!(self.state, State::Overrun { .. } | State::Unrecorded)
    }

    /// When the newest record of the epoch was received.
    pub(super) const fn newest_record(&self) -> UnixMicros {
        self.newest_record
    }
}

impl EventTimes {
    /// Those of no event, after a record that was received at `newest`.
    pub(super) const fn after(newest: UnixMicros) -> Self {
        Self { count: 0, newest_received: newest, earliest_sent: UnixMicros(i64::MAX) }
    }

    /// Adds an event with the server's time, received at `received`.
    pub(super) fn add(&mut self, timestamp: Option<Timestamp>, received: UnixMicros) {
        self.count += 1;
        self.newest_received = received;
        self.earliest_sent = self.earliest_sent.min(sent_at(timestamp, received));
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }
}

/// When an event was sent: before it was received. A clock of the VM's host that is ahead proves nothing.
fn sent_at(timestamp: Option<Timestamp>, received: UnixMicros) -> UnixMicros {
    let micros =
        |at: Timestamp| at.seconds().saturating_mul(1_000_000).saturating_add(at.microseconds().into());
    timestamp.map_or(received, |at| UnixMicros(micros(at)).min(received))
}

fn detached<'a>(reason: &DetachReason, detail: &'a str, certain_until: UnixMicros) -> Body<'a> {
    let (reason, detail) = (reason.clone(), Some(Cow::Borrowed(detail)));
    Body::Detached { reason, detail, certain_until: Some(certain_until) }
}

#[cfg(test)]
mod tests;

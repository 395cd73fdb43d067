//! The dialers of a monitor.

use std::{collections::BTreeMap, time::Instant};

use qmp_host::poller::PollRegistration;

use crate::{caller::DialerId, connection::Service, dialer::Dialer};

/// Dialers that connect again and again.
pub(super) type Dialers = BTreeMap<DialerId, Slot>;

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) dialer: Dialer,
    pub(super) service: Service,
    pub(super) state: DialState,
}

#[derive(Debug)]
pub(super) enum DialState {
    /// The next attempt is made at this time; `None` for a delay beyond the range of the clock, which never passes.
    Waiting(Option<Instant>),
    /// An attempt is in progress, to the address of this number.
    Connecting(PollRegistration, usize),
    Connected,
}

impl Slot {
    /// Waits for the delay.
    pub(super) fn wait(&mut self) {
        self.state = DialState::Waiting(Instant::now().checked_add(self.dialer.delay.unwrap_or_default()));
    }

    /// Returns the time of the next attempt, if it is known.
    pub(super) fn due_at(&self) -> Option<Instant> {
        match self.state {
            DialState::Waiting(at) => at,
            DialState::Connecting(..) | DialState::Connected => None,
        }
    }
}

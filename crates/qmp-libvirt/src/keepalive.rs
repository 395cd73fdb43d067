//! Keepalive: both sides ping when the other says nothing, and end a connection that stays silent.

use std::time::{Duration, Instant};

use crate::header::{FrameType, Header, Program};

/// How long the daemon may say nothing before it is pinged: as often as libvirtd pings its clients.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How long the daemon may say nothing, pings included, before the connection is given up. A daemon that starts for the
/// first time probes QEMU, which took 4 s here.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// Procedure of keepalive: a question.
const PING: u32 = 1;

/// Procedure of keepalive: the answer.
const PONG: u32 = 2;

/// When the daemon was heard, and when it was pinged.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    heard_at: Instant,
    pinged_at: Instant,
}

/// What keepalive demands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Nothing,
    Ping,
    Close,
}

impl KeepAlive {
    pub(crate) fn new(now: Instant) -> Self {
        Self { heard_at: now, pinged_at: now }
    }

    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard_at = now;
    }

    pub(crate) fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// Returns what to do now; a ping counts as sent.
    pub(crate) fn check(&mut self, now: Instant) -> Demand {
        if now >= self.heard_at + SILENCE_TIMEOUT {
            Demand::Close
        } else if now >= self.ping_at() {
            self.pinged_at = now;
            Demand::Ping
        } else {
            Demand::Nothing
        }
    }

    /// Returns when to check again.
    pub(crate) fn deadline(&self) -> Instant {
        self.ping_at().min(self.heard_at + SILENCE_TIMEOUT)
    }

    fn ping_at(&self) -> Instant {
        self.heard_at.max(self.pinged_at) + PING_INTERVAL
    }
}

pub(crate) fn ping() -> Header {
    Header::new(Program::KeepAlive, PING, FrameType::Message, 0)
}

pub(crate) fn pong() -> Header {
    Header::new(Program::KeepAlive, PONG, FrameType::Message, 0)
}

/// Returns whether the frame belongs to keepalive, and whether it demands an answer.
pub(crate) fn recognize(header: Header) -> Option<bool> {
    (header.program == Program::KeepAlive).then_some(header.procedure == PING)
}

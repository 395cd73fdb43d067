//! The state of a running monitor, for a successor that continues it: a live update.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    path::PathBuf,
    time::Duration,
};

use qmp_events::EventKind;
use qmp_wire::dialect::{self, Value};
use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use crate::{listener::Settings, slow_reader::SlowReader};

/// The version of the text's layout; a successor refuses any other.
const VERSION: u32 = 2;

/// Maximum id of a listener or dialer that a successor accepts: the next ids are greater.
const ID_MAX: u64 = u64::MAX / 2;

/// Maximum line and column that a successor accepts: it counts on from there.
const POSITION_MAX: u64 = u64::MAX / 2;

/// Listeners, dialers, connections and held events of a monitor that stopped serving, to be resumed in this process or
/// another: [`Monitor::hand_over`](crate::Monitor::hand_over),
/// [`MonitorBuilder::resume`](crate::MonitorBuilder::resume).
#[derive(Debug)]
pub struct Handover {
    pub(crate) state: State,
    /// The descriptors of the listeners, then those of the connections.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Errors of parsing a [`Handover`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// The text was not written by this version.
    #[error("not the state of a monitor of this version: {reason}")]
    Unreadable {
        /// The reason.
        reason: Box<str>,
    },
    /// The number of descriptors differs from the number of sockets in the text.
    #[error("{expected} descriptors belong to the state, not {found}")]
    Descriptors {
        /// Number of sockets in the text.
        expected: usize,
        /// Number of descriptors.
        found: usize,
    },
    /// A number is not an inherited descriptor.
    #[error("descriptor {number}: {error}")]
    NotInherited {
        /// The number.
        number: RawFd,
        /// The reason.
        error: qmp_host::InheritedError,
    },
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    pub(crate) listeners: Vec<ListenerState>,
    pub(crate) dialers: Vec<DialerState>,
    pub(crate) connections: Vec<ConnectionState>,
    pub(crate) windows: Vec<WindowState>,
    pub(crate) silent: Vec<SilentSource>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ListenerState {
    pub(crate) id: u64,
    /// The file to remove with the listener.
    pub(crate) path: Option<PathBuf>,
    pub(crate) connections_max: Option<u64>,
    pub(crate) form: Form,
}

/// A dialer that reconnects.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DialerState {
    pub(crate) id: u64,
    /// The address of a unix socket.
    pub(crate) path: Option<PathBuf>,
    /// The addresses of a TCP port.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) delay_us: u64,
    /// The time before the next attempt; absent while it is connected.
    pub(crate) remaining_us: Option<u64>,
    pub(crate) form: Form,
}

/// Settings of a listener, or of a connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Form {
    pub(crate) pretty: Option<bool>,
    pub(crate) out_of_band: Option<bool>,
    pub(crate) drops_oldest: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConnectionState {
    pub(crate) listener: Option<u64>,
    pub(crate) dialer: Option<u64>,
    pub(crate) form: Form,
    pub(crate) negotiated: bool,
    pub(crate) out_of_band_enabled: bool,
    /// Bytes of an incomplete message, in hexadecimal digits.
    pub(crate) input: String,
    pub(crate) line: u64,
    pub(crate) column: u64,
    /// Bytes that wait to be written, likewise.
    pub(crate) output: String,
}

/// An open window of a rate limit.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WindowState {
    pub(crate) event: String,
    pub(crate) key: String,
    pub(crate) remaining_us: u64,
    pub(crate) interval_us: u64,
    pub(crate) held: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SilentSource {
    pub(crate) event: String,
    pub(crate) key: String,
    pub(crate) also: String,
}

impl State {
    pub(crate) fn new() -> Self {
        Self { version: VERSION, ..Self::default() }
    }
}

impl Form {
    pub(crate) fn settings(&self) -> Settings {
        let policy = |drops| if drops { SlowReader::DropOldest } else { SlowReader::Close };
        Settings {
            connections_max: None,
            pretty: self.pretty,
            out_of_band: self.out_of_band,
            slow_reader: self.drops_oldest.map(policy),
        }
    }
}

impl Handover {
    /// Returns the state as a text for a process of the same version of this crate, and its sockets in order.
    #[must_use]
    pub fn into_parts(self) -> (String, Vec<OwnedFd>) {
        (self.text(), self.descriptors)
    }

    /// Creates a handover from the text and the sockets in the same order, as received with `SCM_RIGHTS`.
    ///
    /// # Errors
    ///
    /// [`HandoverError`] if they do not belong together, or the text is of another version.
    pub fn from_parts(text: &str, descriptors: Vec<OwnedFd>) -> Result<Self, HandoverError> {
        let unreadable = |reason: &str| HandoverError::Unreadable { reason: reason.into() };
        let state = State::deserialize(Value::read(text.as_bytes()))
            .map_err(|error| unreadable(&error.to_string()))?;
        if state.version != VERSION {
            return Err(unreadable("another layout"));
        }
        let dialers = state.connections.iter().filter_map(|connection| connection.dialer);
        let ids = state.listeners.iter().map(|listener| listener.id);
        if ids.chain(state.dialers.iter().map(|dialer| dialer.id)).chain(dialers).any(|id| id > ID_MAX) {
            return Err(unreadable("an id that no monitor assigns"));
        }
        let positions = state.connections.iter().map(|connection| connection.line.max(connection.column));
        if positions.max().is_some_and(|position| position > POSITION_MAX) {
            return Err(unreadable("a position that no stream reaches"));
        }
        let expected = state.listeners.len() + state.connections.len();
        if expected != descriptors.len() {
            return Err(HandoverError::Descriptors { expected, found: descriptors.len() });
        }
        Ok(Self { state, descriptors })
    }

    /// Makes the sockets survive the next exec, and returns the text and their numbers. The sockets stay open until
    /// this is dropped.
    ///
    /// # Errors
    ///
    /// A system error.
    pub fn make_inheritable(&self) -> io::Result<(String, Vec<RawFd>)> {
        for descriptor in &self.descriptors {
            fcntl_setfd(descriptor.as_fd(), FdFlags::empty())?;
        }
        Ok((self.text(), self.descriptors.iter().map(AsRawFd::as_raw_fd).collect()))
    }

    /// Creates a handover from the text and the numbers of inherited sockets, in the same order.
    ///
    /// # Errors
    ///
    /// Those of [`from_parts`](Self::from_parts), and an error if a number is not an inherited socket.
    pub fn inherited(text: &str, numbers: &[RawFd]) -> Result<Self, HandoverError> {
        let take = |number: &RawFd| match qmp_host::take(*number) {
            Ok(inherited) => Ok(inherited.socket),
            Err(error) => Err(HandoverError::NotInherited { number: *number, error }),
        };
        Self::from_parts(text, numbers.iter().map(take).collect::<Result<_, _>>()?)
    }

    /// Returns the number of continued connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.len()
    }

    fn text(&self) -> String {
        let mut text = Vec::new();
        // Numbers, strings and lists of them: serialization cannot fail.
        let _ = dialect::write(&self.state, &[], &mut text);
        String::from_utf8(text).expect("the dialect is ASCII")
    }
}

pub(crate) fn kind(name: &str) -> Option<EventKind> {
    EventKind::from_name(name)
}

pub(crate) fn microseconds(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses hexadecimal digits; `None` for any other text.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

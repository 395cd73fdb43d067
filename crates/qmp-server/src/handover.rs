//! What a monitor is in the middle of, for a successor that serves on: a live update.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    path::PathBuf,
    time::Duration,
};

use qmp_events::EventKind;
use qmp_wire::dialect::{self, Value};
use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use crate::slow_reader::SlowReader;

/// The layout of the text; a successor refuses any other.
const VERSION: u32 = 1;

/// Listeners, connections and held events of a monitor that stopped serving, to be resumed in this process or another:
/// [`Monitor::hand_over`](crate::Monitor::hand_over), [`MonitorBuilder::resume`](crate::MonitorBuilder::resume).
#[derive(Debug)]
pub struct Handover {
    pub(crate) state: State,
    /// Those of the listeners, then those of the connections.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Errors of reading a [`Handover`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// The text was not made by this version.
    #[error("not the state of a monitor of this version: {reason}")]
    Unreadable {
        /// What is wrong with it.
        reason: Box<str>,
    },
    /// There are more or fewer descriptors than the text has sockets.
    #[error("{expected} descriptors belong to the state, not {found}")]
    Descriptors {
        /// How many sockets the text has.
        expected: usize,
        /// How many came.
        found: usize,
    },
    /// A number is no inherited descriptor.
    #[error("descriptor {number}: {error}")]
    NotInherited {
        /// The number.
        number: RawFd,
        /// What is wrong with it.
        error: qmp_host::InheritedError,
    },
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    pub(crate) listeners: Vec<ListenerState>,
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

/// What is set for a listener, or holds for a connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Form {
    pub(crate) pretty: Option<bool>,
    pub(crate) out_of_band: Option<bool>,
    pub(crate) drops_oldest: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConnectionState {
    pub(crate) listener: Option<u64>,
    pub(crate) form: Form,
    pub(crate) negotiated: bool,
    pub(crate) out_of_band_enabled: bool,
    /// Bytes of a message that has not ended, in hexadecimal digits.
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
    pub(crate) fn slow_reader(&self) -> Option<SlowReader> {
        self.drops_oldest.map(|drops| if drops { SlowReader::DropOldest } else { SlowReader::Close })
    }
}

impl Handover {
    /// The state as a text for a process of the same version of this crate, and the sockets that belong to it, in order.
    #[must_use]
    pub fn into_parts(self) -> (String, Vec<OwnedFd>) {
        (self.text(), self.descriptors)
    }

    /// Makes it of the text and of the sockets in the same order, as received with `SCM_RIGHTS`.
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
        let expected = state.listeners.len() + state.connections.len();
        if expected != descriptors.len() {
            return Err(HandoverError::Descriptors { expected, found: descriptors.len() });
        }
        Ok(Self { state, descriptors })
    }

    /// Lets the sockets through the next exec, and returns the text and their numbers. The sockets stay open until this is
    /// dropped.
    ///
    /// # Errors
    ///
    /// That of the system.
    pub fn make_inheritable(&self) -> io::Result<(String, Vec<RawFd>)> {
        for descriptor in &self.descriptors {
            fcntl_setfd(descriptor.as_fd(), FdFlags::empty())?;
        }
        Ok((self.text(), self.descriptors.iter().map(AsRawFd::as_raw_fd).collect()))
    }

    /// Makes it of the text and of the numbers of inherited sockets, in the same order.
    ///
    /// # Errors
    ///
    /// As [`from_parts`](Self::from_parts), and if a number is no socket that was inherited.
    pub fn inherited(text: &str, numbers: &[RawFd]) -> Result<Self, HandoverError> {
        let take = |number: &RawFd| match qmp_host::take(*number) {
            Ok(inherited) => Ok(inherited.socket),
            Err(error) => Err(HandoverError::NotInherited { number: *number, error }),
        };
        Self::from_parts(text, numbers.iter().map(take).collect::<Result<_, _>>()?)
    }

    /// How many connections go on.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.len()
    }

    fn text(&self) -> String {
        let mut text = Vec::new();
        // Numbers, strings and lists of them: nothing that has no form.
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

/// Reads hexadecimal digits; `None` if the text is something else.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

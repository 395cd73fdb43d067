//! The messages that libvirtd sends unasked once a client has registered for them.

use crate::domain::Domain;
use crate::header::{FrameType, Header, Program, VERSION};
use crate::lifecycle::Lifecycle;
use crate::xdr::{Decoder, XdrError};

/// Number of a lifecycle event in the program of all hypervisors.
const LIFECYCLE: u32 = 318;

/// Number of the loss of a monitor in the program of all hypervisors.
const CONTROL_ERROR: u32 = 325;

/// Number of an event of a monitor in QEMU's program.
const MONITOR: u32 = 6;

/// An event about a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) domain: Domain,
    pub(crate) kind: EventKind,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Lifecycle(Lifecycle),
    /// libvirtd lost the monitor of a QEMU that runs on.
    ControlError,
    Monitor(MonitorEvent),
}

/// An event of QEMU's monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorEvent {
    /// Its name.
    pub name: Box<str>,
    /// When it happened, in seconds since the Unix epoch; −1 if QEMU sent none, or could not read its clock.
    pub seconds: i64,
    /// The rest, in microseconds; 4294967295 if QEMU could not read its clock.
    pub microseconds: u32,
    /// Its data as libvirt printed it again: the same JSON, not the same bytes.
    pub data: Option<Box<str>>,
}

impl MonitorEvent {
    /// Returns the bytes of memory that it takes besides itself.
    pub(crate) fn held_bytes(&self) -> usize {
        self.name.len() + self.data.as_deref().map_or(0, str::len)
    }
}

impl Event {
    /// Decodes a message; `None` if it is of no known kind.
    pub(crate) fn decode(header: Header, payload: &[u8]) -> Result<Option<Self>, XdrError> {
        if header.frame_type != FrameType::Message || header.version != VERSION {
            return Ok(None);
        }
        let mut decoder = Decoder::new(payload);
        let read = match (header.program, header.procedure) {
            (Program::Remote, LIFECYCLE) => lifecycle,
            (Program::Remote, CONTROL_ERROR) => |_: &mut Decoder<'_>| Ok(EventKind::ControlError),
            (Program::Qemu, MONITOR) => monitor,
            _ => return Ok(None),
        };
        let _registration = decoder.i32()?;
        let domain = Domain::decode(&mut decoder)?;
        let kind = read(&mut decoder)?;
        decoder.finish()?;
        Ok(Some(Self { domain, kind }))
    }
}

fn lifecycle(decoder: &mut Decoder<'_>) -> Result<EventKind, XdrError> {
    Ok(EventKind::Lifecycle(Lifecycle::new(decoder.i32()?, decoder.i32()?)))
}

fn monitor(decoder: &mut Decoder<'_>) -> Result<EventKind, XdrError> {
    Ok(EventKind::Monitor(MonitorEvent {
        name: decoder.text()?,
        seconds: decoder.i64()?,
        microseconds: decoder.u32()?,
        data: decoder.optional(Decoder::text)?,
    }))
}

//! The header of a frame: which program and procedure it belongs to, and what it is.

/// Bytes of the header, with the length before it.
pub(crate) const HEADER_LENGTH: usize = 28;

/// The version of every program, so far.
pub(crate) const VERSION: u32 = 1;

/// A program of libvirt's daemon: a set of procedures with numbers of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Program {
    /// What every hypervisor has.
    Remote,
    /// What only QEMU has: its monitor.
    Qemu,
    /// Keepalive of the connection.
    KeepAlive,
    /// Any other.
    Other(u32),
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameType {
    /// Client to server.
    Call,
    /// The server's reply to a call.
    Reply,
    /// An event, or keepalive.
    Message,
    /// A part of a stream, a frame with descriptors, or any other.
    Other(u32),
}

/// Whether a call succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It did.
    Ok,
    /// It failed: the payload is the error.
    Error,
    /// A stream goes on, or any other.
    Other(u32),
}

/// The header of a frame, without its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The program of the procedure.
    pub program: Program,
    /// The program's version: 1.
    pub version: u32,
    /// The number of the procedure in its program.
    pub procedure: u32,
    /// What the frame is.
    pub frame_type: FrameType,
    /// The number of the call, which its reply repeats. Of messages it means nothing.
    pub serial: u32,
    /// Whether the call succeeded.
    pub status: Status,
}

impl Header {
    /// The header of a frame from the client, of version 1 and status 0.
    pub(crate) fn new(program: Program, procedure: u32, frame_type: FrameType, serial: u32) -> Self {
        Self { program, version: VERSION, procedure, frame_type, serial, status: Status::Ok }
    }

    /// Reads the six words after the length.
    pub(crate) fn from_words(words: [u32; 6]) -> Self {
        let [program, version, procedure, frame_type, serial, status] = words;
        Self {
            program: Program::from(program),
            version,
            procedure,
            frame_type: FrameType::from(frame_type),
            serial,
            status: Status::from(status),
        }
    }

    pub(crate) fn words(self) -> [u32; 6] {
        let Self { program, version, procedure, frame_type, serial, status } = self;
        [program.into(), version, procedure, frame_type.into(), serial, status.into()]
    }
}

/// Conversions between an enum and its numbers; every other number is `Other`.
macro_rules! numbers {
    ($name:ident { $($variant:ident = $number:literal),+ }) => {
        impl From<u32> for $name {
            fn from(number: u32) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    other => Self::Other(other),
                }
            }
        }

        impl From<$name> for u32 {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => $number,)+
                    $name::Other(other) => other,
                }
            }
        }
    };
}

numbers!(Program { Remote = 0x2000_8086, Qemu = 0x2000_8087, KeepAlive = 0x6b65_6570 });
numbers!(FrameType { Call = 0, Reply = 1, Message = 2 });
numbers!(Status { Ok = 0, Error = 1 });

//! The calls that a follower of events makes, and their replies.
//!
//! Source: numbers and order of libvirt's `remote_protocol.x` and `qemu_protocol.x`.

use crate::domain::{DOMAINS_MAX, Domain};
use crate::header::Program;
use crate::state::{Control, DomainState};
use crate::xdr::{Decoder, Encoder, XdrError};

/// Most kinds of authentication in a reply: libvirt has three, and its limit is this.
const AUTHENTICATIONS_MAX: u32 = 20;

/// A call. Its reply is the [`Reply`] that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// [`Reply::Numbers`]: the kinds of [`Authentication`].
    ListAuthentication,
    /// [`Reply::Number`]: 1 if done.
    AuthenticatePolkit,
    /// [`Reply::Nothing`].
    Open { uri: Box<str> },
    /// [`Reply::Nothing`], after which the daemon closes the connection.
    Close,
    /// [`Reply::Number`]: 1 if supported. From here on libvirtd sends pings.
    SupportsKeepAlive,
    /// [`Reply::Version`].
    LibraryVersion,
    /// [`Reply::Text`].
    HostName,
    /// [`Reply::Domains`]: those that run, and those that are off.
    ListAll,
    /// [`Reply::State`].
    State(Domain),
    /// [`Reply::Control`].
    Control(Domain),
    /// [`Reply::Number`]: of the registration.
    RegisterLifecycle,
    /// [`Reply::Number`]: of the registration.
    RegisterControlError,
    /// [`Reply::Number`]: of the registration, for all domains, also those to come, and all events.
    RegisterMonitorEvents,
    /// [`Reply::Text`]: QEMU's whole reply. Taints the domain.
    MonitorCommand { domain: Domain, command: Box<str> },
}

/// The reply to a call that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Nothing,
    Number(i32),
    Numbers(Vec<i32>),
    Version(Version),
    Text(Box<str>),
    Domains(Vec<Domain>),
    State(DomainState),
    Control(Control),
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authentication {
    /// Not at all: the daemon knows the client's process.
    Nothing,
    /// By SASL.
    Sasl,
    /// By polkit, which the daemon asks.
    Polkit,
    /// Any other.
    Other(i32),
}

impl From<i32> for Authentication {
    fn from(number: i32) -> Self {
        match number {
            0 => Self::Nothing,
            1 => Self::Sasl,
            2 => Self::Polkit,
            other => Self::Other(other),
        }
    }
}

/// A version of libvirt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Major, minor, micro.
    pub parts: [u64; 3],
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [major, minor, micro] = self.parts;
        write!(f, "{major}.{minor}.{micro}")
    }
}

/// Where a call goes and what its reply holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Procedure {
    pub(crate) program: Program,
    pub(crate) number: u32,
    reply: fn(&mut Decoder<'_>) -> Result<Reply, XdrError>,
}

impl Procedure {
    /// Decodes the payload of a reply of status ok.
    pub(crate) fn decode(self, payload: &[u8]) -> Result<Reply, XdrError> {
        let mut decoder = Decoder::new(payload);
        let reply = (self.reply)(&mut decoder)?;
        decoder.finish()?;
        Ok(reply)
    }
}

impl Call {
    /// Whether QEMU executes it, which may take any time.
    pub(crate) fn is_command(&self) -> bool {
        matches!(self, Self::MonitorCommand { .. })
    }

    /// Returns the bytes of memory that it takes.
    pub(crate) fn held_bytes(&self) -> usize {
        let texts = match self {
            Self::State(domain) | Self::Control(domain) => domain.name.len(),
            Self::MonitorCommand { domain, command } => domain.name.len() + command.len(),
            _ => 0,
        };
        size_of::<Self>() + texts
    }

    pub(crate) fn procedure(&self) -> Procedure {
        let remote = |number, reply| Procedure { program: Program::Remote, number, reply };
        let qemu = |number, reply| Procedure { program: Program::Qemu, number, reply };
        match self {
            Self::Open { .. } => remote(1, nothing),
            Self::Close => remote(2, nothing),
            Self::HostName => remote(59, text),
            Self::SupportsKeepAlive => remote(60, number),
            Self::ListAuthentication => remote(66, numbers),
            Self::AuthenticatePolkit => remote(70, number),
            Self::LibraryVersion => remote(157, version),
            Self::State(_) => remote(212, |decoder| DomainState::decode(decoder).map(Reply::State)),
            Self::Control(_) => remote(229, |decoder| Control::decode(decoder).map(Reply::Control)),
            Self::ListAll => remote(273, domains),
            Self::RegisterLifecycle | Self::RegisterControlError => remote(316, number),
            Self::MonitorCommand { .. } => qemu(1, text),
            Self::RegisterMonitorEvents => qemu(4, number),
        }
    }

    pub(crate) fn payload(&self) -> Vec<u8> {
        let encoder = Encoder::default();
        let encoder = match self {
            Self::ListAuthentication
            | Self::AuthenticatePolkit
            | Self::Close
            | Self::HostName
            | Self::LibraryVersion => encoder,
            // Present, then the flags: 1 would be read-only.
            Self::Open { uri } => encoder.u32(1).text(uri).u32(0),
            Self::SupportsKeepAlive => encoder.i32(10),
            // Results wanted, and no flags: all.
            Self::ListAll => encoder.i32(1).u32(0),
            Self::State(domain) | Self::Control(domain) => domain.encode(encoder).u32(0),
            // The kind of event, and no domain: all.
            Self::RegisterLifecycle => encoder.i32(0).u32(0),
            Self::RegisterControlError => encoder.i32(7).u32(0),
            // No domain, no name of an event, no flags: all.
            Self::RegisterMonitorEvents => encoder.u32(0).u32(0).u32(0),
            Self::MonitorCommand { domain, command } => domain.encode(encoder).text(command).u32(0),
        };
        encoder.finish()
    }
}

fn nothing(_: &mut Decoder<'_>) -> Result<Reply, XdrError> {
    Ok(Reply::Nothing)
}

fn number(decoder: &mut Decoder<'_>) -> Result<Reply, XdrError> {
    decoder.i32().map(Reply::Number)
}

fn numbers(decoder: &mut Decoder<'_>) -> Result<Reply, XdrError> {
    decoder.entries(AUTHENTICATIONS_MAX, Decoder::i32).map(Reply::Numbers)
}

fn version(decoder: &mut Decoder<'_>) -> Result<Reply, XdrError> {
    let number = decoder.u64()?;
    Ok(Reply::Version(Version { parts: [number / 1_000_000, number / 1_000 % 1_000, number % 1_000] }))
}

fn text(decoder: &mut Decoder<'_>) -> Result<Reply, XdrError> {
    decoder.text().map(Reply::Text)
}

fn domains(decoder: &mut Decoder<'_>) -> Result<Reply, XdrError> {
    let domains = decoder.entries(DOMAINS_MAX, Domain::decode)?;
    let _count = decoder.u32()?;
    Ok(Reply::Domains(domains))
}

//! Values of options, and the monitors in them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Where a QMP monitor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MonitorAt {
    /// At a socket; a relative path starts at the QEMU's own directory.
    Unix(PathBuf),
    /// At a port; without a host it listens at all addresses.
    Tcp { host: String, port: u16 },
    /// No client can connect.
    Unreachable(Unreachable),
}

/// Why no client can connect to a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// The program that started the QEMU opened the socket, and only that program knows its address.
    Descriptor,
    /// The QEMU connects to a listening program.
    DialsOut,
    /// The monitor is not a socket: a pipe, a terminal, a ring buffer.
    NoSocket,
}

/// One option's value, split into keys and values.
pub(super) struct Options(Vec<(Vec<u8>, Option<Vec<u8>>)>);

/// The value of `-qmp`: `unix:PATH,…`, `tcp:HOST:PORT,…`, and other devices.
pub(super) fn short_form(value: &[u8]) -> MonitorAt {
    let options = Options::read(value, b"device");
    let device = options.text(b"device").unwrap_or_default();
    let at = if let Some(path) = device.strip_prefix(b"unix:") {
        MonitorAt::Unix(path_of(path))
    } else if let Some(place) = device.strip_prefix(b"tcp:") {
        let place = readable(place);
        // Old QEMUs also accept options after the port without a comma.
        let (host, port) = place.rsplit_once(':').unwrap_or(("", &place));
        tcp(host, port)
    } else {
        MonitorAt::Unreachable(Unreachable::NoSocket)
    };
    reachable(at, &options)
}

/// The value of `-chardev`.
pub(super) fn chardev(options: &Options) -> MonitorAt {
    if options.text(b"backend") != Some(b"socket") {
        return MonitorAt::Unreachable(Unreachable::NoSocket);
    }
    if options.has(b"fd") {
        return MonitorAt::Unreachable(Unreachable::Descriptor);
    }
    let at = match (options.text(b"path"), options.text(b"port")) {
        // An abstract socket has no file.
        (Some(_), _) if options.switch(b"abstract") => MonitorAt::Unreachable(Unreachable::NoSocket),
        (Some(path), _) => MonitorAt::Unix(path_of(path)),
        (None, Some(port)) => tcp(&options.text(b"host").map(readable).unwrap_or_default(), &readable(port)),
        (None, None) => MonitorAt::Unreachable(Unreachable::NoSocket),
    };
    reachable(at, options)
}

fn reachable(at: MonitorAt, options: &Options) -> MonitorAt {
    match at {
        MonitorAt::Unreachable(_) => at,
        at if options.switch(b"server") => at,
        _ => MonitorAt::Unreachable(Unreachable::DialsOut),
    }
}

fn tcp(host: &str, port: &str) -> MonitorAt {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // A listener at all addresses listens at the loopback address too.
    let host = if matches!(host, "" | "0.0.0.0" | "::") { "127.0.0.1" } else { host };
    match port.parse() {
        Ok(port) if port != 0 => MonitorAt::Tcp { host: host.to_owned(), port },
        _ => MonitorAt::Unreachable(Unreachable::NoSocket),
    }
}

fn path_of(path: &[u8]) -> PathBuf {
    OsString::from_vec(path.to_owned()).into()
}

pub(super) fn readable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

impl Options {
    /// Splits at single commas. A first word without a key is the value of `first_key`.
    pub(super) fn read(value: &[u8], first_key: &[u8]) -> Self {
        let mut words = vec![Vec::new()];
        let mut bytes = value.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            if byte == b',' && bytes.next_if_eq(&b',').is_none() {
                words.push(Vec::new());
            } else if let Some(word) = words.last_mut() {
                word.push(byte);
            }
        }
        let option = |(index, word): (usize, Vec<u8>)| {
            let equals = word.iter().position(|byte| *byte == b'=');
            // A path may contain '=': a key is a plain word.
            let equals = equals
                .filter(|at| word[..*at].iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-'));
            match equals {
                Some(at) => (word[..at].to_owned(), Some(word[at + 1..].to_owned())),
                None if index == 0 => (first_key.to_owned(), Some(word)),
                None => (word, None),
            }
        };
        Self(words.into_iter().enumerate().map(option).collect())
    }

    /// The last value of a key, as QEMU takes it.
    pub(super) fn text(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.iter().rev().find(|(name, _)| name == key).and_then(|(_, value)| value.as_deref())
    }

    fn has(&self, key: &[u8]) -> bool {
        self.0.iter().any(|(name, _)| name == key)
    }

    /// Whether a switch is on. The old spelling `nowait` of `wait=off` is not supported: no caller asks for `wait`.
    fn switch(&self, key: &[u8]) -> bool {
        let last = self.0.iter().rev().find(|(name, _)| name == key);
        last.is_some_and(|(_, value)| {
            matches!(value.as_deref(), None | Some(b"on" | b"yes" | b"y" | b"true"))
        })
    }
}

//! The address of a monitor, in QEMU's syntax.
//!
//! `unix:/run/vm.sock`, a bare path (`/run/vm.sock`, `./vm.sock`), `tcp:127.0.0.1:4444`, `tcp:[::1]:4444`, `fd:3`.
//! With `,server=on` this side listens and the QEMU dials in (`-chardev socket,…,reconnect=1`). A comma in a path is
//! doubled, as in QEMU's options.

use std::fmt;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::str::FromStr;

/// The address of a monitor, and which side connects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A unix socket. The path may be longer than the 107 bytes that fit a socket address.
    Unix {
        /// Path of the socket.
        path: PathBuf,
        /// Whether this side listens.
        listen: bool,
    },
    /// A TCP socket.
    Tcp {
        /// Name or address of the host, without brackets.
        host: String,
        /// Port, not 0.
        port: u16,
        /// Whether this side listens.
        listen: bool,
    },
    /// A socket inherited from the process that started this one: connected, or listening.
    Fd {
        /// The descriptor's number.
        number: RawFd,
        /// Whether the descriptor must be a listening socket. If `false`, the kind of the descriptor decides.
        listen: bool,
    },
}

/// Errors of parsing an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text is empty.
    #[error("the address is empty: write unix:PATH, tcp:HOST:PORT or fd:N")]
    Empty,
    /// A unix socket without a path.
    #[error("unix: needs a path: write unix:/run/vm.sock")]
    NoPath,
    /// A path with a NUL byte in it.
    #[error("the path contains a NUL byte")]
    NulInPath,
    /// A word that is neither a path nor begins with a kind of address.
    #[error("`{text}` is no address: write ./{text} for a socket file, or tcp:HOST:PORT")]
    Bare {
        /// The word.
        text: Box<str>,
    },
    /// An unknown kind of address.
    #[error("`{kind}:` is no kind of address: write unix:PATH, tcp:HOST:PORT or fd:N{}", tcp_hint(.kind, .rest))]
    UnknownKind {
        /// The text before the colon.
        kind: Box<str>,
        /// The text after the colon.
        rest: Box<str>,
    },
    /// A TCP address without a host.
    #[error("tcp: needs a host: write tcp:127.0.0.1:{port}")]
    NoHost {
        /// The text in place of the port.
        port: Box<str>,
    },
    /// A TCP address without a usable port.
    #[error("`{port}` is no port (1 to 65535): write tcp:HOST:PORT, and an IPv6 address as tcp:[::1]:PORT")]
    BadPort {
        /// The text in place of the port.
        port: Box<str>,
    },
    /// A descriptor that is no number.
    #[error("`{number}` is no file descriptor: write fd:3")]
    BadDescriptor {
        /// The text in place of the number.
        number: Box<str>,
    },
    /// An unknown option.
    #[error(
        "unknown option `{option}`: only server=on (this side listens) and wait=off are known; a comma in a path is written twice"
    )]
    UnknownOption {
        /// The option.
        option: Box<str>,
    },
}

fn tcp_hint(kind: &str, rest: &str) -> String {
    match rest.parse::<u16>() {
        Ok(port) => format!("; perhaps tcp:{kind}:{port}"),
        Err(_) => String::new(),
    }
}

impl Address {
    /// Returns whether this side listens and the QEMU connects.
    ///
    /// An inherited descriptor may be a listening one although this returns `false`.
    #[must_use]
    pub fn listens(&self) -> bool {
        match self {
            Self::Unix { listen, .. } | Self::Tcp { listen, .. } | Self::Fd { listen, .. } => *listen,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (text, options) = split_options(text);
        let listen = read_options(&options)?;
        Self::read(&text, listen)
    }
}

impl Address {
    /// Parses the part before the options.
    pub(crate) fn read(text: &str, listen: bool) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.contains('\0') {
            return Err(AddressError::NulInPath);
        }
        if text.starts_with(['/', '.']) {
            return Ok(Self::Unix { path: PathBuf::from(text), listen });
        }
        match text.split_once(':') {
            Some(("unix", "")) => Err(AddressError::NoPath),
            Some(("unix", path)) => Ok(Self::Unix { path: PathBuf::from(path), listen }),
            Some(("tcp", rest)) => parse_tcp(rest, listen),
            Some(("fd", number)) => parse_fd(number, listen),
            Some((kind, _)) if kind.contains('/') => Ok(Self::Unix { path: PathBuf::from(text), listen }),
            Some((kind, rest)) => Err(AddressError::UnknownKind { kind: kind.into(), rest: rest.into() }),
            None if text.contains('/') => Ok(Self::Unix { path: PathBuf::from(text), listen }),
            None => Err(AddressError::Bare { text: text.into() }),
        }
    }
}

/// Splits at single commas; a doubled comma represents one.
pub(crate) fn split_options(text: &str) -> (String, Vec<String>) {
    let mut parts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == ',' && characters.next_if_eq(&',').is_none() {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    let options = parts.split_off(1);
    (parts.pop().unwrap_or_default(), options)
}

/// Returns whether this side listens.
fn read_options(options: &[String]) -> Result<bool, AddressError> {
    let mut listen = false;
    for option in options {
        match option.as_str() {
            "server" | "server=on" => listen = true,
            "server=off" => listen = false,
            // The option for QEMU's own start, which waits for a client; users copy it with the rest of QEMU's
            // option.
            "wait=off" | "nowait" => {}
            unknown => return Err(AddressError::UnknownOption { option: unknown.into() }),
        }
    }
    Ok(listen)
}

fn parse_tcp(rest: &str, listen: bool) -> Result<Address, AddressError> {
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| AddressError::BadPort { port: rest.into() })?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    // Without brackets it is unclear where an IPv6 address ends.
    if bracketed.is_none() && host.contains(':') || bracketed.unwrap_or(host).contains(['[', ']']) {
        return Err(AddressError::BadPort { port: rest.into() });
    }
    let host = bracketed.unwrap_or(host);
    if host.is_empty() {
        return Err(AddressError::NoHost { port: port.into() });
    }
    match port.parse::<u16>() {
        Ok(number) if number != 0 && !port.starts_with('+') => {
            Ok(Address::Tcp { host: host.to_owned(), port: number, listen })
        }
        _ => Err(AddressError::BadPort { port: port.into() }),
    }
}

fn parse_fd(number: &str, listen: bool) -> Result<Address, AddressError> {
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    match number.parse::<RawFd>() {
        Ok(parsed) if digits => Ok(Address::Fd { number: parsed, listen }),
        _ => Err(AddressError::BadDescriptor { number: number.into() }),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { path, .. } => write!(out, "unix:{}", doubled_commas(path.display()))?,
            Self::Tcp { host, port, .. } if host.contains(':') => {
                write!(out, "tcp:[{}]:{port}", doubled_commas(host))?;
            }
            Self::Tcp { host, port, .. } => write!(out, "tcp:{}:{port}", doubled_commas(host))?,
            Self::Fd { number, .. } => write!(out, "fd:{number}")?,
        }
        if self.listens() { out.write_str(",server=on") } else { Ok(()) }
    }
}

fn doubled_commas(text: impl fmt::Display) -> String {
    text.to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn address_is_parsed_and_printed() {
        let cases: [(&str, &str, Address); 16] = [
            ("unix:/run/vm.sock", "unix:/run/vm.sock", unix("/run/vm.sock", false)),
            ("/run/vm.sock", "unix:/run/vm.sock", unix("/run/vm.sock", false)),
            ("./vm.sock", "unix:./vm.sock", unix("./vm.sock", false)),
            ("run/vm.sock", "unix:run/vm.sock", unix("run/vm.sock", false)),
            ("run/vm:1.sock", "unix:run/vm:1.sock", unix("run/vm:1.sock", false)),
            ("unix:vm.sock", "unix:vm.sock", unix("vm.sock", false)),
            ("unix:/p,server=on", "unix:/p,server=on", unix("/p", true)),
            ("unix:/p,server,nowait", "unix:/p,server=on", unix("/p", true)),
            ("/p,server=on,wait=off", "unix:/p,server=on", unix("/p", true)),
            ("/p,server=off", "unix:/p", unix("/p", false)),
            ("unix:/a,,b,server", "unix:/a,,b,server=on", unix("/a,b", true)),
            ("tcp:localhost:4444", "tcp:localhost:4444", tcp("localhost", 4444, false)),
            ("tcp:[::1]:4444,server=on", "tcp:[::1]:4444,server=on", tcp("::1", 4444, true)),
            ("tcp:h,,1:4444", "tcp:h,,1:4444", tcp("h,1", 4444, false)),
            ("fd:3", "fd:3", Address::Fd { number: 3, listen: false }),
            ("fd:10,server=on", "fd:10,server=on", Address::Fd { number: 10, listen: true }),
        ];
        for (text, printed, address) in cases {
            assert_eq!(text.parse(), Ok(address.clone()), "{text}");
            assert_eq!(address.to_string(), printed, "{text}");
        }
    }

    #[test]
    fn error_says_what_to_write_instead() {
        let cases: [(&str, &str); 19] = [
            ("", "the address is empty: write unix:PATH, tcp:HOST:PORT or fd:N"),
            (",server=on", "the address is empty: write unix:PATH, tcp:HOST:PORT or fd:N"),
            ("unix:", "unix: needs a path: write unix:/run/vm.sock"),
            ("/a\0b", "the path contains a NUL byte"),
            ("vm.sock", "`vm.sock` is no address: write ./vm.sock for a socket file, or tcp:HOST:PORT"),
            (
                "localhost:4444",
                "`localhost:` is no kind of address: write unix:PATH, tcp:HOST:PORT or fd:N; perhaps tcp:localhost:4444",
            ),
            ("udp:h:1", "`udp:` is no kind of address: write unix:PATH, tcp:HOST:PORT or fd:N"),
            ("tcp::4444", "tcp: needs a host: write tcp:127.0.0.1:4444"),
            ("tcp:[]:4444", "tcp: needs a host: write tcp:127.0.0.1:4444"),
            (
                "tcp:h:0",
                "`0` is no port (1 to 65535): write tcp:HOST:PORT, and an IPv6 address as tcp:[::1]:PORT",
            ),
            (
                "tcp:h:70000",
                "`70000` is no port (1 to 65535): write tcp:HOST:PORT, and an IPv6 address as tcp:[::1]:PORT",
            ),
            (
                "tcp:h:+4",
                "`+4` is no port (1 to 65535): write tcp:HOST:PORT, and an IPv6 address as tcp:[::1]:PORT",
            ),
            (
                "tcp:h",
                "`h` is no port (1 to 65535): write tcp:HOST:PORT, and an IPv6 address as tcp:[::1]:PORT",
            ),
            (
                "tcp:::1:44",
                "`::1:44` is no port (1 to 65535): write tcp:HOST:PORT, and an IPv6 address as tcp:[::1]:PORT",
            ),
            (
                "tcp:[[h]]:44",
                "`[[h]]:44` is no port (1 to 65535): write tcp:HOST:PORT, and an IPv6 address as tcp:[::1]:PORT",
            ),
            ("fd:", "`` is no file descriptor: write fd:3"),
            ("fd:-1", "`-1` is no file descriptor: write fd:3"),
            ("fd:99999999999", "`99999999999` is no file descriptor: write fd:3"),
            (
                "/p,reconnect=1",
                "unknown option `reconnect=1`: only server=on (this side listens) and wait=off are known; a comma in a path is written twice",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(text.parse::<Address>().unwrap_err().to_string(), message, "{text}");
        }
    }

    proptest! {
        /// Parsing a printed address gives the same address.
        #[test]
        fn printed_address_parses_to_the_same(
            text in "(unix:|tcp:|fd:|)[/.:,\\[\\]0-9a-z=]{0,12}(:[0-9]{1,5})?(,server=on)?"
        ) {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }

    fn unix(path: &str, listen: bool) -> Address {
        Address::Unix { path: path.into(), listen }
    }

    fn tcp(host: &str, port: u16, listen: bool) -> Address {
        Address::Tcp { host: host.into(), port, listen }
    }
}

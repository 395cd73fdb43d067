//! A monitor's socket in the syntax of QEMU's options: `unix:/run/vm.sock,server=on,wait=off`,
//! `tcp:127.0.0.1:4444`, `fd=3`, and for a connecting side `reconnect-ms=500`.
//!
//! Source: `-qmp` and `-chardev socket` of QEMU 7.2 and 11.1.

use std::{fmt, str::FromStr, time::Duration};

use crate::address::{Address, AddressError, split_options};

/// A monitor's socket with the options of `-qmp` and `-chardev socket`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// The socket, and whether this side listens at it.
    pub address: Address,
    /// Whether the start of the machine waits for a client. QEMU's default for a listening socket.
    pub wait: bool,
    /// The delay before a reconnection, for a side that connects; `None` for never.
    pub reconnect: Option<Duration>,
}

/// Errors of parsing [`SocketOptions`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SocketOptionsError {
    /// The text before the options is no address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// An unknown option.
    #[error(
        "unknown option `{option}`: known are server, wait, reconnect and reconnect-ms; a comma in a path is written twice"
    )]
    UnknownOption {
        /// The option.
        option: Box<str>,
    },
    /// An option with an invalid value.
    #[error("`{option}` expects {expected}")]
    BadValue {
        /// The option with its value.
        option: Box<str>,
        /// The valid values.
        expected: &'static str,
    },
    /// `wait` of a side that connects.
    #[error("`wait` has a meaning only with server=on")]
    WaitWithoutServer,
    /// `reconnect` of a side that listens.
    #[error("`reconnect` has no meaning with server=on")]
    ReconnectWithServer,
}

impl FromStr for SocketOptions {
    type Err = SocketOptionsError;

    fn from_str(text: &str) -> Result<Self, SocketOptionsError> {
        let (text, options) = split_options(text);
        let (mut server, mut wait, mut reconnect) = (false, None, None);
        for option in &options {
            let (name, value) =
                option.split_once('=').map_or((&**option, None), |(name, value)| (name, Some(value)));
            match (name, value) {
                ("server", value) => server = switch(option, value)?,
                ("wait", value) => wait = Some(switch(option, value)?),
                // Forms of QEMU before 6.0.
                ("nowait", None) => wait = Some(false),
                ("reconnect", Some(value)) => reconnect = duration(option, value, 1000)?,
                ("reconnect-ms", Some(value)) => reconnect = duration(option, value, 1)?,
                _ => return Err(SocketOptionsError::UnknownOption { option: option.as_str().into() }),
            }
        }
        if wait.is_some() && !server {
            return Err(SocketOptionsError::WaitWithoutServer);
        }
        if reconnect.is_some() && server {
            return Err(SocketOptionsError::ReconnectWithServer);
        }
        // `-chardev socket` writes `fd=3` where addresses are written `fd:3`.
        let text = match text.strip_prefix("fd=") {
            Some(number) => format!("fd:{number}"),
            None => text,
        };
        let address = Address::read(&text, server)?;
        Ok(Self { address, wait: wait.unwrap_or(server), reconnect })
    }
}

/// Parses `on` or `off`; an option without value is on.
fn switch(option: &str, value: Option<&str>) -> Result<bool, SocketOptionsError> {
    match value {
        None | Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(_) => Err(SocketOptionsError::BadValue { option: option.into(), expected: "on or off" }),
    }
}

/// Parses a number of units of `unit_ms` milliseconds; 0 is for never.
fn duration(option: &str, value: &str, unit_ms: u32) -> Result<Option<Duration>, SocketOptionsError> {
    let number: Option<u32> =
        value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten();
    // `reconnect-ms`, by which all durations are printed, has to hold the product.
    let milliseconds = number.and_then(|number| number.checked_mul(unit_ms)).ok_or_else(|| {
        let expected = "a whole number, of a duration below 50 days";
        SocketOptionsError::BadValue { option: option.into(), expected }
    })?;
    Ok((milliseconds > 0).then(|| Duration::from_millis(milliseconds.into())))
}

impl From<Address> for SocketOptions {
    /// Creates the options of an address, without waiting and without reconnecting.
    fn from(address: Address) -> Self {
        Self { address, wait: false, reconnect: None }
    }
}

impl fmt::Display for SocketOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.address)?;
        if self.address.listens() && !self.wait {
            out.write_str(",wait=off")?;
        }
        match self.reconnect {
            Some(reconnect) => write!(out, ",reconnect-ms={}", reconnect.as_millis()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn options_are_parsed_and_printed() {
        let cases = [
            // written                                printed                                    wait   reconnect
            ("unix:/run/vm.sock,server=on,wait=off", "unix:/run/vm.sock,server=on,wait=off", false, None),
            ("unix:/run/vm.sock,server=on", "unix:/run/vm.sock,server=on", true, None),
            ("unix:/a,server,nowait", "unix:/a,server=on,wait=off", false, None),
            ("unix:/a,wait=off,server", "unix:/a,server=on,wait=off", false, None),
            ("unix:/a,,b,server=on,wait=on", "unix:/a,,b,server=on", true, None),
            ("unix:/a", "unix:/a", false, None),
            ("unix:/a,server=off,reconnect=2", "unix:/a,reconnect-ms=2000", false, Some(2000)),
            ("tcp:h:4444,reconnect-ms=500", "tcp:h:4444,reconnect-ms=500", false, Some(500)),
            ("tcp:h,,1:44,reconnect-ms=5", "tcp:h,,1:44,reconnect-ms=5", false, Some(5)),
            ("tcp:h:4444,reconnect=0", "tcp:h:4444", false, None),
            ("fd=3,server=on", "fd:3,server=on", true, None),
            ("fd:3", "fd:3", false, None),
        ];
        for (text, printed, wait, reconnect_ms) in cases {
            let options: SocketOptions = text.parse().unwrap();
            assert_eq!(options.to_string(), printed, "{text}");
            assert_eq!(
                (options.wait, options.reconnect),
                (wait, reconnect_ms.map(Duration::from_millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn error_says_what_is_expected() {
        let cases = [
            ("unix:/a,wait=off", "`wait` has a meaning only with server=on"),
            ("unix:/a,server=on,reconnect=1", "`reconnect` has no meaning with server=on"),
            ("unix:/a,server=yes", "`server=yes` expects on or off"),
            ("unix:/a,reconnect=-1", "`reconnect=-1` expects a whole number, of a duration below 50 days"),
            (
                "unix:/a,reconnect-ms=99999999999",
                "`reconnect-ms=99999999999` expects a whole number, of a duration below 50 days",
            ),
            (
                "unix:/a,reconnect=4294968",
                "`reconnect=4294968` expects a whole number, of a duration below 50 days",
            ),
            ("fd=x", "`x` is no file descriptor: write fd:3"),
            (
                "unix:/a,mux=on",
                "unknown option `mux=on`: known are server, wait, reconnect and reconnect-ms; a comma in a path is written twice",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(text.parse::<SocketOptions>().unwrap_err().to_string(), message, "{text}");
        }
    }

    proptest! {
        /// Parsing printed options gives the same options.
        #[test]
        fn printed_options_parse_to_the_same(
            text in "(unix:|tcp:|fd=|fd:)[/.:,\\[\\]0-9a-z]{0,10}(:[0-9]{1,5})?(,server=on)?(,wait=(on|off))?(,reconnect(-ms)?=[0-9]{1,10})?"
        ) {
            if let Ok(options) = text.parse::<SocketOptions>() {
                prop_assert_eq!(options.to_string().parse::<SocketOptions>(), Ok(options));
            }
        }
    }
}

//! The rights of a client, at a relay and over HTTP.

use qmp_journal::Globs;

/// The longest command of an observer, in bytes, at a relay and over HTTP. Queries have some hundred bytes. QEMU reads a
/// long command at 3.6 s for each MB and answers no other client during that time.
pub const OBSERVER_COMMAND_MAX_BYTES: usize = 16 << 10;

/// The longest command of an operator, in bytes, at a relay and over HTTP. The longest commands in use (`blockdev-add` of a
/// deep graph) have a few KiB.
pub const COMMAND_MAX_BYTES: usize = 1 << 20;

/// How much longer a message may be than its command, as a factor: six bytes can encode one (`\u0041`), and blanks encode
/// none. A longer message is not read to its end.
const MESSAGE_BYTES_PER_COMMAND_BYTE: usize = 8;

/// Commands that change nothing and return no secret, besides `query-*`.
///
/// Without `qom-get`, which also reads the data of secret objects.
const INTROSPECTION: [&str; 7] = [
    "device-list-properties",
    "qom-list",
    "qom-list-properties",
    "qom-list-types",
    "trace-event-get-state",
    REPLAY_COMMAND,
    "qmp_capabilities",
];

/// The relay's own command: repeats events from the journal.
pub(crate) const REPLAY_COMMAND: &str = "x-replay";

/// The rights of the clients of a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one for each relay, and it is not moved")]
pub enum Role {
    /// Send queries and receive events.
    Observe,
    /// Send queries, receive events, and send the commands whose names match; without patterns, all commands.
    Operate {
        /// Names of commands.
        allow: Globs,
    },
}

/// Whether a command is a query: it changes nothing.
pub fn only_asks(command: &str) -> bool {
    command.starts_with("query-") || command.starts_with("x-query-") || INTROSPECTION.contains(&command)
}

impl Role {
    /// Its name in the configuration.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Operate { .. } => "operate",
        }
    }

    /// Whether `command` may be sent.
    pub fn permits(&self, command: &str) -> bool {
        only_asks(command) || matches!(self, Self::Operate { allow } if allow.matches(command))
    }

    /// The longest command that may be sent, in bytes: its name and the text of its arguments.
    const fn command_max_bytes(&self) -> usize {
        match self {
            Self::Observe => OBSERVER_COMMAND_MAX_BYTES,
            Self::Operate { .. } => COMMAND_MAX_BYTES,
        }
    }

    /// The longest message that is read, in bytes.
    pub(crate) const fn message_max_bytes(&self) -> usize {
        self.command_max_bytes() * MESSAGE_BYTES_PER_COMMAND_BYTE
    }

    /// Why a command of that many bytes is refused; `None` if it is permitted.
    pub(crate) fn refusal_of_length(&self, bytes: usize) -> Option<String> {
        let max_bytes = self.command_max_bytes();
        (bytes > max_bytes).then(|| {
            format!(
                "The command has {bytes} bytes; it may have {max_bytes} bytes at a relay with role = \"{}\"",
                self.name()
            )
        })
    }

    /// Why `command` is refused; `None` if it is permitted.
    pub(crate) fn refusal(&self, command: &str) -> Option<String> {
        match self {
            role if role.permits(command) => None,
            Self::Observe => Some(format!(
                "The command {command} is not available here: this socket is for observers, who may use query-* and \
                 introspection; role = \"operate\" in the relay's configuration permits more"
            )),
            Self::Operate { .. } => Some(format!(
                "The command {command} is not available here: it is not in the list `allow` of the relay's configuration"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_permit() {
        //  command                  observe  operate  operate "stop", "block*"
        let cases = [
            ("query-status", true, true, true),
            ("x-query-irq", true, true, true),
            ("qom-list", true, true, true),
            ("x-replay", true, true, true),
            ("query", false, true, false),
            ("qom-get", false, true, false),
            ("stop", false, true, true),
            ("blockdev-add", false, true, true),
            ("cont", false, true, false),
            ("quit", false, true, false),
            ("QUERY-STATUS", false, true, false),
            ("no-such-command", false, true, false),
            ("", false, true, false),
        ];
        for (command, observe, operate, listed) in cases {
            assert_eq!(permitted(command), [observe, operate, listed], "{command}");
        }
    }

    fn permitted(command: &str) -> [bool; 3] {
        let listed = Globs::parse(["stop", "block*"]).expect("patterns");
        let roles =
            [Role::Observe, Role::Operate { allow: Globs::default() }, Role::Operate { allow: listed }];
        roles.map(|role| role.refusal(command).is_none())
    }
}

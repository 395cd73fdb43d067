//! The messages that a rule matches.

use qmp_wire::Message;

/// The set of the machine's messages that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Messages {
    /// All messages, the greeting included.
    Any,
    /// The greeting.
    Greeting,
    /// Replies to commands, errors included.
    Reply,
    /// Replies to commands whose name matches; `*` matches any text. With
    /// [`FaultKind::Drop`](super::FaultKind::Drop), only that command hangs.
    ReplyTo(Box<str>),
    /// Events whose name matches; `*` matches any text.
    Event(Box<str>),
}

impl Messages {
    /// Returns whether `bytes`, one message of a machine, is in the set; a reply is the reply to `command`.
    pub(super) fn contain(&self, bytes: &[u8], command: Option<&str>) -> bool {
        match (self, Message::parse(bytes)) {
            (Self::Any, _) | (Self::Greeting, Ok(Message::Greeting(_))) => true,
            (Self::Reply, Ok(Message::Return { .. } | Message::Error { .. })) => true,
            (Self::ReplyTo(pattern), Ok(Message::Return { .. } | Message::Error { .. })) => {
                command.is_some_and(|command| matches(pattern, command))
            }
            (Self::Event(pattern), Ok(Message::Event(event))) => matches(pattern, &event.name),
            _ => false,
        }
    }
}

/// Returns whether a name matches a pattern, in which `*` matches any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_matches_pattern_with_wildcards() {
        let cases = [
            ("STOP", "STOP", true),
            ("STOP", "STOPPED", false),
            ("*", "", true),
            ("*", "STOP", true),
            ("BLOCK_*", "BLOCK_IO_ERROR", true),
            ("BLOCK_*", "DEVICE_BLOCK_", false),
            ("*_ERROR", "BLOCK_IO_ERROR", true),
            ("B*_*R", "BLOCK_IO_ERROR", true),
            ("B*_*R", "BR", false),
            ("A*A", "A", false),
            ("", "STOP", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn message_kind_is_recognized() {
        let greeting: &[u8] = b"{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";
        let stop: &[u8] = b"{\"event\": \"STOP\"}";
        let reply: &[u8] = b"{\"return\": {}, \"id\": 1}";
        let error: &[u8] = b"{\"id\": 1, \"error\": {\"class\": \"GenericError\", \"desc\": \"\"}}";
        let event = || Messages::Event("ST*".into());
        //  messages, greeting, event, reply, error
        let cases = [
            (Messages::Any, [true, true, true, true]),
            (Messages::Greeting, [true, false, false, false]),
            (event(), [false, true, false, false]),
            (Messages::Reply, [false, false, true, true]),
            (Messages::ReplyTo("query-*".into()), [false, false, true, true]),
            (Messages::ReplyTo("stop".into()), [false, false, false, false]),
        ];
        for (messages, expected) in cases {
            let found =
                [greeting, stop, reply, error].map(|bytes| messages.contain(bytes, Some("query-block")));
            assert_eq!(found, expected, "{messages:?}");
        }
    }
}

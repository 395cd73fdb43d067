//! Splits the bytes from a machine into messages, each with the line end that follows it.

/// A stream of messages. A machine sends JSON, so counting the braces outside of strings suffices.
#[derive(Debug, Default)]
pub(super) struct MessageSplitter {
    bytes: Vec<u8>,
    /// Number of bytes already scanned.
    scanned: usize,
    depth: usize,
    within_string: bool,
    after_backslash: bool,
}

impl MessageSplitter {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next whole message with the white space before it.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        while let Some(byte) = self.bytes.get(self.scanned).copied() {
            self.scanned += 1;
            match byte {
                _ if self.after_backslash => self.after_backslash = false,
                b'\\' if self.within_string => self.after_backslash = true,
                b'"' => self.within_string = !self.within_string,
                _ if self.within_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            // The line end belongs to the message: a machine writes both at once.
            if byte == b'\n' && self.depth == 0 && !self.within_string {
                let rest = self.bytes.split_off(self.scanned);
                self.scanned = 0;
                return Some(std::mem::replace(&mut self.bytes, rest));
            }
        }
        None
    }

    /// Returns the remaining bytes, which are no whole message.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(self).bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(pieces: &[&[u8]]) -> (Vec<String>, String) {
        let mut split = MessageSplitter::default();
        let mut messages = Vec::new();
        for piece in pieces {
            split.push(piece);
            messages.extend(std::iter::from_fn(|| split.next()));
        }
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (messages.into_iter().map(text).collect(), text(split.rest()))
    }

    const STREAM: &str =
        "{\"QMP\": {}}\r\n{\r\n  \"event\": \"A}\\\"{\"\r\n}\r\n{\"return\": [{}, \"\\\\\"]}\r\n{\"ev";

    #[test]
    fn stream_with_braces_in_strings_is_split_into_messages() {
        let expected = [
            "{\"QMP\": {}}\r\n",
            "{\r\n  \"event\": \"A}\\\"{\"\r\n}\r\n",
            "{\"return\": [{}, \"\\\\\"]}\r\n",
        ];
        let (messages, rest) = split(&[STREAM.as_bytes()]);
        assert_eq!(messages, expected);
        assert_eq!(rest, "{\"ev");
    }

    proptest! {
        /// Where the stream is cut does not matter.
        #[test]
        fn stream_cut_anywhere_gives_the_same_messages(cut in 0..STREAM.len(), other in 0..STREAM.len()) {
            let (first, second) = (cut.min(other), cut.max(other));
            let bytes = STREAM.as_bytes();
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            prop_assert_eq!(split(&pieces), split(&[bytes]));
        }
    }
}

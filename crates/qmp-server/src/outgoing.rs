//! Output that waits to be written to one client.
//!
//! Bytes, and the end of each message in them, so that whole events can be dropped when the client does not read.

use std::collections::VecDeque;

use crate::types::{ObjectType, Type};

/// The event in place of dropped events.
pub const EVENTS_DROPPED: &str = "__io.github.qmp-events_EVENTS_DROPPED";

/// The type of its data.
pub(crate) fn dropped_data() -> ObjectType {
    ObjectType::default().required("count", Type::Int)
}

#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    /// Number of `bytes` already written.
    written: usize,
    pieces: VecDeque<Piece>,
    /// Bytes of the pieces that may be dropped.
    event_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    length: usize,
    /// Number of events that are lost if this piece is dropped; 0 for a piece that must not be dropped: a reply, or
    /// a partly written message.
    events: u64,
}

impl Outgoing {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the number of messages that are not completely written.
    ///
    /// A message ends with CR LF, and the next one begins with a brace; a line inside a message that is spread over many
    /// lines begins with neither.
    pub(crate) fn messages(&self) -> u64 {
        let bytes = self.bytes();
        let begins = bytes.windows(3).filter(|window| *window == b"\r\n{").count();
        begins as u64 + u64::from(!bytes.is_empty())
    }

    /// Returns whether more than one whole event waits, in more than `max_bytes`. A client that does not read makes
    /// the events grow without limit; one event has any size.
    pub(crate) fn exceeds(&self, max_bytes: usize) -> bool {
        let mut events = self.pieces.iter().filter(|piece| piece.events > 0);
        self.event_bytes > max_bytes && events.nth(1).is_some()
    }

    /// Appends a message that must not be dropped.
    pub(crate) fn push_reply(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.push(bytes, 0);
        }
    }

    /// Appends one event, of whose bytes the first `written` are already written.
    pub(crate) fn push_event(&mut self, line: &[u8], written: usize) {
        self.push(&line[written..], u64::from(written == 0));
    }

    fn push(&mut self, bytes: &[u8], events: u64) {
        self.bytes.extend_from_slice(bytes);
        self.event_bytes += if events > 0 { bytes.len() } else { 0 };
        self.pieces.push_back(Piece { length: bytes.len(), events });
    }

    /// Appends a marker for lost events.
    pub(crate) fn push_lost(&mut self, count: u64, marker: impl Fn(u64) -> Vec<u8>) {
        self.push(&marker(count), count);
    }

    /// Removes the first `count` bytes, which were written.
    pub(crate) fn consume(&mut self, mut count: usize) {
        self.written += count;
        while let Some(piece) = self.pieces.front_mut() {
            if piece.events > 0 && count > 0 {
                self.event_bytes -= piece.length;
            }
            if piece.length > count {
                if count > 0 {
                    *piece = Piece { length: piece.length - count, events: 0 };
                }
                break;
            }
            count -= piece.length;
            self.pieces.pop_front();
        }
        if self.written == self.bytes.len() {
            *self = Self::default();
        } else if self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// Drops the oldest events until at most `keep_bytes` of events are left; `marker` creates a message with their
    /// number in their place.
    ///
    /// Returns the number of dropped events that were not counted before.
    pub(crate) fn drop_oldest(&mut self, keep_bytes: usize, marker: impl Fn(u64) -> Vec<u8>) -> u64 {
        let old = std::mem::take(self);
        let mut excess = old.event_bytes.saturating_sub(keep_bytes);
        let (mut fresh, mut lost, mut marked) = (0, 0, false);
        let mut rest = old.bytes();
        for piece in &old.pieces {
            let (bytes, after) = rest.split_at(piece.length);
            rest = after;
            if piece.events > 0 && excess > 0 {
                excess = excess.saturating_sub(piece.length);
                lost += piece.events;
                // The events of a marker were counted when it was created.
                fresh += u64::from(!bytes_are_marker(bytes));
                continue;
            }
            if lost > 0 && !marked && piece.events > 0 {
                self.push(&marker(lost), lost);
                marked = true;
            }
            self.push(bytes, piece.events);
        }
        if lost > 0 && !marked {
            self.push(&marker(lost), lost);
        }
        fresh
    }
}

fn bytes_are_marker(line: &[u8]) -> bool {
    line.windows(EVENTS_DROPPED.len()).any(|window| window == EVENTS_DROPPED.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marker(count: u64) -> Vec<u8> {
        format!("<{EVENTS_DROPPED} {count}>").into_bytes()
    }

    fn text(outgoing: &Outgoing) -> String {
        String::from_utf8(outgoing.bytes().to_vec()).unwrap().replace(EVENTS_DROPPED, "lost")
    }

    #[test]
    fn oldest_whole_events_are_replaced_by_a_marker() {
        let mut outgoing = Outgoing::default();
        outgoing.push_event(b"[one]", 2);
        outgoing.push_reply(b"(reply)");
        outgoing.push_event(b"[two]", 0);
        outgoing.push_event(b"[three]", 0);
        outgoing.push_event(b"[four]", 0);
        assert_eq!(outgoing.drop_oldest(6, marker), 2);
        assert_eq!(text(&outgoing), "ne](reply)<lost 2>[four]");
        outgoing.push_event(b"[five]", 0);
        assert_eq!(outgoing.drop_oldest(0, marker), 2, "the marker is not another loss");
        assert_eq!(text(&outgoing), "ne](reply)<lost 4>");
        outgoing.consume(4);
        assert_eq!(text(&outgoing), "reply)<lost 4>");
    }

    #[test]
    fn messages_count_whole_and_partly_written_ones() {
        let mut outgoing = Outgoing::default();
        assert_eq!(outgoing.messages(), 0);
        // Two replies in one piece, one of them over many lines.
        outgoing.push_reply(b"{\r\n    \"return\": [\r\n        {}\r\n    ]\r\n}\r\n{\"return\": {}}\r\n");
        outgoing.push_event(b"{\"event\": \"STOP\"}\r\n", 0);
        assert_eq!(outgoing.messages(), 3);
        outgoing.consume(1);
        assert_eq!(outgoing.messages(), 3);
        outgoing.consume(outgoing.len() - 1);
        assert_eq!(outgoing.messages(), 1);
    }

    proptest! {
        /// Every event is written whole, or counted as lost; no reply is lost; the order is kept.
        #[test]
        fn lost_events_are_counted(
            steps in prop::collection::vec((0_u8..4, 0_usize..40), 1..200)
        ) {
            let mut outgoing = Outgoing::default();
            let (mut pushed, mut written, mut lost) = (Vec::new(), Vec::new(), 0);
            for (number, (step, size)) in steps.into_iter().enumerate() {
                match step {
                    0 => {
                        let reply = format!("(r{number})");
                        outgoing.push_reply(reply.as_bytes());
                        pushed.push(reply);
                    }
                    1 => {
                        let event = format!("[e{number}]");
                        outgoing.push_event(event.as_bytes(), 0);
                        pushed.push(event);
                    }
                    2 => {
                        let count = size.min(outgoing.len());
                        written.extend_from_slice(&outgoing.bytes()[..count]);
                        outgoing.consume(count);
                    }
                    _ => lost += outgoing.drop_oldest(size, marker),
                }
            }
            written.extend_from_slice(outgoing.bytes());
            let written = String::from_utf8(written).unwrap();
            let kept: Vec<_> = pushed.iter().filter(|message| written.contains(&***message)).collect();
            let replies = pushed.iter().filter(|message| message.starts_with('(')).count();
            prop_assert_eq!(kept.iter().filter(|message| message.starts_with('(')).count(), replies);
            prop_assert_eq!(kept.len() as u64 + lost, pushed.len() as u64);
            let positions: Vec<_> = kept.iter().map(|message| written.find(&***message)).collect();
            prop_assert!(positions.is_sorted());
        }
    }
}

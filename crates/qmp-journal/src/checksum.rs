//! The checksum of a segment: over the content of its records, in order.
//!
//! The checksum finds damage, not forgery: it adds eight bytes at a time, and each step is reversible, so that one
//! changed word always changes the sum. Names are added as text: a damaged name changes the content of its records.
//! Indexes are left out, since they can be rebuilt from the records.

use qmp_wire::Timestamp;

use super::body::RecordKind;

/// An odd number whose bits are well mixed: the golden ratio in 64 bits.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The content of a record, as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    pub(super) offset: u64,
    pub(super) vm: &'a str,
    pub(super) epoch: u32,
    pub(super) seq: u64,
    pub(super) kind: RecordKind,
    pub(super) received: i64,
    pub(super) event: Option<&'a str>,
    pub(super) event_time: Option<Timestamp>,
    pub(super) sent_name: Option<&'a str>,
    pub(super) data: Option<&'a str>,
}

/// A running checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checksum(u64);

impl Checksum {
    /// Adds a number.
    pub(super) fn number(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(FACTOR);
        self.0 = mixed ^ (mixed >> 32);
    }

    /// The checksum as its column.
    pub(super) fn column(self) -> i64 {
        self.0.cast_signed()
    }

    fn text(&mut self, text: Option<&str>) {
        let Some(text) = text else { return self.number(u64::MAX) };
        self.number(text.len() as u64);
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        words.iter().for_each(|word| self.number(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.number(u64::from_le_bytes(word));
        }
    }
}

impl Content<'_> {
    /// The checksum of one record.
    pub(super) fn sum(&self) -> u64 {
        let mut sum = Checksum::default();
        sum.number(self.offset);
        sum.number(u64::from(self.epoch) << 32 | u64::from(self.kind.id()));
        sum.number(self.seq);
        sum.number(self.received.cast_unsigned());
        sum.number(self.event_time.map_or(u64::MAX, |at| at.seconds().cast_unsigned()));
        sum.number(self.event_time.map_or(u64::MAX, |at| u64::from(at.microseconds())));
        [Some(self.vm), self.event, self.sent_name, self.data].into_iter().for_each(|text| sum.text(text));
        sum.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_differs_if_any_member_differs() {
        let whole = Content {
            offset: 41,
            vm: "web1",
            epoch: 2,
            seq: 7,
            kind: RecordKind::Event,
            received: -5,
            event: Some("STOP"),
            event_time: Timestamp::from_wire(1, 2).expect("in range"),
            sent_name: None,
            data: Some("{\"a\": 12345678}"),
        };
        let others = [
            Content { offset: 42, ..whole },
            Content { vm: "web2", ..whole },
            Content { epoch: 3, ..whole },
            Content { seq: 8, ..whole },
            Content { kind: RecordKind::Finding, ..whole },
            Content { received: -6, ..whole },
            Content { event: None, ..whole },
            Content { event: Some(""), ..whole },
            Content { event_time: None, ..whole },
            Content { sent_name: Some("STOP"), ..whole },
            Content { data: None, ..whole },
            Content { data: Some("{\"a\": 12345679}"), ..whole },
            Content { data: Some("{\"a\": 12345678} "), ..whole },
            // The same bytes, cut elsewhere.
            Content { vm: "web1S", event: Some("TOP"), ..whole },
        ];
        for other in others {
            assert_ne!(other.sum(), whole.sum(), "{other:?}");
        }
        assert_eq!(whole.sum(), whole.sum());
    }
}

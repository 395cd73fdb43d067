//! The offsets of tickets: which offset the last draft of an appended batch gets. Pure: no lock, no clock.

use std::sync::{Arc, OnceLock};

use qmp_wire::Offset;

/// Identifies everything that was appended up to and including one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

impl Ticket {
    /// Covers the first `records` drafts that were ever appended.
    pub(super) const fn new(records: u64) -> Self {
        Self(records)
    }

    /// The number of drafts that it covers.
    pub(super) const fn records(self) -> u64 {
        self.0
    }
}

/// The offset of a ticket's last record; set before readers can see any later record.
pub type CommitOffset = Arc<OnceLock<Offset>>;

/// The offsets that were assigned, and the requests for later ones.
#[derive(Debug, Default)]
pub(super) struct CommitOffsets {
    /// Requests for the offset of a ticket that is not assigned yet.
    requests: Vec<(Ticket, CommitOffset)>,
    /// The number of drafts with assigned offsets, and the last of these offsets.
    assigned: (u64, Offset),
}

impl CommitOffsets {
    /// Begins after `head`.
    pub(super) fn new(head: Offset) -> Self {
        Self { requests: Vec::new(), assigned: (0, head) }
    }

    /// The offset of `ticket`, which is set once it is assigned; the last assigned one if it is already.
    pub(super) fn request(&mut self, ticket: Option<Ticket>) -> CommitOffset {
        let (assigned, head) = self.assigned;
        match ticket {
            Some(ticket) if ticket.0 > assigned => {
                let offset = CommitOffset::default();
                self.requests.push((ticket, Arc::clone(&offset)));
                offset
            }
            _ => Arc::new(head.into()),
        }
    }

    /// Assigns offsets to the next `records` drafts, the last of which is `head`. Between them are the records at
    /// `implicit`, which were not appended.
    pub(super) fn assign(&mut self, records: u64, head: Offset, implicit: &[u64]) {
        let (before, base) = self.assigned;
        self.assigned = (before + records, head);
        let due = |(ticket, _): &mut (Ticket, CommitOffset)| ticket.0 <= before + records;
        for (ticket, requested) in self.requests.extract_if(.., due) {
            let nth = base.0 + (ticket.0 - before);
            let offset =
                implicit.iter().fold(nth, |offset, implicit| offset + u64::from(*implicit <= offset));
            // Each request has a cell of its own, which is set once.
            let _ = requested.set(Offset(offset));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of drafts, the head, and the offsets of implicit records.
    type Assignment = (u64, u64, &'static [u64]);

    type Case = (&'static [u64], &'static [Assignment], &'static [Option<u64>]);

    #[test]
    fn ticket_gets_the_offset_of_its_last_record() {
        //  appended   assigned                                           offset of the second ticket after each
        let cases: [Case; 6] = [
            (&[1, 1], &[(2, 12, &[])], &[Some(12)]),
            (&[1, 1, 3], &[(5, 15, &[])], &[Some(12)]),
            (&[2, 2], &[(1, 11, &[]), (2, 13, &[]), (1, 14, &[])], &[None, None, Some(14)]),
            (&[1, 1], &[(2, 13, &[11])], &[Some(13)]),
            (&[1, 1, 1], &[(3, 15, &[12, 14])], &[Some(13)]),
            (&[1, 1, 1], &[(1, 12, &[11]), (2, 15, &[15])], &[None, Some(13)]),
        ];
        for (appended, assigned, expected) in cases {
            let mut offsets = CommitOffsets::new(Offset(10));
            let ticket = Ticket::new(appended[0] + appended[1]);
            let offset = offsets.request(Some(ticket));
            assert_eq!(offset.get(), None, "{appended:?}: nothing is assigned yet");
            for ((records, head, implicit), expected) in assigned.iter().zip(expected) {
                offsets.assign(*records, Offset(*head), implicit);
                assert_eq!(offset.get().map(|offset| offset.0), *expected, "{appended:?} {assigned:?}");
            }
            // A later request gets the head.
            let head = assigned.last().expect("one").1;
            assert_eq!(offsets.request(Some(ticket)).get(), Some(&Offset(head)), "{appended:?}");
            assert_eq!(offsets.request(None).get(), Some(&Offset(head)), "{appended:?}");
        }
    }
}

//! The members of an object: written in serialization order, sorted at the end.

use super::hidden::Hidden;
use crate::dialect::bucket::bucket;
use crate::dialect::print::print_string;

/// The struct name under which `serde_json` serializes text that is already JSON.
pub(super) const RAW_TEXT: &str = "$serde_json::private::RawValue";

/// Number of members that are sorted without an allocation.
const INLINE: usize = 8;

/// An object being written; each member is followed by a separator until the end.
pub(super) struct Members<'a, 'h> {
    pub(super) out: &'a mut Vec<u8>,
    hidden: &'h [Hidden],
    start: usize,
    entries: Entries,
    in_order: bool,
    end: &'static [u8],
    /// The members to leave out in the value of the current key; `None` if the key itself is left out.
    pub(super) within: Option<&'h [Hidden]>,
    pub(super) is_raw: bool,
}

/// The start of each member; it ends at the start of the next one.
struct Entries {
    inline: [Entry; INLINE],
    many: Vec<Entry>,
    count: usize,
    /// The bucket of the last member.
    last: u32,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    bucket: u32,
    start: usize,
}

impl Entries {
    const fn new() -> Self {
        Self { inline: [Entry { bucket: 0, start: 0 }; INLINE], many: Vec::new(), count: 0, last: 0 }
    }

    /// Adds a member; returns whether it is in order after the previous one.
    #[inline]
    fn push(&mut self, bucket: u32, start: usize) -> bool {
        let in_order = self.count == 0 || self.last < bucket;
        self.last = bucket;
        let entry = Entry { bucket, start };
        if self.count < INLINE {
            self.inline[self.count] = entry;
        } else {
            if self.many.is_empty() {
                self.many.extend_from_slice(&self.inline);
            }
            self.many.push(entry);
        }
        self.count += 1;
        in_order
    }

    fn all(&self) -> &[Entry] {
        if self.count <= INLINE { &self.inline[..self.count] } else { &self.many }
    }
}

impl<'a, 'h> Members<'a, 'h> {
    pub(super) fn open(out: &'a mut Vec<u8>, hidden: &'h [Hidden]) -> Self {
        out.push(b'{');
        let start = out.len();
        Self {
            out,
            hidden,
            start,
            entries: Entries::new(),
            in_order: true,
            end: b"}",
            within: None,
            is_raw: false,
        }
    }

    /// An object in an enclosing object whose key is the name of an enum's variant.
    pub(super) fn open_variant(out: &'a mut Vec<u8>, hidden: &'h [Hidden]) -> Self {
        Self { end: b"}}", ..Self::open(out, hidden) }
    }

    /// Text that is already JSON, as the one member of a struct with a reserved name.
    pub(super) fn raw(out: &'a mut Vec<u8>) -> Self {
        let mut members = Self::open(out, &[]);
        members.out.pop();
        members.is_raw = true;
        members
    }

    #[inline]
    pub(super) fn key(&mut self, name: &str) {
        self.within = Some(&[]);
        if let Some(Hidden { within, .. }) = self.hidden.iter().find(|hidden| *hidden.name == *name) {
            self.within = (!within.is_empty()).then_some(within);
            if within.is_empty() {
                return;
            }
        }
        self.in_order &= self.entries.push(bucket(name), self.out.len());
        print_string(name, self.out);
        self.out.extend_from_slice(b": ");
    }

    pub(super) fn close(mut self) {
        if self.is_raw {
            return;
        }
        if !self.in_order {
            self.put_in_order();
        }
        if self.entries.count > 0 {
            self.out.truncate(self.out.len() - 2);
        }
        self.out.extend_from_slice(self.end);
    }

    /// In one bucket, the last inserted member comes first.
    fn put_in_order(&mut self) {
        let end = self.out.len();
        let starts = self.entries.all();
        if let [first, second] = starts {
            // The usual case: an event has few members.
            let (first, second) = (first.start, second.start);
            self.out.extend_from_within(first..second);
            self.out.copy_within(second.., first);
            self.out.truncate(end);
            return;
        }
        let mut inline = [(Entry::default(), 0); INLINE];
        let mut many = Vec::new();
        let members = if starts.len() <= INLINE {
            &mut inline[..starts.len()]
        } else {
            many.resize(starts.len(), (Entry::default(), 0));
            &mut many[..]
        };
        let ends = starts.iter().skip(1).map(|next| next.start).chain([end]);
        for (member, (entry, end)) in members.iter_mut().zip(starts.iter().zip(ends)) {
            *member = (*entry, end);
        }
        members.sort_unstable_by_key(|(entry, _)| (entry.bucket, usize::MAX - entry.start));
        for (entry, member_end) in members {
            self.out.extend_from_within(entry.start..*member_end);
        }
        self.out.copy_within(end.., self.start);
        self.out.truncate(end);
    }
}

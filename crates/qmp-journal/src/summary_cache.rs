//! Summaries in memory: what readers have decoded of sealed segments.
//!
//! A sealed segment does not change, and neither does a summary of one version. The summaries of the segments that were used
//! longest ago are evicted. One that the present request has used stays: a request that reads more segments than there is memory
//! for would otherwise evict each of them before the next request needs it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::summary::CountTable;

/// Memory of a decoded summary besides its counts and changes, in bytes.
const ENTRY_BYTES: usize = 128;

/// A request that reads summaries: later ones have higher numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestNumber(u64);

/// The summaries of segments, by their last offset.
#[derive(Debug)]
pub(super) struct SummaryCache {
    entries: HashMap<u64, Entry>,
    /// Segments whose counts were read once, and are no damaged bytes.
    checked: HashSet<u64>,
    bytes: usize,
    bytes_max: usize,
    requests: u64,
}

#[derive(Debug)]
struct Entry {
    version: u32,
    /// The last request that used it.
    used: RequestNumber,
    counts: Option<Arc<CountTable>>,
    changes: Option<Arc<[u8]>>,
}

impl Entry {
    fn bytes(&self) -> usize {
        let counts = self.counts.as_ref().map_or(0, |counts| counts.bytes());
        ENTRY_BYTES + counts + self.changes.as_ref().map_or(0, |changes| changes.len())
    }
}

impl SummaryCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { entries: HashMap::new(), checked: HashSet::new(), bytes: 0, bytes_max, requests: 0 }
    }

    /// Begins a request. The segments before `first`, the last offset of the first segment, were removed from the journal.
    pub(super) fn begin(&mut self, first: u64) -> RequestNumber {
        self.requests += 1;
        self.checked.retain(|last| *last >= first);
        let removed: Vec<u64> = self.entries.keys().copied().filter(|last| *last < first).collect();
        for last in removed {
            self.remove(last);
        }
        RequestNumber(self.requests)
    }

    /// Whether the counts of a segment were read once, and are no damaged bytes.
    pub(super) fn is_checked(&self, last: u64) -> bool {
        self.checked.contains(&last)
    }

    /// Notes that the counts of a segment are no damaged bytes.
    pub(super) fn note_checked(&mut self, last: u64) {
        self.checked.insert(last);
    }

    /// The counts of the segment that ends at `last`.
    pub(super) fn counts(
        &mut self,
        last: u64,
        version: u32,
        request: RequestNumber,
    ) -> Option<Arc<CountTable>> {
        self.entry(last, version, request)?.counts.clone()
    }

    /// The encoded changes of the segment that ends at `last`.
    pub(super) fn changes(&mut self, last: u64, version: u32, request: RequestNumber) -> Option<Arc<[u8]>> {
        self.entry(last, version, request)?.changes.clone()
    }

    /// Keeps the counts of a segment; `false` if there is no memory for them.
    pub(super) fn put_counts(
        &mut self,
        last: u64,
        version: u32,
        request: RequestNumber,
        counts: &Arc<CountTable>,
    ) -> bool {
        self.put(last, version, request, counts.bytes(), |entry| entry.counts = Some(Arc::clone(counts)))
    }

    /// Keeps the encoded changes of a segment, if there is memory for them.
    pub(super) fn put_changes(
        &mut self,
        last: u64,
        version: u32,
        request: RequestNumber,
        changes: &Arc<[u8]>,
    ) {
        self.put(last, version, request, changes.len(), |entry| entry.changes = Some(Arc::clone(changes)));
    }

    fn entry(&mut self, last: u64, version: u32, request: RequestNumber) -> Option<&Entry> {
        let entry = self.entries.get_mut(&last).filter(|entry| entry.version == version)?;
        entry.used = entry.used.max(request);
        Some(entry)
    }

    fn put(
        &mut self,
        last: u64,
        version: u32,
        request: RequestNumber,
        bytes: usize,
        set: impl FnOnce(&mut Entry),
    ) -> bool {
        let mut entry = match self.remove(last) {
            Some(entry) if entry.version == version => entry,
            _ => Entry { version, used: request, counts: None, changes: None },
        };
        entry.used = entry.used.max(request);
        let has_room = self.make_room(entry.bytes() + bytes, request);
        if has_room {
            set(&mut entry);
        }
        if entry.counts.is_some() || entry.changes.is_some() {
            self.bytes += entry.bytes();
            self.entries.insert(last, entry);
        }
        has_room
    }

    /// Evicts what requests before this one used, the oldest first, until there is room for `bytes`.
    fn make_room(&mut self, bytes: usize, request: RequestNumber) -> bool {
        if bytes > self.bytes_max {
            return false;
        }
        while self.bytes + bytes > self.bytes_max {
            let evictable = self.entries.iter().filter(|(_, entry)| entry.used < request);
            let Some(last) = evictable.min_by_key(|(_, entry)| entry.used).map(|(last, _)| *last) else {
                return false;
            };
            self.remove(last);
        }
        true
    }

    fn remove(&mut self, last: u64) -> Option<Entry> {
        let entry = self.entries.remove(&last)?;
        self.bytes -= entry.bytes();
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: u32 = 1;

    /// Changes of 1,000 bytes with the entry.
    fn changes() -> Arc<[u8]> {
        vec![0; 1_000 - ENTRY_BYTES].into()
    }

    fn kept(cache: &SummaryCache, segments: &[u64]) -> Vec<u64> {
        let is_kept = |last: &&u64| cache.entries.contains_key(last);
        segments.iter().filter(is_kept).copied().collect()
    }

    #[test]
    fn summaries_used_longest_ago_are_evicted() {
        let mut cache = SummaryCache::new(3_000);
        let all = [1, 2, 3, 4, 5];
        let first = cache.begin(0);
        for last in [1, 2, 3, 4] {
            cache.put_changes(last, VERSION, first, &changes());
        }
        assert_eq!(kept(&cache, &all), [1, 2, 3], "a request evicts nothing of its own");
        let second = cache.begin(0);
        assert!(cache.changes(1, VERSION, second).is_some());
        cache.put_changes(4, VERSION, second, &changes());
        cache.put_changes(5, VERSION, second, &changes());
        assert_eq!(kept(&cache, &all), [1, 4, 5]);
        assert_eq!(cache.bytes, 3_000);
        cache.begin(4);
        assert_eq!((kept(&cache, &all), cache.bytes), (vec![4, 5], 2_000), "others were removed");
    }

    #[test]
    fn summary_of_another_version_is_not_used() {
        let mut cache = SummaryCache::new(3_000);
        let request = cache.begin(0);
        cache.put_changes(1, VERSION, request, &changes());
        assert!(cache.changes(1, VERSION + 1, request).is_none());
        cache.put_changes(1, VERSION + 1, request, &changes());
        assert!(cache.changes(1, VERSION + 1, request).is_some());
        assert_eq!(cache.bytes, 1_000);
        cache.put_changes(2, VERSION, request, &vec![0; 3_000].into());
        assert_eq!((kept(&cache, &[1, 2]), cache.bytes), (vec![1], 1_000), "larger than all memory");
    }
}

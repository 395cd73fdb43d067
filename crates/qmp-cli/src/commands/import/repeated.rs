//! Looks up whether a journal has a record already.

use std::collections::HashMap;

use qmp_journal::{JournalError, Query, Reader};
use qmp_wire::{Epoch, Record, Seq};

/// Records of the journal that are read at a time, after one that was looked up: the next repetition is most often the next record.
const AHEAD_RECORDS: usize = 1024;

type Identity = (Box<str>, Epoch, Seq);

/// Records of the journal, by identity.
pub(super) struct Repeated {
    reader: Reader,
    ahead: HashMap<Identity, Record<'static>>,
}

impl Repeated {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader, ahead: HashMap::new() }
    }

    /// Whether the journal has the record with the same content; `None` if it has no record with the identity.
    pub(super) fn is_same(&mut self, record: &Record<'_>) -> Result<Option<bool>, JournalError> {
        let identity: Identity = (record.vm.as_ref().into(), record.epoch, record.seq);
        if let Some(stored) = self.ahead.remove(&identity) {
            return Ok(Some(is_same(&stored, record)));
        }
        let Some(stored) = self.reader.find(&record.vm, record.epoch, record.seq)? else { return Ok(None) };
        self.ahead.clear();
        if let Some(offset) = stored.offset {
            for record in self.reader.cursor(Query::default(), offset).next_batch(AHEAD_RECORDS)? {
                self.ahead.insert((record.vm.as_ref().into(), record.epoch, record.seq), record);
            }
        }
        Ok(Some(is_same(&stored, record)))
    }
}

/// Whether two records have the same line of JSON but the offset, which is where the journal has it.
fn is_same(a: &Record<'_>, b: &Record<'_>) -> bool {
    let line = |record: &Record<'_>| {
        let mut line = Vec::new();
        Record { offset: None, ..record.clone() }.write_json(&mut line);
        line
    };
    line(a) == line(b)
}

//! The records after the last sealed segment, as readers of summaries keep them: read once, and continued by each reader.

use rusqlite::Connection;

use super::bounds;
use super::damage::DamageLog;
use super::digest::Digest;
use super::light::{LightRecord, read_light};
use super::row::NameCache;
use super::rows::Stretch;

/// The records that were read so far.
#[derive(Debug, Default)]
pub(super) struct OpenPart {
    version: u32,
    /// The last sealed offset.
    after: u64,
    upto: u64,
    records: Vec<LightRecord>,
}

impl OpenPart {
    /// Reads up to `head`, and drops what was sealed meanwhile.
    pub(super) fn read_on(
        &mut self,
        connection: &Connection,
        names: &mut NameCache,
        damage: &DamageLog,
        digest: &dyn Digest,
        unsealed: Stretch,
    ) -> rusqlite::Result<&[LightRecord]> {
        // `unsealed` is of an earlier transaction: what was sealed and removed since is not missing.
        let after = unsealed.after.max(bounds::first(connection)?.saturating_sub(1));
        if self.version != digest.version() || self.upto < after || self.after > after {
            *self = Self { version: digest.version(), after, upto: after, records: Vec::new() };
        }
        if self.after < after {
            self.records.retain(|record| record.offset > after);
            self.after = after;
        }
        let records = &mut self.records;
        let missing = |first, last, error: Option<&rusqlite::Error>| damage.note_missing(first, last, error);
        let stretch = Stretch { after: self.upto, upto: unsealed.upto };
        read_light(connection, names, digest, stretch, &mut |record| records.push(record), &missing)?;
        self.upto = self.upto.max(unsealed.upto);
        // Another reader may have read on behind this transaction's head.
        let end = self.records.partition_point(|record| record.offset <= unsealed.upto);
        Ok(&self.records[..end])
    }
}

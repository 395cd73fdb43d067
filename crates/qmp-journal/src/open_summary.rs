//! The summary of the segment that is being filled.

use rusqlite::Connection;

use super::bounds;
use super::columns::{SEALED, unsigned};
use super::digest::{Digest, DigestResult};
use super::light::read_light;
use super::numbering::Plan;
use super::row::NameCache;
use super::rows::Stretch;
use super::summary::SummaryBuilder;

/// The records after the last seal, as their summary will have them.
#[derive(Debug)]
pub(super) struct OpenSummary {
    digest: &'static dyn Digest,
    builder: SummaryBuilder,
}

impl OpenSummary {
    /// Restores it from the records after the last seal.
    pub(super) fn restore(connection: &Connection, digest: &'static dyn Digest) -> rusqlite::Result<Self> {
        let after = connection.query_row(SEALED, [], |row| row.get(0).map(unsigned))?;
        let stretch = Stretch { after, upto: bounds::head(connection)? };
        let mut builder = SummaryBuilder::default();
        let mut add = |record: super::light::LightRecord| {
            builder.add(record.offset, record.vm, record.name, record.received, record.digested);
        };
        read_light(connection, &mut NameCache::default(), digest, stretch, &mut add, &|_, _, _| ())?;
        Ok(Self { digest, builder })
    }

    /// Takes the records of a plan, and adds the summaries of the segments that it seals.
    pub(super) fn sum(&mut self, plan: &mut Plan<'_>) {
        plan.digest_version = self.digest.version();
        let mut sealed = plan.sealed.iter().peekable();
        for row in &plan.rows {
            let data = row.data.as_deref();
            let digested = DigestResult::of(self.digest, row.received, row.kind, row.event, data);
            let name = row.ids.event.unwrap_or(row.kind.id());
            self.builder.add(row.offset, row.ids.vm, name, row.received, digested);
            if let Some(sealed) = sealed.next_if(|sealed| sealed.last <= row.offset) {
                plan.summaries.push(self.builder.finish(sealed.first));
            }
        }
        // A segment that is sealed before it is full has no further record.
        plan.summaries.extend(sealed.map(|sealed| self.builder.finish(sealed.first)));
    }
}

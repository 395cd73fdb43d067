//! Reading what a page or a report asks for: windows by their summaries, names, and single records.

use qmp_wire::{Epoch, Offset, Record, Seq, UnixMicros};

use super::body::RecordKind;
use super::columns::number;
use super::digest::Digest;
use super::error::JournalError;
use super::feed::{Feed, StreamPosition};
use super::feeds;
use super::find::{self, EpochSpan};
use super::names::Role;
use super::passing::record_at;
use super::query::Query;
use super::reader::Reader;
use super::summary_reader;
use super::summary_request::{SummaryRead, SummaryRequest, SummaryVisitor};

/// A name of the journal with its id, which counts have in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The id.
    pub id: u32,
    /// Whether it is the name of a VM, and not of an event or a kind.
    pub is_vm: bool,
    /// The kind of records that have this name in place of an event's.
    pub kind: Option<RecordKind>,
    /// The name.
    pub name: Box<str>,
}

impl Reader {
    /// Reads a window by the summaries of its segments, and passes what is wanted to `visitor`.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read. A summary that is damaged is replaced by the records.
    pub fn read_summaries<V: SummaryVisitor>(
        &self,
        request: &SummaryRequest<'_>,
        visitor: &mut V,
    ) -> Result<SummaryRead, JournalError> {
        let head = self.head()?.0;
        summary_reader::read(&self.file, head, request, visitor)
    }

    /// The names of VMs, events and kinds, by id.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn names(&self) -> Result<Vec<Name>, JournalError> {
        self.file.with(|connection| {
            connection.sql(|connection| {
                let mut select = connection.prepare_cached("SELECT id, role, name FROM name ORDER BY id")?;
                let mut rows = select.query([])?;
                let mut names = Vec::new();
                while let Some(row) = rows.next()? {
                    // A name that cannot be read has no records that can be read.
                    let (Ok(role), Ok(name)) = (row.get_ref(1)?.as_str(), row.get_ref(2)?.as_str()) else {
                        continue;
                    };
                    let kind = (role == "kind").then(|| name.parse().ok()).flatten();
                    let (id, is_vm, name) = (row.get(0)?, role == Role::Vm.text(), name.into());
                    names.push(Name { id, is_vm, kind, name });
                }
                Ok(names)
            })
        })
    }

    /// The positions of foreign journals, by host and name.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn feeds(&self) -> Result<Vec<Feed>, JournalError> {
        self.file.with(|connection| connection.sql(feeds::read))
    }

    /// The positions of streams, by name.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn stream_positions(&self) -> Result<Vec<StreamPosition>, JournalError> {
        self.file.with(|connection| connection.sql(feeds::read_streams))
    }

    /// The last offset in a sealed segment.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn sealed(&self) -> Result<Offset, JournalError> {
        self.file.with(|connection| connection.sealed().map(Offset))
    }

    /// Whether a record that is in no sealed segment was received before `until`, by its host's clock.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn has_unsealed_before(&self, until: UnixMicros) -> Result<bool, JournalError> {
        let sql = "SELECT 1 FROM record WHERE offset > ?1 AND received < ?2";
        self.file.with(|connection| {
            let sealed = connection.sealed()?;
            connection.sql(|connection| connection.prepare_cached(sql)?.exists((number(sealed), until.0)))
        })
    }

    /// The record at `offset`; `None` if it was removed or cannot be read.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn record(&self, offset: Offset) -> Result<Option<Record<'static>>, JournalError> {
        let head = self.head()?;
        self.file.with(|connection| {
            let is_kept = offset <= head && offset.0 >= connection.first()?;
            if is_kept { record_at(connection, offset.0) } else { Ok(None) }
        })
    }

    /// The record with this identity; `None` if there is none, or if it was removed or cannot be read.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn find(&self, vm: &str, epoch: Epoch, seq: Seq) -> Result<Option<Record<'static>>, JournalError> {
        let head = self.head()?.0;
        self.file.with(|connection| find::find(connection, vm, (epoch, seq), head))
    }

    /// The last record that matches `query` before `offset`.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] and [`JournalError::Damaged`].
    pub fn last_before(
        &self,
        query: &Query,
        offset: Offset,
    ) -> Result<Option<Record<'static>>, JournalError> {
        let upto = Offset(offset.0.saturating_sub(1)).min(self.head()?);
        Ok(self.last_upto(query, 1, upto)?.records.pop())
    }

    /// The epochs in the journal, by VM and number.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn epochs(&self) -> Result<Vec<EpochSpan>, JournalError> {
        self.file.with(|connection| find::epochs(connection))
    }

    /// Offsets around the records that were received from `since` up to `until`: the first and the last of the segments
    /// with such records.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn offsets(&self, since: UnixMicros, until: UnixMicros) -> Result<(Offset, Offset), JournalError> {
        let head = self.head()?.0;
        self.file.with(|connection| find::window(connection, (since, until), head))
    }

    /// The earliest receipt of all records; `None` without a record. It may not be that of the first record.
    ///
    /// The records after the last segment are read as [`read_summaries`](Self::read_summaries) reads them, and kept for it.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn earliest(&self, digest: &dyn Digest) -> Result<Option<UnixMicros>, JournalError> {
        let head = self.head()?.0;
        Ok(find::earliest(&self.file, head, digest)?.map(UnixMicros))
    }
}

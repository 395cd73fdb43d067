//! A cursor: a position in the journal from which a reader continues.

use std::sync::Arc;

use qmp_wire::{Offset, Record};
use tokio::sync::watch;

use super::error::{JournalEnded, JournalError};
use super::filter::Filter;
use super::limits::FOREIGN_POLL;
use super::query::Query;
use super::read::ReadFile;
use super::retention::PrunedRange;
use super::row::LargeRecord;
use super::rows::{Direction, Stretch};
use super::scan::{self, Matches};

/// Yields the records of a query in order: history first, then live records.
///
/// ```no_run
/// # use qmp_journal::{Query, Reader};
/// # async fn follow(reader: Reader) -> Result<(), Box<dyn std::error::Error>> {
/// let mut cursor = reader.cursor(Query::default(), reader.head()?);
/// loop {
///     cursor.wait().await?;
///     for record in cursor.next_batch(1000)? {
///         println!("{record:?}");
///     }
/// }
/// # }
/// ```
///
/// Between two calls a cursor holds no transaction and no file: an abandoned cursor costs nothing.
#[derive(Debug)]
pub struct Cursor {
    file: Arc<ReadFile>,
    head: Option<watch::Receiver<Offset>>,
    filter: Filter,
    position: u64,
    /// Whether records removed before the next one are reported: not for a cursor that begins at the start.
    is_under_way: bool,
    removed: Option<PrunedRange>,
}

impl Cursor {
    pub(super) fn new(
        file: Arc<ReadFile>,
        head: Option<watch::Receiver<Offset>>,
        query: Query,
        after: Offset,
    ) -> Self {
        let is_under_way = after.0 > 0;
        Self { file, head, filter: Filter::new(query), position: after.0, is_under_way, removed: None }
    }

    /// Makes the cursor report records that were removed before its first record, even if it begins at the start: for a
    /// cursor that continues an older one.
    #[must_use]
    pub fn under_way(self) -> Self {
        Self { is_under_way: true, ..self }
    }

    /// Returns up to `max` more records; none when everything up to the head has been read.
    ///
    /// A batch is shorter if its records take much memory. Reads the file: blocks on the disk, for as long as a search
    /// through the whole journal takes if few records match.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] and [`JournalError::Damaged`]; the position is unchanged.
    pub fn next_batch(&mut self, max: usize) -> Result<Vec<Record<'static>>, JournalError> {
        self.next_batch_upto(max, Offset(u64::MAX))
    }

    /// As [`next_batch`](Self::next_batch), up to offset `upto`.
    pub fn next_batch_upto(
        &mut self,
        max: usize,
        upto: Offset,
    ) -> Result<Vec<Record<'static>>, JournalError> {
        self.read(max, upto, Matches::default(), false).map(|(records, _)| records)
    }

    /// As [`next_batch_upto`](Self::next_batch_upto), with bounded memory: records of at most `max_bytes` and the one
    /// that exceeds them. If the next record is [large](LargeRecord), the batch names it instead.
    /// [`Reader::large`](super::Reader::large) says whether it matches the conditions on the data;
    /// [`advance_to`](Self::advance_to) skips it.
    pub fn next_small_batch(
        &mut self,
        max: usize,
        max_bytes: usize,
        upto: Offset,
    ) -> Result<(Vec<Record<'static>>, Option<LargeRecord>), JournalError> {
        self.read(max, upto, Matches::within(max_bytes), true)
    }

    fn read(
        &mut self,
        max: usize,
        upto: Offset,
        mut matches: Matches,
        ends_at_large: bool,
    ) -> Result<(Vec<Record<'static>>, Option<LargeRecord>), JournalError> {
        let mut large = None;
        let mut position = self.position;
        let mut first = 0;
        while matches.records.is_empty() && large.is_none() && max > 0 {
            // Read no further than the published head: a reader that then asks for the head must not get a lower one.
            let read = self.file.with_head(self.head.as_ref(), |connection, head| {
                first = connection.first()?;
                let upto = head.min(upto.0);
                let stretch = Stretch { after: position.max(first - 1), upto };
                if stretch.is_empty() {
                    return Ok(None);
                }
                if ends_at_large {
                    connection.end_at_large(true);
                }
                let forwards = Direction::Forwards;
                let left = scan::read_on(connection, &mut self.filter, stretch, forwards, max, &mut matches)?;
                large = connection.large();
                Ok(Some(left))
            });
            if let Err(error) = &read
                && error.is_damage()
            {
                // Not a record is damaged, but an index or the schema: the cursor stays, and health reports the error.
                let due = position.saturating_add(1);
                self.file.damage().unreadable(due, due, &error.to_string());
            }
            let Some(left) = read? else { break };
            position = left.after;
        }
        self.skip_pruned(first);
        self.position = position.max(self.position);
        // A large record after other records is found again by the next call.
        Ok((matches.records, large))
    }

    /// Moves on to `first`: retention removed everything before it.
    fn skip_pruned(&mut self, first: u64) {
        let pruned = Offset(first.saturating_sub(1));
        if pruned.0 > self.position {
            if self.is_under_way {
                let after = self.removed.map_or(Offset(self.position), |removed| removed.after);
                self.removed = Some(PrunedRange { after, upto: pruned });
            }
            self.position = pruned.0;
        }
        self.is_under_way = true;
    }

    /// Continues after `position`: another cursor of the same query has read the records up to there.
    pub fn advance_to(&mut self, position: Offset) {
        self.position = self.position.max(position.0);
        self.is_under_way = true;
    }

    /// Returns once the records that the last batches skipped because retention removed them before they were read.
    ///
    /// A cursor that begins at the start ([`Offset(0)`](Offset)) begins at the first record that is kept and reports
    /// nothing before it.
    pub fn take_removed(&mut self) -> Option<PrunedRange> {
        self.removed.take()
    }

    /// Waits until the head is past the position. The query may match none of the records between.
    ///
    /// # Errors
    ///
    /// [`JournalError::Ended`] when the writer of this process has ended and everything was read; an error of reading
    /// for a file that another process writes.
    pub async fn wait(&mut self) -> Result<(), JournalError> {
        let position = self.position;
        let Some(head) = &mut self.head else { return self.wait_for_other().await };
        head.wait_for(|head| head.0 > position).await.map(drop).map_err(|_| JournalEnded.into())
    }

    /// Polls a file that another process writes: no notification comes from there.
    async fn wait_for_other(&self) -> Result<(), JournalError> {
        loop {
            let file = Arc::clone(&self.file);
            let look = tokio::task::spawn_blocking(move || file.with(|connection| connection.head()));
            let head = look.await.map_err(|_| JournalEnded)??;
            if head > self.position {
                return Ok(());
            }
            tokio::time::sleep(FOREIGN_POLL).await;
        }
    }

    /// The query.
    pub fn query(&self) -> &Query {
        self.filter.query()
    }

    /// The offset up to which everything has been read, whether it matched or not.
    #[must_use]
    pub fn position(&self) -> Offset {
        Offset(self.position)
    }
}

//! A place in the journal from which a reader goes on.

use std::sync::Arc;

use qmp_wire::{Offset, Record};
use tokio::sync::watch;

use super::error::{JournalEnded, JournalError};
use super::filter::Filter;
use super::limits::FOREIGN_POLL;
use super::query::Query;
use super::read::ReadFile;
use super::retention::Removed;
use super::row::LargeRecord;
use super::rows::{Direction, Stretch};
use super::scan::{self, Found};

/// Yields the records of a query in order: history first, then what comes.
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
/// It holds no transaction and no file between two calls: a reader that never comes back costs nothing.
#[derive(Debug)]
pub struct Cursor {
    file: Arc<ReadFile>,
    head: Option<watch::Receiver<Offset>>,
    filter: Filter,
    position: u64,
    /// Whether a gap before the next record is one: not for who begins at the start.
    is_under_way: bool,
    removed: Option<Removed>,
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

    /// The same cursor, for which what was removed before its first record is missed, also if it begins at the start:
    /// it stands there for longer.
    #[must_use]
    pub fn under_way(self) -> Self {
        Self { is_under_way: true, ..self }
    }

    /// Up to `max` further records; none when everything up to the head has been read.
    ///
    /// Fewer come also when they take much memory. Reads the file: may wait for the disk, and for as long as a
    /// search through the whole journal takes if little matches.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] and [`JournalError::Damaged`]; the position is as before.
    pub fn next_batch(&mut self, max: usize) -> Result<Vec<Record<'static>>, JournalError> {
        self.next_batch_upto(max, Offset(u64::MAX))
    }

    /// The same, and nothing behind `upto`.
    pub fn next_batch_upto(
        &mut self,
        max: usize,
        upto: Offset,
    ) -> Result<Vec<Record<'static>>, JournalError> {
        self.read(max, upto, Found::default(), false).map(|(records, _)| records)
    }

    /// The same for a reader that bounds its memory: records of at most `max_bytes` and the one that passes them. Where a
    /// [large](LargeRecord) one is next, it is named in their place. Whether it matches the conditions on the data
    /// [`Reader::large`](super::Reader::large) finds out; [`advance_to`](Self::advance_to) passes it.
    pub fn next_small_batch(
        &mut self,
        max: usize,
        max_bytes: usize,
        upto: Offset,
    ) -> Result<(Vec<Record<'static>>, Option<LargeRecord>), JournalError> {
        self.read(max, upto, Found::within(max_bytes), true)
    }

    fn read(
        &mut self,
        max: usize,
        upto: Offset,
        mut found: Found,
        ends_at_large: bool,
    ) -> Result<(Vec<Record<'static>>, Option<LargeRecord>), JournalError> {
        let mut large = None;
        let mut position = self.position;
        let mut first = 0;
        while found.records.is_empty() && large.is_none() && max > 0 {
            // What is committed and not published yet is for later: who asks for the head must not be told less.
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
                let left = scan::read_on(connection, &mut self.filter, stretch, forwards, max, &mut found)?;
                large = connection.large();
                Ok(Some(left))
            });
            if let Err(error) = &read
                && error.is_damage()
            {
                // Not a record, but what is needed to find one: the cursor stays, and health says why.
                let due = position.saturating_add(1);
                self.file.damage().unreadable(due, due, &error.to_string());
            }
            let Some(left) = read? else { break };
            position = left.after;
        }
        self.skipped(first);
        self.position = position.max(self.position);
        // Behind records it is found again, next.
        Ok((found.records, large))
    }

    /// Everything before `first` is gone.
    fn skipped(&mut self, first: u64) {
        let gone = Offset(first.saturating_sub(1));
        if gone.0 > self.position {
            if self.is_under_way {
                let after = self.removed.map_or(Offset(self.position), |removed| removed.after);
                self.removed = Some(Removed { after, upto: gone });
            }
            self.position = gone.0;
        }
        self.is_under_way = true;
    }

    /// Goes on behind `position`: up to there it was read by somebody else, who asked for the same.
    pub fn advance_to(&mut self, position: Offset) {
        self.position = self.position.max(position.0);
        self.is_under_way = true;
    }

    /// What the last batches passed over because it was removed from the journal before it was read; once.
    ///
    /// A cursor that begins at the start ([`Offset(0)`](Offset)) begins at the first record that is kept, and has
    /// missed nothing by then.
    pub fn take_removed(&mut self) -> Option<Removed> {
        self.removed.take()
    }

    /// Waits until the head is past what was read. There may be nothing in it that the query wants.
    ///
    /// # Errors
    ///
    /// [`JournalError::Ended`] when the writer of this process has ended and everything was read; an error of
    /// reading for a file that another process writes.
    pub async fn wait(&mut self) -> Result<(), JournalError> {
        let position = self.position;
        let Some(head) = &mut self.head else { return self.wait_for_other().await };
        head.wait_for(|head| head.0 > position).await.map(drop).map_err(|_| JournalEnded.into())
    }

    /// No other process can wake us: looks at the file now and then.
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

    /// What it reads.
    pub fn query(&self) -> &Query {
        self.filter.query()
    }

    /// Everything up to here has been read, whether it was wanted or not.
    #[must_use]
    pub fn position(&self) -> Offset {
        Offset(self.position)
    }
}

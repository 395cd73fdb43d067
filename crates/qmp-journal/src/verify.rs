//! Reads a whole journal and compares all redundant data in it.
//!
//! Every page is checked by SQLite; every record is read as readers do; offsets, epochs and numbers must have no holes
//! other than those that are recorded; and the rows of epochs, segments, postings, counts, summaries and VMs must agree with the
//! records.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use qmp_wire::{Offset, QualifiedName, Seq};
use rusqlite::{Connection, Row};

use super::body::RecordKind;
use super::columns::{minute, number, unsigned};
use super::digest::{Digest, NoDigest};
use super::error::{JournalError, storage_text};
use super::feeds;
use super::limits::VERIFY_FAULTS_MAX;
use super::lock::PublishedHead;
use super::passing::read_through;
use super::read::ReadConnection;
use super::restore::{RESTORE_SQL, RestoredRecord, read_restored};
use super::rows::{Direction, Stretch, lost_spans, walk, without};
use super::segment::{IndexedRecord, OpenSegment, SealedSegment};
use super::summary_check::{ExpectedSummary, SummaryCheck};
use super::verify_numbers::{EpochRow, VmPosition, follows};

/// The result of checking a whole journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The first offset that is kept; one more than `head` if there is no record.
    pub first: Offset,
    /// The last offset.
    pub head: Offset,
    /// Records that could be read.
    pub records: u64,
    /// Sealed segments.
    pub segments: u64,
    /// The last offset in a sealed segment: no checksum covers the records after it.
    pub sealed: Offset,
    /// Sealed segments without a checksum: sealed by an earlier release.
    pub unsummed: u64,
    /// Records that are known to be lost, as spans of offsets. Not a fault of the file as it is.
    pub lost: Vec<(Offset, Offset)>,
    /// The faults, in the order in which they were found.
    pub faults: Vec<Box<str>>,
    /// The number of further faults.
    pub more_faults: u64,
}

/// Checks the journal at `path`; a hub may be writing it. Takes as long as reading all of it.
///
/// # Errors
///
/// Any [`JournalError`] of opening; [`VerifyReport::faults`] has the faults that are found after that.
pub fn verify(path: &Path) -> Result<VerifyReport, JournalError> {
    verify_with(path, &NoDigest)
}

/// Checks the journal at `path` as [`verify`] does, and compares the summaries of the version of `digest` with what it derives.
/// A summary of a later version is a fault.
///
/// # Errors
///
/// Those of [`verify`].
pub fn verify_with(path: &Path, digest: &dyn Digest) -> Result<VerifyReport, JournalError> {
    let mut connection = ReadConnection::open(path)?;
    let published = PublishedHead::read(path);
    // One transaction, so that all reads see one moment.
    connection.sql(|connection| connection.execute_batch("BEGIN"))?;
    let mut check = Check::default();
    check.pages(connection.connection());
    if let Err(error) = check.content(&mut connection, published.as_ref(), digest) {
        check.fault(error.to_string());
    }
    Ok(check.report)
}

#[derive(Default)]
struct Check {
    report: VerifyReport,
    /// Offsets without a readable record: lost or damaged.
    holes: Vec<(u64, u64)>,
    /// VMs of other hosts.
    foreign: HashSet<u32>,
    vms: HashMap<u32, VmPosition>,
    epochs: BTreeMap<(u32, u32), EpochRow>,
    tally: BTreeMap<(i64, u32), u64>,
}

struct SegmentRow {
    first: u64,
    last: u64,
    received: (i64, i64),
    checksum: Option<i64>,
}

impl Check {
    fn fault(&mut self, what: impl Into<Box<str>>) {
        if self.report.faults.len() < VERIFY_FAULTS_MAX {
            self.report.faults.push(what.into());
        } else {
            self.report.more_faults += 1;
        }
    }

    /// SQLite's check of every page.
    fn pages(&mut self, connection: &Connection) {
        let found = (|| {
            let mut check = connection.prepare(&format!("PRAGMA integrity_check({VERIFY_FAULTS_MAX})"))?;
            check.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()
        })();
        match found {
            Ok(lines) => lines
                .iter()
                .flat_map(|found| found.lines())
                .filter(|line| *line != "ok")
                .for_each(|line| self.fault(format!("SQLite: {line}"))),
            Err(error) => self.fault(format!("SQLite: {}", storage_text(&error))),
        }
    }

    fn content(
        &mut self,
        connection: &mut ReadConnection,
        published: Option<&PublishedHead>,
        digest: &dyn Digest,
    ) -> Result<(), JournalError> {
        let (first, head) = (connection.first()?, connection.head_with(published)?);
        (self.report.first, self.report.head) = (Offset(first), Offset(head));
        self.readable(connection, Stretch { after: first - 1, upto: head })?;
        connection.sql(|connection| {
            self.names(connection)?;
            feeds::faults(connection)?.into_iter().for_each(|fault| self.fault(fault));
            self.lost(connection);
            self.load_epochs(connection)?;
            let segments = self.segments(connection)?;
            self.records(connection, (first, head), segments, digest)?;
            self.rest(connection, first)
        })
    }

    /// Reads every record as readers do.
    fn readable(&mut self, connection: &mut ReadConnection, all: Stretch) -> Result<(), JournalError> {
        let mut records = 0;
        read_through(connection, all, "", Direction::Forwards, &mut |_| {
            records += 1;
            true
        })?;
        self.report.records = records;
        for span in connection.damage().spans() {
            self.holes.push((span.first.0, span.last.0));
            self.fault(span.to_string());
        }
        Ok(())
    }

    fn names(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let identities: Vec<String> = connection
            .prepare("SELECT CAST(id AS TEXT) FROM identity")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let is_one = |id: &String| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if identities.len() != 1 || !identities.iter().all(is_one) {
            self.fault(format!(
                "the journal's identity is not a single text of 32 hexadecimal digits: {identities:?}"
            ));
        }
        let mut names = connection.prepare("SELECT id, role, name FROM name ORDER BY id")?;
        let mut rows = names.query([])?;
        while let Some(row) = rows.next()? {
            let role = row.get_ref(1)?.as_str().unwrap_or("");
            let name = row.get_ref(2)?.as_str();
            if role == "vm" && name.as_ref().is_ok_and(|name| QualifiedName::parse(name).is_some()) {
                self.foreign.insert(row.get(0)?);
            }
            if !["kind", "vm", "event"].contains(&role) || name.is_err() {
                let id: i64 = row.get(0)?;
                self.fault(format!("name {id} cannot be read, or is not that of a kind, VM or event"));
            }
        }
        Ok(())
    }

    fn lost(&mut self, connection: &Connection) {
        for (first, last) in lost_spans(connection) {
            self.holes.push((first, last));
            self.report.lost.push((Offset(first), Offset(last)));
        }
        self.holes.sort_unstable();
    }

    fn load_epochs(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut epochs = connection.prepare("SELECT vm, epoch, opened, closed FROM epoch")?;
        let mut rows = epochs.query([])?;
        while let Some(row) = rows.next()? {
            let read = || -> rusqlite::Result<_> {
                let closed = row.get::<_, Option<i64>>(3)?.map(unsigned);
                let opened = unsigned(row.get(2)?);
                Ok((
                    (row.get(0)?, row.get(1)?),
                    EpochRow { opened, closed, was_opened: false, was_closed: false },
                ))
            };
            match read() {
                Ok((epoch, row)) => drop(self.epochs.insert(epoch, row)),
                Err(error) => self.fault(format!("a row of `epoch` cannot be read: {error}")),
            }
        }
        Ok(())
    }

    fn segments(&mut self, connection: &Connection) -> rusqlite::Result<Vec<SegmentRow>> {
        let sql = "SELECT first, last, received_min, received_max, checksum FROM segment ORDER BY last";
        let mut found = Vec::new();
        let mut segments = connection.prepare(sql)?;
        let mut rows = segments.query([])?;
        while let Some(row) = rows.next()? {
            let read = || -> rusqlite::Result<SegmentRow> {
                let (first, last) = (unsigned(row.get(0)?), unsigned(row.get(1)?));
                Ok(SegmentRow { first, last, received: (row.get(2)?, row.get(3)?), checksum: row.get(4)? })
            };
            match read() {
                Ok(segment) => found.push(segment),
                Err(error) => self.fault(format!("a row of `segment` cannot be read: {error}")),
            }
        }
        for pair in found.windows(2) {
            let (from, to) = (pair[0].last.saturating_add(1), pair[1].first);
            if from != to && !self.is_hole(from, to.saturating_sub(1)) {
                self.fault(format!(
                    "segments do not follow each other: one ends at {}, the next begins at {to}",
                    from - 1
                ));
            }
        }
        self.report.segments = found.len() as u64;
        self.report.unsummed = found.iter().filter(|segment| segment.checksum.is_none()).count() as u64;
        Ok(found)
    }

    /// Whether all of these offsets are known to have no readable record.
    fn is_hole(&self, first: u64, last: u64) -> bool {
        first <= last && without(&self.holes, first, last).is_empty()
    }

    fn records(
        &mut self,
        connection: &Connection,
        (first, head): (u64, u64),
        segments: Vec<SegmentRow>,
        digest: &dyn Digest,
    ) -> rusqlite::Result<()> {
        let sealed = segments.last().map_or(0, |segment| segment.last);
        self.report.sealed = Offset(sealed);
        let mut segments = segments.into_iter().peekable();
        let mut open = OpenSegment::default();
        let mut summed = SummaryCheck::new(digest);
        for (from, upto) in without(&self.holes, first, head) {
            let mut take = |row: &Row<'_>| {
                let offset = unsigned(row.get(0)?);
                if let Ok(RestoredRecord { record, epoch, seq }) = read_restored(row) {
                    self.compare_numbers(&record, epoch, seq, offset <= sealed);
                    summed.add(&record, row)?;
                    open.add(record);
                }
                while let Some(segment) = segments.next_if(|segment| segment.last <= offset) {
                    let (postings, summary) = (open.seal(), summed.take(segment.first));
                    // Retention removes a segment piece by piece.
                    if segment.first >= first {
                        self.compare(connection, &segment, &postings)?;
                        self.compare_summary(connection, &segment, &summary)?;
                    }
                }
                Ok(true)
            };
            // `readable` has reported missing records already.
            walk(connection, RESTORE_SQL, Stretch { after: from - 1, upto }, &mut take, &mut |_, _, _| {})?;
        }
        Ok(())
    }

    /// Compares epoch and number of a record with those before it.
    fn compare_numbers(&mut self, record: &IndexedRecord, epoch: u32, seq: u64, is_sealed: bool) {
        if let (true, Some(event)) = (is_sealed, record.event) {
            *self.tally.entry((minute(record.received), event)).or_default() += 1;
        }
        let offset = record.offset;
        let is_foreign = self.foreign.contains(&record.vm);
        let position = self.vms.entry(record.vm).or_default();
        if is_foreign && Seq(seq).is_added() {
            return position.pass(offset, is_sealed);
        }
        // Records in a hole may have had the numbers that are left out.
        let exact = self.holes.is_empty() && !is_foreign;
        if let Some(before) = position.advance(offset, (epoch, seq), is_sealed)
            && !follows(before, (epoch, seq), record.kind, exact)
        {
            self.fault(format!(
                "record {offset} is number {seq} of epoch {epoch} of VM {}, after number {} of epoch {}",
                record.vm, before.1, before.0
            ));
        }
        let row = self.epochs.get_mut(&(record.vm, epoch));
        let is_right = match (record.kind, row) {
            (RecordKind::Attached, Some(row)) => {
                row.was_opened = true;
                row.opened == offset
            }
            (RecordKind::Detached, Some(row)) if !row.was_closed => {
                row.was_closed = true;
                row.closed == Some(offset)
            }
            (RecordKind::Attached, None) => false,
            _ => true,
        };
        if !is_right {
            self.fault(format!("the row of epoch {epoch} of VM {} does not name record {offset}", record.vm));
        }
    }

    fn compare(
        &mut self,
        connection: &Connection,
        row: &SegmentRow,
        sealed: &SealedSegment,
    ) -> rusqlite::Result<()> {
        let name = format!("segment {} to {}", row.first, row.last);
        if (row.first, row.last, row.received)
            != (sealed.first, sealed.last, (sealed.received_min, sealed.received_max))
        {
            self.fault(format!("{name}: its row does not fit its records"));
        }
        if row.checksum.is_some_and(|checksum| checksum != sealed.checksum.column()) {
            self.fault(format!("{name}: its records do not have the checksum with which they were sealed"));
        }
        let mut postings = connection
            .prepare_cached("SELECT name, offsets FROM posting WHERE segment = ?1 ORDER BY name")?;
        let found: Vec<(u32, Vec<u8>)> = postings
            .query_map([number(row.last)], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        if found != sealed.postings {
            self.fault(format!("{name}: its postings do not fit its records"));
        }
        Ok(())
    }

    fn compare_summary(
        &mut self,
        connection: &Connection,
        SegmentRow { first, last, .. }: &SegmentRow,
        summary: &ExpectedSummary,
    ) -> rusqlite::Result<()> {
        if let Some(fault) = summary.compare(connection, (*first, *last))? {
            self.fault(format!("segment {first} to {last}: {fault}"));
        }
        Ok(())
    }

    /// Compares epochs, counts and VMs, which span segments.
    fn rest(&mut self, connection: &Connection, first: u64) -> rusqlite::Result<()> {
        let epochs = std::mem::take(&mut self.epochs);
        for ((vm, epoch), row) in &epochs {
            let (opened, closed) = (!row.was_opened, row.closed.filter(|_| !row.was_closed));
            for offset in
                opened.then_some(row.opened).into_iter().chain(closed).filter(|offset| *offset >= first)
            {
                if !self.is_hole(offset, offset) {
                    self.fault(format!("epoch {epoch} of VM {vm} names record {offset}, which is not of it"));
                }
            }
        }
        let mut tally = connection.prepare("SELECT minute, event, records FROM tally")?;
        let found: BTreeMap<(i64, u32), u64> = tally
            .query_map([], |row| Ok(((row.get(0)?, row.get(1)?), unsigned(row.get(2)?))))?
            .collect::<rusqlite::Result<_>>()?;
        let expected = std::mem::take(&mut self.tally);
        let minutes =
            expected.keys().chain(found.keys()).filter(|key| expected.get(key) != found.get(key)).count();
        if minutes > 0 {
            self.fault(format!("{minutes} counts of `tally` do not fit the records"));
        }
        let mut vms = connection.prepare("SELECT vm, last, epoch, seq FROM vm")?;
        let mut rows = vms.query([])?;
        while let Some(row) = rows.next()? {
            let (vm, last): (u32, u64) = (row.get(0)?, unsigned(row.get(1)?));
            let found: (u64, u32, u64) = (last, row.get(2)?, unsigned(row.get(3)?));
            let expected = self.vms.get(&vm).and_then(|position| position.sealed);
            // A hub skips the numbers that records in a hole may have had.
            let is_skipped = !self.holes.is_empty()
                && expected.is_some_and(|expected| expected.0 == last && expected <= found);
            if last >= first && expected != Some(found) && !is_skipped && !self.is_hole(last, last) {
                self.fault(format!(
                    "the row of VM {vm} names record {last}, which is not its last sealed one"
                ));
            }
        }
        Ok(())
    }
}

//! The segments that a request to the summaries has to read.

use super::columns::{number, unsigned};
use super::damage::Damage;
use super::digest::{Digest as _, NoDigest};
use super::error::JournalError;
use super::read::ReadConnection;
use super::summaries::summary_version;
use super::summary::is_standing;
use super::summary_request::SummaryRequest;

/// A sealed segment with the numbers of its summary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) received_min: i64,
    pub(super) received_max: i64,
    pub(super) version: Option<u32>,
    pub(super) earliest: Option<i64>,
}

/// The way to read a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) segment: Segment,
    pub(super) is_in_window: bool,
}

impl Step {
    /// Whether the counts of the summary can be used, and are wanted. `first` is the first offset that is kept.
    pub(super) fn has_counts(&self, request: &SummaryRequest<'_>, first: u64) -> bool {
        let Self { segment, is_in_window } = *self;
        let is_whole = segment.first >= first && segment.first > request.after.0;
        let is_wanted = request.together || !request.counts.is_none();
        is_in_window && is_whole && is_wanted && !request.is_exact && segment.has_summary(request)
    }

    /// Whether the changes of the summary can be used. Outside of the window there are too many records to read them in place
    /// of the changes of another version.
    pub(super) fn can_use_changes(&self, request: &SummaryRequest<'_>) -> bool {
        let Self { segment, is_in_window } = *self;
        if is_in_window { segment.has_summary(request) } else { segment.has_changes() }
    }
}

impl Segment {
    /// Whether there is a summary of the version of the request.
    pub(super) fn has_summary(&self, request: &SummaryRequest<'_>) -> bool {
        self.version == Some(request.digest.version())
    }

    /// Whether there is a summary with changes, of whatever version.
    pub(super) fn has_changes(&self) -> bool {
        self.version.is_some_and(|version| version != NoDigest.version())
    }
}

/// What a request has to read.
pub(super) struct Plan {
    /// The conditions before the first segment to read.
    pub(super) begin: Option<Vec<u8>>,
    pub(super) steps: Vec<Step>,
    /// The last offset of the first segment of the journal.
    pub(super) first_segment: u64,
    /// As in [`SummaryRead`](super::summary_request::SummaryRead).
    pub(super) has_all_summaries: bool,
}

pub(super) fn plan(connection: &ReadConnection, request: &SummaryRequest<'_>) -> Result<Plan, JournalError> {
    let segments = segments(connection)?;
    let first_segment = segments.first().map_or(0, |segment| segment.last);
    let SummaryRequest { since, until, after, .. } = *request;
    let is_in_window = |segment: &Segment| {
        segment.received_max >= since.0 && segment.received_min < until.0 && segment.last > after.0
    };
    let window =
        segments.iter().position(|segment| segment.received_max >= since.0).unwrap_or(segments.len());
    let mut held = None;
    let mut begin = window;
    if !request.changes.is_none() {
        let before = segments.get(window).map_or(i64::MAX, |segment| number(segment.first));
        // A segment without changes may have changed what held before it, so that this is not known after it.
        let unknown = segments[..window].iter().rfind(|segment| !segment.has_changes());
        let unknown_upto = unknown.map_or(0, |segment| segment.last);
        let found = held_between(connection, (unknown_upto, before))?;
        let upto = found.as_ref().map_or(unknown_upto, |(segment, _)| *segment);
        begin = segments.partition_point(|segment| segment.last <= upto).min(window);
        held = found.map(|(_, standing)| standing);
    }
    let has_all_summaries = request.changes.is_none()
        || segments.iter().all(|segment| is_in_window(segment) || segment.has_summary(request));
    let steps = segments.iter().enumerate().skip(begin).filter_map(|(index, segment)| {
        let is_in_window = is_in_window(segment);
        let reaches_back = segment.earliest.is_some_and(|earliest| earliest < until.0);
        let wants_changes = !request.changes.is_none() && (index < window || reaches_back);
        (is_in_window || wants_changes).then_some(Step { segment: *segment, is_in_window })
    });
    Ok(Plan { begin: held, steps: steps.collect(), first_segment, has_all_summaries })
}

fn segments(connection: &ReadConnection) -> Result<Vec<Segment>, JournalError> {
    let sql = "SELECT segment.first, segment.last, received_min, received_max, summary.version, summary.earliest \
               FROM segment LEFT JOIN summary ON summary.segment = segment.last ORDER BY segment.last";
    connection.sql(|connection| {
        let mut select = connection.prepare_cached(sql)?;
        let rows = select.query_map([], |row| {
            Ok(Segment {
                first: unsigned(row.get(0)?),
                last: unsigned(row.get(1)?),
                received_min: row.get(2)?,
                received_max: row.get(3)?,
                version: summary_version(row, 4),
                earliest: row.get(5).ok().flatten(),
            })
        })?;
        rows.collect()
    })
}

/// The conditions after the last segment between `after` and `before`, offsets of two segments, that has them. Those that cannot
/// be read are noted as damage: the ones before them hold, with the changes since.
fn held_between(
    connection: &ReadConnection,
    (after, before): (u64, i64),
) -> Result<Option<(u64, Vec<u8>)>, JournalError> {
    // The row before the first segment that is kept has conditions and no segment.
    let sql = "SELECT coalesce(segment.first, summary.segment), summary.segment, standing FROM summary \
               LEFT JOIN segment ON segment.last = summary.segment \
               WHERE summary.segment > ?1 AND summary.segment < ?2 AND standing IS NOT NULL \
               ORDER BY summary.segment DESC";
    let damage = connection.damage();
    connection.sql(|connection| {
        let mut select = connection.prepare_cached(sql)?;
        let mut rows = select.query([number(after), before])?;
        while let Some(row) = rows.next()? {
            let (first, last) = (unsigned(row.get(0)?), unsigned(row.get(1)?));
            if let Some(standing) = row.get_ref(2)?.as_blob().ok().filter(|bytes| is_standing(bytes)) {
                return Ok(Some((last, standing.to_vec())));
            }
            damage.note(first, last, Damage::Index("the conditions after it are invalid".into()));
        }
        Ok(None)
    })
}

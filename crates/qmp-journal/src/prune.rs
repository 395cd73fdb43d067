//! Removes records from the file, and measures it for retention.
//!
//! Each removal leaves a consistent journal: index, counts and epochs agree with the records that are left. It does not
//! wait for the disk (a crash may bring back removed records, which are then removed again), so a commit is delayed only
//! by one small transaction in memory.

use std::collections::{BTreeMap, HashSet};

use qmp_wire::UnixMicros;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::body::RecordKind;
use super::bounds;
use super::checkpoints;
use super::columns::{minute, number, unsigned};
use super::damage::is_damage;
use super::retention::Measurement;
use super::sent_names;
use super::summaries::remove_summaries;

/// Measures the file; records received before `oldest` are too old.
pub(super) fn measure(connection: &Connection, oldest: Option<UnixMicros>) -> rusqlite::Result<Measurement> {
    let one = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0));
    let pages = unsigned(one("PRAGMA page_count")?.unwrap_or(0));
    let free = unsigned(one("PRAGMA freelist_count")?.unwrap_or(0));
    let page_bytes = unsigned(one("PRAGMA page_size")?.unwrap_or(0));
    let first_segment = one("SELECT min(last) FROM segment")?.map(unsigned);
    let too_old = match oldest {
        None => 0,
        Some(oldest) => connection
            .prepare_cached(
                "SELECT coalesce((SELECT min(first) - 1 FROM segment WHERE received_max >= ?1), \
                 (SELECT max(last) FROM segment), 0)",
            )?
            .query_row([oldest.0], |row| row.get(0).map(unsigned))?,
    };
    Ok(Measurement {
        used_bytes: pages.saturating_sub(free).saturating_mul(page_bytes),
        first_segment,
        too_old,
    })
}

/// Removes the records of `first..=upto`, and everything that only they needed.
///
/// The names of VMs stay; so does the row of each VM, which has the last epoch and offset for its next record, and the
/// row of an epoch that is open or ends later.
pub(super) fn remove(
    connection: &mut Connection,
    first: u64,
    upto: u64,
    is_needed: impl Fn(u32) -> bool,
) -> rusqlite::Result<HashSet<u32>> {
    // SQLite accepts this pragma only between two transactions.
    connection.pragma_update(None, "synchronous", "normal")?;
    let removed = remove_unsynced(connection, number(first), number(upto), is_needed);
    connection.pragma_update(None, "synchronous", "full")?;
    removed
}

fn remove_unsynced(
    connection: &mut Connection,
    first: i64,
    upto: i64,
    is_needed: impl Fn(u32) -> bool,
) -> rusqlite::Result<HashSet<u32>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut tally: BTreeMap<(i64, u32), i64> = BTreeMap::new();
    let mut rare = HashSet::new();
    let mut epochs: Vec<(u32, u32)> = Vec::new();
    {
        let sql = "SELECT vm, epoch, kind, received, event FROM record WHERE offset BETWEEN ?1 AND ?2";
        let mut records = transaction.prepare_cached(sql)?;
        let mut rows = records.query([first, upto])?;
        while let Some(row) = rows.next()? {
            let read = (|| {
                if let Some(event) = row.get(4)? {
                    *tally.entry((minute(row.get(3)?), event)).or_default() += 1;
                }
                if RecordKind::from_id(row.get(2)?) == Some(RecordKind::Detached) {
                    epochs.push((row.get(0)?, row.get(1)?));
                }
                Ok(())
            })();
            // Records that cannot be read are removed, too.
            read.or_else(|error| if is_damage(&error) { Ok(()) } else { Err(error) })?;
        }
        let mut less = transaction
            .prepare_cached("UPDATE tally SET records = records - ?3 WHERE minute = ?1 AND event = ?2")?;
        let mut none = transaction
            .prepare_cached("DELETE FROM tally WHERE minute = ?1 AND event = ?2 AND records <= 0")?;
        for ((minute, event), records) in tally {
            less.execute((minute, event, records))?;
            if none.execute((minute, event))? > 0 && !is_needed(event) {
                rare.insert(event);
            }
        }
    }
    remove_closed_epochs(&transaction, &epochs, upto)?;
    sent_names::remove(&transaction, first, upto)?;
    bounds::keep_from(&transaction, upto.saturating_add(1))?;
    remove_names(&transaction, &mut rare)?;
    for sql in [
        "DELETE FROM record WHERE offset BETWEEN ?1 AND ?2",
        "DELETE FROM posting WHERE segment BETWEEN ?1 AND ?2",
    ] {
        transaction.prepare_cached(sql)?.execute([first, upto])?;
    }
    remove_summaries(&transaction, first, upto)?;
    let segments = "DELETE FROM segment WHERE last BETWEEN ?1 AND ?2";
    if transaction.prepare_cached(segments)?.execute([first, upto])? > 0 {
        checkpoints::limit(&transaction)?;
        remove_unclosed_epochs(&transaction, upto)?;
    }
    transaction.commit()?;
    Ok(rare)
}

/// Removes those of the epochs that were closed up to `upto`.
fn remove_closed_epochs(
    transaction: &Transaction<'_>,
    epochs: &[(u32, u32)],
    upto: i64,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM epoch WHERE vm = ?1 AND epoch = ?2 AND closed <= ?3";
    let mut delete = transaction.prepare_cached(sql)?;
    for (vm, epoch) in epochs {
        delete.execute((vm, epoch, upto))?;
    }
    Ok(())
}

/// Removes epochs of VMs of other hosts that were never closed, and are over because a later one opened up to `upto`.
fn remove_unclosed_epochs(transaction: &Transaction<'_>, upto: i64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM epoch WHERE closed IS NULL AND epoch < \
               (SELECT max(epoch) FROM epoch AS later WHERE later.vm = epoch.vm AND later.opened <= ?1)";
    transaction.prepare_cached(sql)?.execute([upto]).map(drop)
}

/// Removes those of these names that no sealed segment has any more, and retains only them in `names`. The last id
/// stays, so that no id is assigned twice: readers cache the ids.
fn remove_names(transaction: &Transaction<'_>, names: &mut HashSet<u32>) -> rusqlite::Result<()> {
    let sql = "DELETE FROM name WHERE id = ?1 AND role = 'event' AND id < (SELECT max(id) FROM name) \
               AND NOT EXISTS (SELECT 1 FROM tally WHERE event = ?1)";
    let mut remove = transaction.prepare_cached(sql)?;
    let mut failed = Ok(());
    names.retain(|name| match remove.execute([name]) {
        Ok(removed) => removed > 0,
        Err(error) => {
            failed = Err(error);
            false
        }
    });
    failed
}

//! The table of checkpoints. A checkpoint that cannot be written is dropped, and readers work without one.
//!
//! The table holds the newest checkpoint of each VM and is not part of the format: programs that do not know the table
//! still read the file.

use qmp_wire::Offset;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use super::checkpoint::Checkpoint;
use super::columns::{number, unsigned};
use super::damage::is_damage;
use super::limits::CHECKPOINTS_WITHOUT_EPOCH_MAX;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS checkpoint (vm INTEGER PRIMARY KEY, offset INTEGER NOT NULL, \
    version TEXT NOT NULL, checksum INTEGER NOT NULL, state TEXT NOT NULL)";

/// Creates the table if it is missing.
pub(super) fn create(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    // The check comes first, so that opening a journal that has the table writes nothing.
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'checkpoint'";
    match transaction.query_row(sql, [], |row| row.get(0))? {
        0 => transaction.execute_batch(TABLE),
        _ => Ok(()),
    }
}

/// Replaces the checkpoint of each VM, all in one transaction.
///
/// Without waiting for the disk: a crash may take checkpoints back, but never leaves a checkpoint without the records
/// that were committed before it.
pub(super) fn write(connection: &mut Connection, checkpoints: &[Checkpoint]) -> rusqlite::Result<()> {
    // SQLite accepts this pragma only between two transactions.
    connection.pragma_update(None, "synchronous", "normal")?;
    let written = write_unsynced(connection, checkpoints);
    connection.pragma_update(None, "synchronous", "full")?;
    written
}

fn write_unsynced(connection: &mut Connection, checkpoints: &[Checkpoint]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut replace = transaction.prepare_cached(
            "REPLACE INTO checkpoint (vm, offset, version, checksum, state) \
             SELECT id, ?2, ?3, ?4, ?5 FROM name WHERE role = 'vm' AND name = ?1",
        )?;
        for Checkpoint { vm, offset, version, checksum, state } in checkpoints {
            replace.execute((vm, number(offset.0), version, checksum, state))?;
        }
    }
    transaction.commit()
}

/// Limits the checkpoints of VMs of which no epoch is left: the newest [`CHECKPOINTS_WITHOUT_EPOCH_MAX`] stay.
///
/// A checkpoint stays when retention removes the records that it covers: nothing else has the beginning of the epoch, or
/// the end of a VM.
pub(super) fn limit(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "DELETE FROM checkpoint WHERE vm IN (SELECT vm FROM checkpoint AS old \
               WHERE NOT EXISTS (SELECT 1 FROM epoch WHERE epoch.vm = old.vm) \
               ORDER BY offset DESC LIMIT -1 OFFSET ?1)";
    match connection.prepare_cached(sql)?.execute([CHECKPOINTS_WITHOUT_EPOCH_MAX]) {
        // A checkpoint that cannot be read is not used.
        Err(error) if is_damage(&error) => Ok(()),
        removed => removed.map(drop),
    }
}

/// Reads the checkpoint of a VM; `None` also in a file that no hub has opened since this table exists.
pub(super) fn read(connection: &Connection, vm: &str) -> rusqlite::Result<Option<Checkpoint>> {
    let sql = "SELECT offset, version, checksum, state FROM checkpoint \
               WHERE vm = (SELECT id FROM name WHERE role = 'vm' AND name = ?1)";
    let mut select = match connection.prepare_cached(sql) {
        Ok(select) => select,
        Err(error) if error.to_string().contains("no such table") => return Ok(None),
        Err(error) => return Err(error),
    };
    let checkpoint = |row: &rusqlite::Row<'_>| {
        let (offset, version, checksum) = (Offset(unsigned(row.get(0)?)), row.get(1)?, row.get(2)?);
        Ok(Checkpoint { vm: vm.into(), offset, version, checksum, state: row.get(3)? })
    };
    select.query_row([vm], checkpoint).optional()
}

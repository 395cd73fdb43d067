//! The journal compared with plain SQLite in one run: committed ingest, and queries of a large journal.
//!
//! `cargo bench -p qmp-journal --bench journal [-- RECORDS]`: RECORDS is the size of the journal that is queried, 10^6
//! by default (the targets are for 10^7: two gigabytes in `TMPDIR`, a few minutes). Ingest takes a fifth of that per
//! measurement, 400,000 at most, in three rounds in turn, and prints medians. Absolute times depend on the machine's
//! load; the ratios within one run are the result.

#![expect(clippy::cast_possible_truncation, reason = "the numbers of a bench are small")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use qmp_journal::{Batch, Draft, Globs, Journal, JournalOptions, Overrun, Query, Reader};
use qmp_wire::{Body, FrameReader, Message, Offset, RawEvent, UnixMicros};
use rusqlite::{Connection, params};

const ROUNDS: usize = 3;
/// Records of one measurement of ingest, which takes seconds.
const INGEST_MAX_RECORDS: u64 = 400_000;
/// Records in a commit of plain SQLite, as in the table of targets.
const COMMIT_RECORDS: usize = 1_000;
/// Bytes that a busy VM delivers in one read.
const READ_BYTES: usize = 64 << 10;
const DAY_MICROS: u64 = 86_400_000_000;
const MIDNIGHT: i64 = 1_767_312_000_000_000;

fn main() {
    let records =
        std::env::args().filter_map(|argument| argument.parse().ok()).next_back().unwrap_or(1_000_000);
    ingest((records / 5).min(INGEST_MAX_RECORDS));
    queries(records);
}

/// Writes records to a file and returns the time.
type Run<'a> = &'a dyn Fn(&Path) -> Duration;

/// The events of a busy machine: about 170 bytes a line.
fn line(index: u64, out: &mut Vec<u8>) {
    use std::io::Write as _;
    let (seconds, microseconds) = (1_767_312_000 + index / 1_000, index % 1_000_000);
    let head =
        format!("{{\"timestamp\": {{\"seconds\": {seconds}, \"microseconds\": {microseconds}}}, \"event\": ");
    let length = 8_388_608 + index;
    let tail = match index % 5 {
        0 => "\"STOP\"}".to_owned(),
        1 => format!(
            "\"BLOCK_JOB_READY\", \"data\": {{\"device\": \"job{}\", \"len\": {length}, \"offset\": {length}, \
             \"speed\": 0, \"type\": \"commit\"}}}}",
            index % 89
        ),
        2 => format!(
            "\"BLOCK_IO_ERROR\", \"data\": {{\"device\": \"virtio0\", \"node-name\": \"#block{}\", \"reason\": \
             \"No space left on device\", \"operation\": \"write\", \"nospace\": true, \"action\": \"stop\"}}}}",
            index % 977
        ),
        3 => format!(
            "\"BLOCK_JOB_COMPLETED\", \"data\": {{\"device\": \"job{}\", \"len\": {length}, \"offset\": {length}, \
             \"speed\": 0, \"type\": \"mirror\"}}}}",
            index % 89
        ),
        _ => format!(
            "\"JOB_STATUS_CHANGE\", \"data\": {{\"status\": \"concluded\", \"id\": \"backup-of-drive-virtio-disk{}\"}}}}",
            index % 13
        ),
    };
    write!(out, "{head}{tail}\r\n").expect("memory takes it");
}

fn ingest(records: u64) {
    let mut sample = Vec::new();
    (0..1_000).for_each(|index| line(index, &mut sample));
    println!(
        "committed ingest of {records} records, {} bytes a line; medians of {ROUNDS} rounds",
        sample.len() / 1_000
    );
    let limit = |path: &Path| plain(path, records, Index::None, Phase::Insert);
    let kinds: [(&str, Run<'_>); 7] = [
        ("sqlite, no index, commits of 1,000 (limit)", &limit),
        ("sqlite, no index, decode included", &|path| plain(path, records, Index::None, Phase::Both)),
        ("sqlite, indexes on (vm, time), (event, time)", &|path| {
            plain(path, records, Index::Two, Phase::Insert)
        }),
        ("journal, 1 VM, decode included", &|path| ours(path, records, 1, Grouping::Free)),
        ("journal, 100 VMs, decode included", &|path| ours(path, records, 100, Grouping::Free)),
        ("journal, 1,000 VMs, decode included", &|path| ours(path, records, 1_000, Grouping::Free)),
        ("journal, 100 VMs, waiting every 1,000", &|path| ours(path, records, 100, Grouping::Fixed)),
    ];
    let mut times = vec![Vec::new(); kinds.len()];
    let mut bytes = vec![0; kinds.len()];
    for _ in 0..ROUNDS {
        for (index, (_, run)) in kinds.iter().enumerate() {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("journal.db");
            times[index].push(run(&path));
            bytes[index] = std::fs::metadata(&path).expect("the file").len();
        }
    }
    let rates: Vec<f64> =
        times.iter_mut().map(|times| records as f64 / median(times).as_secs_f64()).collect();
    for (index, (name, _)) in kinds.iter().enumerate() {
        let (rate, each) = (rates[index], bytes[index] as f64 / records as f64);
        let ratio = rate / rates[0];
        println!("  {name:<46} {:>7.3} M/s  {ratio:>5.2} × limit  {each:>4.0} bytes/record", rate / 1e6);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Index {
    None,
    Two,
}

/// The phase of plain SQLite that is measured.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Insert,
    /// Decode and insert, one after the other.
    Both,
}

/// How many records a commit of the journal has.
#[derive(Clone, Copy, PartialEq)]
enum Grouping {
    /// All that wait when the writer is free, as in production.
    Free,
    /// The feeding side waits for the commit of each 1,000, so no commit is larger.
    Fixed,
}

fn plain(path: &Path, records: u64, index: Index, measured: Phase) -> Duration {
    let mut connection = Connection::open(path).expect("opens");
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).expect("wal");
    connection.pragma_update(None, "synchronous", "full").expect("synchronous");
    let table = "CREATE TABLE record (offset INTEGER PRIMARY KEY, vm INTEGER, epoch INTEGER, seq INTEGER, \
                 kind INTEGER, received INTEGER, event INTEGER, event_time INTEGER, data TEXT);";
    connection.execute_batch(table).expect("a table");
    if index == Index::Two {
        let two =
            "CREATE INDEX by_vm ON record (vm, received); CREATE INDEX by_event ON record (event, received);";
        connection.execute_batch(two).expect("indexes");
    }
    let mut raw = Vec::new();
    let mut spent = Duration::ZERO;
    let mut frames = FrameReader::new(qmp_wire::FRAME_MAX_BYTES);
    for first in (0..records).step_by(COMMIT_RECORDS) {
        raw.clear();
        (first..records.min(first + COMMIT_RECORDS as u64)).for_each(|index| line(index, &mut raw));
        let mut begun = Instant::now();
        let mut rows: Vec<(i64, i64, Option<String>)> = Vec::with_capacity(COMMIT_RECORDS);
        frames.push(&raw);
        while let Some(message) = frames.next_message().expect("our own lines") {
            let Message::Event(event) = message else { continue };
            rows.push((event_id(&event), micros(&event), event.data.map(str::to_owned)));
        }
        if measured == Phase::Insert {
            begun = Instant::now();
        }
        let transaction = connection.transaction().expect("begins");
        let mut insert = transaction
            .prepare_cached("INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")
            .expect("prepares");
        for (offset, (event, micros, data)) in (first + 1..).zip(&rows) {
            let row = params![
                offset.cast_signed(),
                5 + offset.cast_signed() % 100,
                1,
                offset.cast_signed(),
                1,
                micros,
                event,
                micros,
                data
            ];
            insert.execute(row).expect("inserts");
        }
        drop(insert);
        transaction.commit().expect("commits");
        spent += begun.elapsed();
    }
    spent
}

fn event_id(event: &RawEvent<'_>) -> i64 {
    105 + event.name.len() as i64
}

fn micros(event: &RawEvent<'_>) -> i64 {
    event.timestamp.map_or(0, |time| time.seconds() * 1_000_000 + i64::from(time.microseconds()))
}

/// Measures from the bytes of the monitors to the commit of the last record.
fn ours(path: &Path, records: u64, vms: u64, grouping: Grouping) -> Duration {
    let journal = Journal::open(path, JournalOptions::default()).expect("opens");
    let appender = journal.appender();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let names: Vec<String> = (0..vms).map(|vm| format!("vm{vm}")).collect();
    let mut monitors: Vec<FrameReader> =
        names.iter().map(|_| FrameReader::new(qmp_wire::FRAME_MAX_BYTES)).collect();
    // The bytes of one read: a full buffer from a lone VM, a few events from each of many.
    let per_read = (READ_BYTES as u64 / 170 / vms).max(1);
    let reads: Vec<Vec<u8>> = (0..records)
        .step_by(per_read as usize)
        .map(|first| {
            let mut raw = Vec::new();
            (first..records.min(first + per_read)).for_each(|index| line(index, &mut raw));
            raw
        })
        .collect();
    let (mut batch, mut uncommitted) = (Batch::new(), 0);
    let begun = Instant::now();
    for (vm, raw) in (0..names.len()).cycle().zip(&reads) {
        let received = UnixMicros(MIDNIGHT + begun.elapsed().as_micros() as i64);
        monitors[vm].push(raw);
        while let Some(message) = monitors[vm].next_message().expect("our own lines") {
            let Message::Event(event) = message else { continue };
            let RawEvent { name, timestamp, data, .. } = event;
            let body = Body::Event { name, sent_name: None, timestamp, data: data.map(Into::into) };
            batch.push(&Draft { vm: &names[vm], received, body });
        }
        uncommitted += batch.len();
        let ticket = loop {
            match appender.append(&mut batch) {
                Ok(ticket) => break ticket,
                Err(Overrun) => runtime.block_on(appender.room()).expect("the journal is open"),
            }
        };
        if grouping == Grouping::Fixed && uncommitted >= COMMIT_RECORDS {
            runtime.block_on(appender.committed(ticket)).expect("is committed");
            uncommitted = 0;
        }
    }
    let last = appender.append(&mut batch).expect("there is room");
    let head = runtime.block_on(appender.committed(last)).expect("is committed");
    let spent = begun.elapsed();
    assert_eq!(head, Offset(records));
    journal.close().expect("closes");
    spent
}

/// A day of 1,000 VMs, and typical queries of it.
fn queries(records: u64) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    fill(&path, records);
    let bytes = std::fs::metadata(&path).expect("the file").len();
    println!(
        "queries of a day of 1,000 VMs, {records} records, {} bytes/record; medians of 9, worst",
        bytes / records
    );
    let reader = Reader::open(&path).expect("opens");
    let at = |hour: u64| UnixMicros(MIDNIGHT + (DAY_MICROS / 24 * hour).cast_signed());
    let mut found = 0;
    ask("open a cursor and read its first record", 1.0, |round| {
        let after = records / 10 * round + round * 17;
        let first = reader.cursor(Query::default(), Offset(after)).next_batch(1).expect("reads");
        assert_eq!(first[0].offset, Some(Offset(after + 1)));
    });
    ask("one VM's hour", 5.0, |round| {
        let vm = Globs::parse([format!("vm{}", 7 + 100 * round)]).expect("a pattern");
        let query =
            Query { vm, since: Some(at(round * 2)), until: Some(at(round * 2 + 1)), ..Query::default() };
        found = reader.cursor(query, Offset(0)).next_batch(usize::MAX).expect("reads").len();
    });
    println!("    ({found} records)");
    ask("one VM's latest hour", 5.0, |round| {
        let vm = Globs::parse([format!("vm{}", 7 + 100 * round)]).expect("a pattern");
        let query = Query { vm, since: Some(at(23)), ..Query::default() };
        found = reader.cursor(query, Offset(0)).next_batch(usize::MAX).expect("reads").len();
    });
    ask("the last record of each of 1,000 VMs", 20.0, |_| {
        assert_eq!(black_box(reader.last_of_each_vm().expect("reads")).len(), 1_000);
    });
    ask("counts by event and minute over the day", 100.0, |_| {
        let tally = reader.tally(&Globs::default(), at(0), at(24)).expect("reads");
        assert_eq!(tally.iter().map(|tally| tally.records).sum::<u64>(), records);
    });
    ask("the last 100 records of one VM", 5.0, |round| {
        let vm = Globs::parse([format!("vm{}", 7 + 100 * round)]).expect("a pattern");
        let query = Query { vm, ..Query::default() };
        assert_eq!(reader.last(&query, 100).expect("reads").records.len(), 100.min(records as usize / 1_000));
    });
}

fn ask(name: &str, target_ms: f64, mut question: impl FnMut(u64)) {
    let mut times: Vec<Duration> = (0..9)
        .map(|round| {
            let begun = Instant::now();
            question(round);
            begun.elapsed()
        })
        .collect();
    let (median, worst) = (median(&mut times), times[times.len() - 1]);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!("  {name:<46} {:>8.3} ms {:>8.3} ms  target {target_ms} ms", ms(median), ms(worst));
}

fn fill(path: &Path, records: u64) {
    let journal = Journal::open(path, JournalOptions::default()).expect("opens");
    let appender = journal.appender();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let names: Vec<String> = (0..1_000).map(|vm| format!("vm{vm}")).collect();
    let (mut frames, mut raw, mut batch) =
        (FrameReader::new(qmp_wire::FRAME_MAX_BYTES), Vec::new(), Batch::new());
    for index in 0..records {
        raw.clear();
        // Neighbours in time are of many VMs, in no fixed order.
        let vm = (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 1_000;
        let vm = if index < 1_000 { index } else { vm };
        line(index, &mut raw);
        frames.push(&raw);
        let Some(Message::Event(event)) = frames.next_message().expect("our own line") else {
            panic!("an event")
        };
        let RawEvent { name, timestamp, data, .. } = event;
        let body = Body::Event { name, sent_name: None, timestamp, data: data.map(Into::into) };
        let received =
            UnixMicros(MIDNIGHT + (u128::from(index) * u128::from(DAY_MICROS) / u128::from(records)) as i64);
        batch.push(&Draft { vm: &names[vm as usize], received, body });
        while batch.len() >= 1_000 && appender.append(&mut batch).is_err() {
            runtime.block_on(appender.room()).expect("the journal is open");
        }
    }
    while appender.append(&mut batch).is_err() {
        runtime.block_on(appender.room()).expect("the journal is open");
    }
    journal.close().expect("closes");
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

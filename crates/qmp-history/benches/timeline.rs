//! The timeline of a year of 1,000 VMs, beside SQLite doing the same by SQL on the same file.
//!
//! `cargo bench -p qmp-history --bench timeline [-- RECORDS [JOURNAL]]`: 10^6 records by default (the targets are for 10^7:
//! 1.5 GB in `TMPDIR`, some minutes). The journal is written to the path `JOURNAL` and kept, or read from there. The events are spread evenly over VMs and time, the worst case for counts by minute, and half of
//! them are of the most frequent event. Absolute times depend on the machine's load; the ratios within one run are the result.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use qmp_history::{CountsRequest, DIGEST, Facet, LaneOrder, Scope, TimelineRequest, counts, timeline};
use qmp_journal::{Batch, Draft, Journal, JournalOptions, Overrun, Query, Reader};
use qmp_wire::{Body, UnixMicros};
use rusqlite::Connection;

const VMS: u64 = 1_000;
const BEGIN: i64 = 1_767_312_000_000_000;
const YEAR: i64 = 365 * 86_400_000_000;
const ROUNDS: usize = 5;
/// The usual events of a VM, the most frequent first.
const EVENTS: [&str; 12] = [
    "RTC_CHANGE",
    "BLOCK_JOB_READY",
    "JOB_STATUS_CHANGE",
    "BLOCK_JOB_COMPLETED",
    "NIC_RX_FILTER_CHANGED",
    "VSERPORT_CHANGE",
    "BALLOON_CHANGE",
    "STOP",
    "RESUME",
    "BLOCK_IO_ERROR",
    "RESET",
    "GUEST_PANICKED",
];

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let records = arguments.first().map_or(1_000_000_u64, |records| records.parse().expect("a number"));
    let directory = tempfile::tempdir().expect("a directory");
    let path = arguments.get(1).map_or_else(|| directory.path().join("journal.db"), PathBuf::from);
    let began = Instant::now();
    if !path.exists() {
        write(&path, records);
    }
    let bytes = std::fs::metadata(&path).expect("the file").len();
    println!(
        "{records} records of {VMS} VMs in a year, {:.0} bytes each, written in {:.1} s; medians of {ROUNDS} rounds",
        bytes as f64 / records as f64,
        began.elapsed().as_secs_f64()
    );
    let connection = Connection::open(&path).expect("opens");
    let sum = |column: &str| -> i64 {
        let sql = format!("SELECT sum(length({column})) FROM summary");
        connection.query_row(&sql, [], |row| row.get(0)).expect("sums")
    };
    let each = |bytes: i64| bytes as f64 / records as f64;
    println!(
        "  summaries: counts {:.2}, changes {:.2} bytes a record",
        each(sum("counts")),
        each(sum("changes"))
    );

    let reader = Reader::open(&path).expect("opens");
    let year = (BEGIN, BEGIN + YEAR);
    let day = (BEGIN + YEAR / 2, BEGIN + YEAR / 2 + 86_400_000_000);
    let hour = (day.0, day.0 + 3_600_000_000);
    let first = measure_once(|| lanes(&reader, year, 40, LaneOrder::Name));
    println!("  {:<46} {:>9.1} ms", "first timeline of the process, a year, 40 lanes", millis(first));
    for (name, window, count, order) in [
        ("a year, 40 lanes", year, 40, LaneOrder::Name),
        ("a year, all 1,000 lanes", year, 1_000, LaneOrder::Name),
        ("a year, 40 lanes, trouble first", year, 40, LaneOrder::Trouble),
        ("a day, 40 lanes", day, 40, LaneOrder::Name),
        ("an hour, 40 lanes", hour, 40, LaneOrder::Name),
    ] {
        println!("  {name:<46} {:>9.1} ms", millis(measure(|| lanes(&reader, window, count, order))));
    }
    for (name, facet) in [("counts by event", Facet::Event), ("counts by VM", Facet::Vm)] {
        let time = measure(|| {
            let request =
                CountsRequest { scope: scope(year), by: vec![facet], buckets: 60, top: 20, zone_micros: 0 };
            black_box(counts(&reader, &request, UnixMicros(year.1)).expect("reads"));
        });
        println!("  {name:<46} {:>9.1} ms", millis(time));
    }
    let by_sql = |sql: &str, expected: u64| {
        measure_once(|| {
            let mut select = connection.prepare(sql).expect("prepares");
            let mut rows = select.query([]).expect("queries");
            let mut count = 0_u64;
            while let Some(row) = rows.next().expect("reads") {
                count += u64::from(row.get::<_, u32>(3).expect("a count"));
            }
            assert_eq!(count, expected, "{sql}");
        })
    };
    let bucket = YEAR / 1_200;
    let all =
        format!("SELECT vm, (received - {BEGIN}) / {bucket}, event, count(*) FROM record GROUP BY 1, 2, 3");
    println!(
        "  {:<46} {:>9.1} ms",
        "SQLite, all lanes, GROUP BY over the records",
        millis(by_sql(&all, records))
    );
    let tally = format!(
        "SELECT 0, minute / {}, event, sum(records) FROM (SELECT minute, event, records FROM tally UNION ALL \
         SELECT received / 60000000, event, 1 FROM record WHERE offset > (SELECT max(last) FROM segment)) GROUP BY 2, 3",
        bucket / 60_000_000
    );
    println!(
        "  {:<46} {:>9.1} ms",
        "SQLite, no lanes, GROUP BY over tally",
        millis(by_sql(&tally, records - VMS))
    );
}

fn scope((since, until): (i64, i64)) -> Scope {
    let query = Query { since: Some(UnixMicros(since)), until: Some(UnixMicros(until)), ..Query::default() };
    Scope { query, ..Scope::default() }
}

fn lanes(reader: &Reader, window: (i64, i64), lanes: usize, sort: LaneOrder) {
    let request =
        TimelineRequest { scope: scope(window), buckets: 1_200, lanes, from: None, sort, marks: 2_000 };
    let found = timeline(reader, &request, UnixMicros(window.1)).expect("reads");
    assert_eq!(found.lanes.len(), lanes);
    black_box(found);
}

fn write(path: &Path, records: u64) {
    let options = JournalOptions { digest: DIGEST, ..JournalOptions::default() };
    let journal = Journal::open(path, options).expect("opens");
    let appender = journal.appender();
    let names: Vec<String> = (0..VMS).map(|vm| format!("vm{vm:04}")).collect();
    let mut batch = Batch::new();
    let send = |batch: &mut Batch| loop {
        match appender.append(batch) {
            Ok(_) => return,
            Err(Overrun) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    for index in 0..records {
        let vm = &names[usize::try_from(index % VMS).expect("small")];
        let at =
            BEGIN + i64::try_from(u128::from(index) * YEAR as u128 / u128::from(records)).expect("a time");
        let random = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let body = if index < VMS {
            Body::Attached { snapshot: r#"{"query-status":{"status":"running"}}"#.into() }
        } else {
            let rank = (random as usize | 1 << (EVENTS.len() - 1)).trailing_zeros() as usize;
            let data =
                format!("{{\"device\": \"virtio{}\", \"len\": {}, \"offset\": {index}}}", random % 7, random);
            Body::Event {
                name: EVENTS[rank].into(),
                sent_name: None,
                timestamp: None,
                data: Some(data.into()),
            }
        };
        batch.push(&Draft { vm, received: UnixMicros(at), body });
        if batch.len() >= 1_000 {
            send(&mut batch);
        }
    }
    send(&mut batch);
    journal.close().expect("closes");
}

fn measure_once(run: impl FnOnce()) -> Duration {
    let began = Instant::now();
    run();
    began.elapsed()
}

fn measure(run: impl Fn()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| measure_once(&run)).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

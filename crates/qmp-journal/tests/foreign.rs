//! Records of VMs of other hosts: their numbers, and this hub's own records of them, compared with a list.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use qmp_journal::{
    Backup, Batch, Draft, Feed, ForeignBatch, Journal, JournalOptions, Query, Reader, Retention, verify,
};
use qmp_wire::{Body, DetachReason, Epoch, Offset, Record, Seq, UnixMicros};

/// Small enough that a test fills many segments.
const SEGMENT_RECORDS: u64 = 5;
const HOSTS: [&str; 3] = ["node1", "node1~2", "node2"];
const VMS: [&str; 2] = ["web1", "db1"];

#[derive(Clone, Debug)]
enum Operation {
    /// A record of a VM of a host; epoch and number grow by these steps.
    Foreign { host: usize, vm: usize, epochs: u32, seqs: u64, kind: u8 },
    /// A record that this hub adds to a VM of a host, or of its own host.
    Own { host: Option<usize>, vm: usize, kind: u8 },
    /// The hub ends and another one starts.
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    let foreign = (0..3_usize, 0..2_usize, 0..2_u32, 1..4_u64, 0..4_u8)
        .prop_map(|(host, vm, epochs, seqs, kind)| Operation::Foreign { host, vm, epochs, seqs, kind });
    let own = (prop::option::of(0..3_usize), 0..2_usize, 0..4_u8)
        .prop_map(|(host, vm, kind)| Operation::Own { host, vm, kind });
    prop_oneof![8 => foreign, 3 => own, 1 => Just(Operation::Reopen)]
}

fn body(kind: u8) -> Body<'static> {
    match kind {
        0 => Body::Attached { snapshot: "{}".into() },
        1 => Body::Detached { reason: DetachReason::PeerClosed, detail: None, certain_until: None },
        2 => Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: None },
        _ => Body::Finding { finding: "note".into(), summary: "A note.".into(), causes: vec![], data: None },
    }
}

fn options() -> JournalOptions {
    JournalOptions { segment_records: SEGMENT_RECORDS, ..JournalOptions::default() }
}

/// Each foreign record keeps its numbers, no epoch of another host's VM is closed here, every record is found by its
/// identity, and the journal verifies.
fn run(path: &Path, operations: &[Operation]) -> Vec<Record<'static>> {
    let mut expected: Vec<Record<'static>> = Vec::new();
    let mut last: HashMap<String, (u32, u64)> = HashMap::new();
    let mut journal = Journal::open(path, options()).expect("opens");
    for operation in operations {
        match *operation {
            Operation::Foreign { host, vm, epochs, seqs, kind } => {
                let vm = format!("{}/{}", HOSTS[host], VMS[vm]);
                let numbers = last.entry(vm.clone()).or_insert((1, 0));
                *numbers = match (kind, epochs) {
                    (0, _) => (numbers.0 + 1, 0),
                    (_, 0) => (numbers.0, numbers.1 + seqs),
                    _ => (numbers.0 + epochs, seqs),
                };
                let (epoch, seq) = (Epoch(numbers.0), Seq(numbers.1));
                let received = UnixMicros(expected.len() as i64);
                let record = Record { offset: None, vm: vm.into(), epoch, seq, received, body: body(kind) };
                let mut batch = ForeignBatch::new();
                batch.push(&record).expect("the numbers grow");
                let offset = Offset(expected.len() as u64);
                let (name, host) = (HOSTS[host].into(), HOSTS[host].into());
                batch.set_feed(Feed { journal: name, host, offset, received });
                journal.appender().append_foreign(&mut batch).expect("room");
                expected.push(record);
            }
            Operation::Own { host, vm, kind } => {
                let kind = if host.is_none() { 2 } else { kind };
                let vm = host.map_or(VMS[vm].to_owned(), |host| format!("{}/{}", HOSTS[host], VMS[vm]));
                let received = UnixMicros(expected.len() as i64);
                let mut batch = Batch::new();
                batch.push(&Draft { vm: &vm, received, body: body(kind) });
                journal.appender().append(&mut batch).expect("room");
                let (epoch, seq) = match host {
                    None => (0, expected.iter().filter(|record| record.vm == vm).count() as u64),
                    Some(_) => (
                        expected.iter().rfind(|record| record.vm == vm).map_or(0, |record| record.epoch.0),
                        (1 << 52) + expected.len() as u64 + 1,
                    ),
                };
                let (epoch, seq) = (Epoch(epoch), Seq(seq));
                expected.push(Record { offset: None, vm: vm.into(), epoch, seq, received, body: body(kind) });
            }
            Operation::Reopen => {
                journal.close().expect("closes");
                journal = Journal::open(path, options()).expect("opens");
            }
        }
    }
    journal.close().expect("closes");
    for (record, offset) in expected.iter_mut().zip(1..) {
        record.offset = Some(Offset(offset));
    }
    expected
}

fn faults(path: &Path) -> Vec<Box<str>> {
    verify(path).expect("opens").faults
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Foreign records keep their epochs and numbers in every order of hosts, and with this hub's records between them.
    #[test]
    fn foreign_records_keep_their_numbers(operations in prop::collection::vec(operation(), 1..60)) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal.db");
        let expected = run(&path, &operations);
        let reader = Reader::open(&path).expect("opens");
        let found = reader.cursor(Query::default(), Offset(0)).next_batch(1_000).expect("reads");
        prop_assert_eq!(&found, &expected);
        for record in &expected {
            let one = reader.find(&record.vm, record.epoch, record.seq).expect("reads");
            prop_assert_eq!(one.as_ref(), Some(record));
        }
        for vm in ["node1/web1", "node2/db1"] {
            for (epoch, seq) in [(1, 1_000), (9_999, 0), (0, 1)] {
                prop_assert_eq!(reader.find(vm, Epoch(epoch), Seq(seq)).expect("reads"), None);
            }
        }
        for host in HOSTS {
            let of_host = |record: &&Record<'_>| {
                record.vm.starts_with(&format!("{host}/")) && !record.seq.is_added()
            };
            let last = expected.iter().rfind(of_host);
            let feeds = reader.feeds().expect("reads");
            let feed = feeds.iter().find(|feed| &*feed.host == host);
            prop_assert_eq!(feed.map(|feed| feed.offset.0 + 1), last.and_then(|last| Some(last.offset?.0)));
        }
        prop_assert_eq!(faults(&path), Vec::<Box<str>>::new());
        let copy = directory.path().join("copy.db");
        Backup::open(&path).expect("opens").write(&copy, false).expect("copies");
        prop_assert_eq!(Reader::open(&copy).expect("opens").feeds().unwrap(), reader.feeds().unwrap());
    }
}

fn foreign(vm: &'static str, epoch: u32, seq: u64, kind: u8) -> Record<'static> {
    let received = UnixMicros(i64::from(epoch) * 1_000);
    Record { offset: None, vm: vm.into(), epoch: Epoch(epoch), seq: Seq(seq), received, body: body(kind) }
}

fn append(journal: &Journal, records: &[Record<'static>]) {
    let mut batch = ForeignBatch::new();
    records.iter().for_each(|record| batch.push(record).expect("in order"));
    journal.appender().append_foreign(&mut batch).expect("room");
}

/// Records that are lost at the end of the file come again: their numbers are not skipped, as those of this host's VMs are.
#[test]
fn foreign_records_lost_with_the_log_are_accepted_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, copy) = (directory.path().join("journal.db"), directory.path().join("copy.db"));
    let journal = Journal::open(&path, options()).expect("opens");
    append(&journal, &[foreign("node1/web1", 1, 0, 0), foreign("node1/web1", 1, 1, 2)]);
    journal.close().expect("closes");
    std::fs::copy(&path, &copy).expect("copies");
    let journal = Journal::open(&path, options()).expect("opens");
    append(&journal, &[foreign("node1/web1", 1, 2, 2), foreign("node1/web1", 1, 3, 2)]);
    journal.close().expect("closes");
    std::fs::copy(&copy, &path).expect("an older copy in its place");
    let journal = Journal::open(&path, options()).expect("opens");
    append(&journal, &[foreign("node1/web1", 1, 2, 2), foreign("node1/web1", 1, 3, 2)]);
    journal.close().expect("closes");
    let records = Reader::open(&path).expect("opens").cursor(Query::default(), Offset(0));
    let numbers: Vec<_> = { records }.next_batch(100).expect("reads").iter().map(|r| r.seq.0).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    assert_eq!(faults(&path), Vec::<Box<str>>::new());
}

/// Retention removes the rows of epochs that another host never closed, but not that of a VM's latest epoch.
#[tokio::test]
async fn retention_removes_unclosed_epochs_of_other_hosts() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let journal = Journal::open(&path, options()).expect("opens");
    for epoch in 1..=40 {
        append(&journal, &[foreign("node1/web1", epoch, 0, 0), foreign("node1/web1", epoch, 1, 2)]);
    }
    let ticket = journal.appender().append(&mut Batch::new()).expect("room");
    journal.appender().committed(ticket).await.expect("commits");
    let retention = Retention { max_age: Some(Duration::from_secs(3_600)), ..Retention::default() };
    journal.wait_for_pruning(journal.retain(retention)).await.expect("prunes");
    let reader = journal.reader();
    let epochs: Vec<u32> = reader.epochs().expect("reads").iter().map(|epoch| epoch.epoch.0).collect();
    assert_eq!(epochs, [40], "the latest");
    assert_eq!(reader.last_of_each_vm().expect("reads").len(), 0);
    append(&journal, &[foreign("node1/web1", 40, 2, 2)]);
    let mut repeated = ForeignBatch::new();
    repeated.push(&foreign("node1/web1", 40, 1, 2)).expect("one record");
    journal.appender().append_foreign(&mut repeated).expect_err("the numbers are kept");
    journal.close().expect("closes");
    assert_eq!(faults(&path), Vec::<Box<str>>::new());
}

//! The journal compared with a model that is too simple to be wrong: a list of records.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use qmp_journal::{Batch, Draft, Globs, Journal, JournalOptions, Query, Reader, RecordKind};
use qmp_wire::{Body, DetachReason, Epoch, Offset, Record, Seq, Timestamp, UnixMicros};

/// Small enough that a test fills many segments.
const SEGMENT_RECORDS: u64 = 7;

const VMS: [&str; 4] = ["web1", "web2", "d b/ü \"x\"", "STOP"];
const EVENTS: [&str; 4] = ["STOP", "RESUME", "web1", ""];
const DATA: [Option<&str>; 5] =
    [None, Some(r#"{"n": 1, "s": {"t": "x"}}"#), Some("{\"n\":\r\n 2}"), Some("no JSON \0 at all"), Some("")];

#[derive(Clone, Debug)]
enum Operation {
    Append(Vec<Draft<'static>>),
    Reopen { segment_records: u64 },
    Query { query: QueryParts, after: u64, max: usize },
    Last { query: QueryParts, max: usize },
}

#[derive(Clone, Debug)]
struct QueryParts {
    vm: Vec<&'static str>,
    event: Vec<&'static str>,
    kind: Vec<RecordKind>,
    since: Option<i64>,
    until: Option<i64>,
    condition: Option<&'static str>,
}

/// The expected content of the journal.
#[derive(Default)]
struct Model {
    records: Vec<Record<'static>>,
    /// Epoch, next sequence number, open.
    vms: BTreeMap<String, (u32, u64, bool)>,
    /// When the last record of each VM was received.
    received: BTreeMap<String, UnixMicros>,
}

impl Model {
    fn append(&mut self, draft: Draft<'static>) {
        let (mut epoch, mut seq, mut open) = self.vms.get(draft.vm).copied().unwrap_or_default();
        match draft.body {
            Body::Attached { .. } => {
                if open {
                    let detail = "the next epoch was opened while this one was open";
                    let body = hub_stopped(detail, self.received[draft.vm]);
                    self.append(Draft { body, ..draft.clone() });
                }
                (epoch, seq, open) = (epoch + 1, 0, true);
            }
            Body::Detached { .. } => open = false,
            _ => {}
        }
        self.vms.insert(draft.vm.to_owned(), (epoch, seq + 1, open));
        self.received.insert(draft.vm.to_owned(), draft.received);
        let offset = Some(Offset(self.records.len() as u64 + 1));
        let Draft { vm, received, body } = draft;
        self.records.push(Record {
            offset,
            vm: vm.into(),
            epoch: Epoch(epoch),
            seq: Seq(seq),
            received,
            body,
        });
    }

    fn matching(&self, query: &Query) -> Vec<Record<'static>> {
        self.records.iter().filter(|record| query.matches(record)).cloned().collect()
    }

    fn tally(&self) -> BTreeMap<(i64, String), u64> {
        let mut tally = BTreeMap::new();
        for record in &self.records {
            if let Body::Event { name, .. } = &record.body {
                let minute = record.received.0.div_euclid(60_000_000) * 60_000_000;
                *tally.entry((minute, name.to_string())).or_default() += 1;
            }
        }
        tally
    }

    fn last_of_each_vm(&self) -> Vec<Record<'static>> {
        let last = self.records.iter().map(|record| (record.vm.clone(), record.clone()));
        let mut last: Vec<_> = last.collect::<BTreeMap<_, _>>().into_values().collect();
        last.sort_by_key(|record| record.offset);
        last
    }
}

fn hub_stopped(detail: &str, certain_until: UnixMicros) -> Body<'static> {
    let (detail, certain_until) = (Some(detail.to_owned().into()), Some(certain_until));
    Body::Detached { reason: DetachReason::HubStopped, detail, certain_until }
}

impl QueryParts {
    fn query(&self) -> Query {
        Query {
            vm: Globs::parse(&self.vm).expect("patterns"),
            host: Globs::default(),
            event: Globs::parse(&self.event).expect("patterns"),
            kind: self.kind.clone(),
            since: self.since.map(UnixMicros),
            until: self.until.map(UnixMicros),
            where_: self.condition.into_iter().map(|text| text.parse().expect("a condition")).collect(),
        }
    }
}

fn body() -> impl Strategy<Value = Body<'static>> {
    let data = || prop::sample::select(&DATA[..]).prop_map(|data| data.map(Cow::Borrowed));
    let timestamp = prop_oneof![
        Just(None),
        (any::<i64>(), 0..1_000_000_i64).prop_map(|(s, us)| Timestamp::from_wire(s, us).expect("in range")),
    ];
    let event = (prop::sample::select(&EVENTS[..]), timestamp, data()).prop_map(|(name, timestamp, data)| {
        Body::Event { name: name.into(), sent_name: None, timestamp, data }
    });
    prop_oneof![
        12 => event,
        2 => Just(Body::Attached { snapshot: "{\"query-status\": {\"running\":true}}".into() }),
        1 => Just(Body::Detached { reason: DetachReason::PeerClosed, detail: None, certain_until: None }),
        1 => any::<i32>().prop_map(|until| Body::Detached {
            reason: DetachReason::Other("x".into()),
            detail: Some("y\"z".into()),
            certain_until: Some(UnixMicros(until.into())),
        }),
        1 => Just(Body::Finding {
            finding: "sequel-missing".into(),
            summary: "RESET did not \"come\"".into(),
            causes: vec![(Epoch(1), Seq(2)), (Epoch(1), Seq(u64::MAX))],
            data: Some("{ \"a\" :1 }".into()),
        }),
    ]
}

fn draft() -> impl Strategy<Value = Draft<'static>> {
    let received = prop_oneof![9 => 0..400_000_000_i64, 1 => any::<i64>()];
    (prop::sample::select(&VMS[..]), received, body()).prop_map(|(vm, received, body)| Draft {
        vm,
        received: UnixMicros(received),
        body,
    })
}

fn query_parts() -> impl Strategy<Value = QueryParts> {
    let vm = prop::sample::subsequence(vec!["web*", "db*", "STOP", "none"], 0..3);
    let event = prop_oneof![
        2 => Just(vec![]),
        1 => prop::sample::subsequence(vec!["STOP", "R*", "web1", "?"], 1..3),
    ];
    let kind = prop_oneof![2 => Just(vec![]), 1 => prop::sample::subsequence(RecordKind::ALL.to_vec(), 1..3)];
    let time = || prop::option::of(0..400_000_000_i64);
    let condition =
        prop::option::weighted(0.2, prop::sample::select(vec!["n=1", "s.t=x", "reason=peer closed"]));
    (vm, event, kind, time(), time(), condition).prop_map(|(vm, event, kind, since, until, condition)| {
        QueryParts { vm, event, kind, since, until, condition }
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => prop::collection::vec(draft(), 0..30).prop_map(Operation::Append),
        1 => (1..SEGMENT_RECORDS * 2).prop_map(|segment_records| Operation::Reopen { segment_records }),
        3 => (query_parts(), 0..100_u64, 1..40_usize)
            .prop_map(|(query, after, max)| Operation::Query { query, after, max }),
        2 => (query_parts(), 1..40_usize).prop_map(|(query, max)| Operation::Last { query, max }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// After any appends and reopenings, every query returns the records that a scan of the whole journal finds.
    #[test]
    fn queries_return_the_same_as_a_full_scan(operations in prop::collection::vec(operation(), 1..20)) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal.db");
        let open = |segment_records| {
            let options = JournalOptions { segment_records, ..JournalOptions::default() };
            Journal::open(&path, options).expect("opens")
        };
        let mut journal = open(SEGMENT_RECORDS);
        let mut model = Model::default();
        for operation in operations {
            match operation {
                Operation::Append(drafts) => append(&journal, &mut model, drafts),
                Operation::Reopen { segment_records } => {
                    journal.close().expect("closes");
                    journal = open(segment_records);
                    apply_reopening(&mut model, &journal);
                }
                Operation::Query { query, after, max } => {
                    let query = query.query();
                    let mut expected = model.matching(&query);
                    expected.retain(|record| record.offset > Some(Offset(after)));
                    prop_assert_eq!(read_all(&journal.reader(), &query, after, max), expected);
                }
                Operation::Last { query, max } => {
                    let query = query.query();
                    let mut expected = model.matching(&query);
                    expected.drain(..expected.len().saturating_sub(max));
                    let tail = journal.reader().last(&query, max).expect("reads");
                    prop_assert_eq!(tail.records, expected);
                    prop_assert_eq!(tail.head, journal.head());
                }
            }
        }
        check_whole(&Reader::open(&path).expect("opens"), &model)?;
    }
}

fn append(journal: &Journal, model: &mut Model, drafts: Vec<Draft<'static>>) {
    let mut batch = Batch::new();
    for draft in &drafts {
        batch.push(draft);
    }
    let appender = journal.appender();
    let ticket = appender.append(&mut batch).expect("there is room");
    let head = block_on(appender.committed(ticket)).expect("is committed");
    for draft in drafts {
        model.append(draft);
    }
    assert_eq!(head, Offset(model.records.len() as u64));
}

/// Adds the records that close the open epochs at opening, with a detail and a time that only the journal has.
fn apply_reopening(model: &mut Model, journal: &Journal) {
    let open = model.vms.values().filter(|(.., open)| *open).count();
    let first = model.records.len() as u64;
    let closing = read_all(&journal.reader(), &Query::default(), first, 100);
    assert_eq!(closing.len(), open);
    for record in closing {
        let Body::Detached { reason: DetachReason::HubStopped, detail: Some(detail), certain_until } =
            &record.body
        else {
            panic!("{record:?}");
        };
        assert!(
            detail.starts_with("the hub ended without closing the epoch; nothing is certain since "),
            "{detail}"
        );
        let vm = VMS.into_iter().find(|vm| *vm == record.vm).expect("a VM of this test");
        assert!(model.vms[vm].2, "{vm} was open");
        assert_eq!(*certain_until, Some(model.received[vm]), "{record:?}");
        model.append(Draft { vm, received: record.received, body: record.body.clone() });
        assert_eq!(Some(&record), model.records.last());
    }
}

fn check_whole(reader: &Reader, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(read_all(reader, &Query::default(), 0, 1000), model.records.clone());
    prop_assert_eq!(reader.last_of_each_vm().expect("reads"), model.last_of_each_vm());
    let tally = reader.tally(&Globs::default(), UnixMicros(i64::MIN), UnixMicros(i64::MAX)).expect("reads");
    let expected = model.tally();
    // Times at the very end of 64 bits have a minute that does not fit: their count is compared, not their minute.
    let fits = |minute: i64| minute > i64::MIN / 2 && minute < i64::MAX / 2;
    let found: Vec<_> =
        tally.iter().filter(|t| fits(t.minute.0)).map(|t| (t.minute.0, &*t.event, t.records)).collect();
    let expected_counts: Vec<_> =
        expected.iter().filter(|((m, _), _)| fits(*m)).map(|((m, e), n)| (*m, e.as_str(), *n)).collect();
    prop_assert_eq!(found, expected_counts);
    prop_assert_eq!(tally.iter().map(|t| t.records).sum::<u64>(), expected.values().sum::<u64>());
    let vms: Vec<_> = reader
        .vms()
        .expect("reads")
        .into_iter()
        .map(|vm| (vm.vm.into_string(), vm.epoch.0, vm.attached))
        .collect();
    let expected: Vec<_> = model
        .vms
        .iter()
        .filter(|(_, (epoch, ..))| *epoch > 0)
        .map(|(vm, (epoch, _, open))| (vm.clone(), *epoch, *open))
        .collect();
    prop_assert_eq!(vms, expected);
    Ok(())
}

fn read_all(reader: &Reader, query: &Query, after: u64, max: usize) -> Vec<Record<'static>> {
    let mut cursor = reader.cursor(query.clone(), Offset(after));
    let mut records = Vec::new();
    loop {
        let batch = cursor.next_batch(max).expect("reads");
        if batch.is_empty() {
            assert_eq!(cursor.position().0, reader.head().expect("reads").0.max(after));
            return records;
        }
        assert!(batch.len() <= max);
        records.extend(batch);
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

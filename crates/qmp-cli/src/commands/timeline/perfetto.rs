//! The trace, in the JSON trace-event format, which ui.perfetto.dev and `chrome://tracing` read.
//!
//! Each VM is a process with the threads "run state", "not watched", "findings" and "events". Findings that overlap have threads
//! of their own, because slices of one thread must nest. Events are instants; if there are too many, their numbers by severity
//! are a counter.
//!
//! The numbers of threads are unique in the trace, and every event has one: Perfetto finds a thread by its number alone when it
//! names it, and takes the number of the process where an event has none. `displayTimeUnit` is left out: times are
//! microseconds, but some releases of Perfetto take it for the unit of all times.
//!
//! Source: "Trace Event Format", the document of the Chromium project; Perfetto, `src/trace_processor/importers/json`.

use serde_json::{Value, json};

use super::lanes::{Lane, Lanes};
use super::look::{SEVERITIES, state_text};
use crate::time::write::rfc3339;
use qmp_wire::UnixMicros;

const STATES: u32 = 1;
const GAPS: u32 = 2;
const EVENTS: u32 = 3;
/// The first thread of findings.
const FINDINGS: u32 = 4;
/// The distance between the numbers of the first threads of two VMs: more than a VM has threads.
const THREADS: u32 = 1_000;

/// The trace, one event a line.
pub(super) fn trace(lanes: &Lanes) -> String {
    let mut events = Vec::new();
    for (pid, lane) in (1..).zip(&lanes.lanes) {
        Vm { lanes, lane, pid }.write(&mut events);
    }
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    let other = json!({"vms": lanes.vms(), "since": rfc3339(UnixMicros(lanes.since)), "until": rfc3339(UnixMicros(lanes.until))});
    format!("{{\"otherData\":{other},\"traceEvents\":[\n{}\n]}}\n", lines.join(",\n"))
}

/// One VM of the trace.
struct Vm<'a> {
    lanes: &'a Lanes,
    lane: &'a Lane,
    pid: u32,
}

impl Vm<'_> {
    fn write(&self, events: &mut Vec<Value>) {
        let Self { lanes, lane, pid } = self;
        let mut of_process = |name: &str, args: Value| {
            let tid = self.tid(STATES);
            events.push(json!({"ph": "M", "name": name, "pid": pid, "tid": tid, "args": args}));
        };
        of_process("process_name", json!({"name": lane.vm}));
        of_process("process_sort_index", json!({"sort_index": pid}));
        self.thread(STATES, "run state", events);
        for (from, to, state, changes) in &lane.states {
            let state = Lanes::word(&lanes.states, *state);
            let name = if *changes == 0 { state_text(state) } else { "several" };
            let args = json!({"run_state": state, "changes": changes});
            events.push(self.slice(STATES, "state", name, (*from, *to), args));
        }
        self.thread(GAPS, "not watched", events);
        for (from, to, reason, gaps) in lanes.unwatched(lane) {
            let reason = Lanes::word(&lanes.reasons, reason);
            events.push(self.slice(GAPS, "gap", reason, (from, to), json!({"gaps": gaps})));
        }
        self.thread(EVENTS, "events", events);
        match &lane.marks {
            Some(marks) => events.extend(marks.iter().map(|mark| self.instant(mark))),
            None => self.counters(events),
        }
        self.findings(events);
    }

    /// The number of a thread in the trace.
    fn tid(&self, thread: u32) -> u32 {
        self.pid.saturating_mul(THREADS).saturating_add(thread)
    }

    fn thread(&self, thread: u32, name: &str, events: &mut Vec<Value>) {
        let (pid, tid) = (self.pid, self.tid(thread));
        events
            .push(json!({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}));
        events.push(json!({"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": thread}}));
    }

    /// An interval within the window, and its whole extent in the arguments.
    fn slice(
        &self,
        thread: u32,
        category: &str,
        name: &str,
        (from, to): (i64, Option<i64>),
        mut args: Value,
    ) -> Value {
        let Lanes { since, until, .. } = *self.lanes;
        args["from"] = json!(rfc3339(UnixMicros(from)));
        args["to"] = json!(to.map(|to| rfc3339(UnixMicros(to))));
        let begin = from.clamp(since, until);
        let end = to.unwrap_or(until).clamp(begin, until.max(begin));
        json!({
            "ph": "X", "cat": category, "name": name, "pid": self.pid, "tid": self.tid(thread), "ts": begin, "dur": end - begin,
            "args": args,
        })
    }

    fn instant(&self, (offset, at, name): &(u64, i64, String)) -> Value {
        let args = json!({"offset": offset, "received": rfc3339(UnixMicros(*at))});
        json!({"ph": "i", "s": "t", "cat": "event", "name": name, "pid": self.pid, "tid": self.tid(EVENTS), "ts": at, "args": args})
    }

    /// The numbers of records by bucket, and a zero after each bucket that an empty one follows.
    fn counters(&self, events: &mut Vec<Value>) {
        let Lanes { since, bucket, .. } = *self.lanes;
        let mut buckets = std::collections::BTreeMap::new();
        for name in SEVERITIES {
            for (bucket, records) in self.lane.counts.get(name).into_iter().flatten() {
                buckets.entry(*bucket).or_insert_with(|| vec![0; SEVERITIES.len()]);
                buckets.entry(bucket.saturating_add(1)).or_insert_with(|| vec![0; SEVERITIES.len()]);
                let rank = SEVERITIES.iter().position(|severity| *severity == name).unwrap_or(0);
                if let Some(counts) = buckets.get_mut(bucket) {
                    counts[rank] += records;
                }
            }
        }
        for (number, counts) in buckets {
            let args: serde_json::Map<String, Value> = SEVERITIES
                .iter()
                .zip(counts)
                .map(|(name, count)| ((*name).to_owned(), count.into()))
                .collect();
            let at = since.saturating_add(number.saturating_mul(bucket));
            let tid = self.tid(EVENTS);
            events.push(
                json!({"ph": "C", "name": "records", "pid": self.pid, "tid": tid, "ts": at, "args": args}),
            );
        }
    }

    /// Findings, each on the first thread whose last finding has ended.
    fn findings(&self, events: &mut Vec<Value>) {
        let mut ends: Vec<i64> = Vec::new();
        let mut findings: Vec<_> = self.lane.findings.iter().collect();
        findings.sort_by_key(|(offset, from, ..)| (*from, *offset));
        let mut slices = Vec::new();
        for (offset, from, to, kind, joined) in findings {
            let end = to.unwrap_or(i64::MAX);
            let row = ends.iter().position(|last| last <= from).unwrap_or(ends.len());
            match ends.get_mut(row) {
                Some(last) => *last = end,
                None => ends.push(end),
            }
            let thread = FINDINGS.saturating_add(u32::try_from(row).unwrap_or(u32::MAX));
            let args = json!({"offset": offset, "findings": joined});
            slices.push(self.slice(
                thread,
                "finding",
                Lanes::word(&self.lanes.kinds, *kind),
                (*from, *to),
                args,
            ));
        }
        for thread in (FINDINGS..).take(ends.len().max(1)) {
            self.thread(thread, "findings", events);
        }
        events.append(&mut slices);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vm_is_a_process_with_slices_and_instants() {
        let lanes = crate::commands::timeline::svg::examples::day();
        let text = trace(&lanes);
        let trace: Value = serde_json::from_str(&text).expect("JSON");
        let events = trace["traceEvents"].as_array().expect("events");
        let of = |ph: &str, name: &str| -> Vec<&Value> {
            events.iter().filter(|event| event["ph"] == ph && event["name"] == name).collect()
        };
        let paused = of("X", "paused");
        assert_eq!(paused.len(), 1, "{text}");
        assert_eq!(paused[0]["dur"], 3_600_000_000_i64);
        assert_eq!(of("i", "BLOCK_IO_ERROR").len(), 1);
        assert_eq!(of("M", "process_name").len(), lanes.lanes.len());
        // A lane whose events are counted has a zero after its bars.
        let counts = of("C", "records");
        assert_eq!(counts.last().map(|last| &last["args"]["news"]), Some(&json!(0)));
        // Every event names its thread, each thread is of one process, and no thread has the number of its process.
        let mut processes = std::collections::HashMap::new();
        for event in events {
            let (pid, tid) =
                (event["pid"].as_u64().expect("a process"), event["tid"].as_u64().expect("a thread"));
            assert!(*processes.entry(tid).or_insert(pid) == pid && tid != pid, "{event}");
            assert!(event["ph"] == "M" || event["ts"].is_i64() || event["ts"].is_u64(), "{event}");
        }
        // The slices of a thread do not overlap.
        let mut last = std::collections::HashMap::new();
        for slice in events.iter().filter(|event| event["ph"] == "X") {
            let number = |member: &str| slice[member].as_i64().expect("a number");
            let end = last.insert((number("pid"), number("tid")), number("ts") + number("dur"));
            assert!(end.is_none_or(|end| end <= number("ts")), "{slice}");
        }
    }
}

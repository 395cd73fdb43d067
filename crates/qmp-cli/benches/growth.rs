//! How the cost of commands that read much grows with the size of their input: `qmp check` on a capture, and `qmp log` with
//! and without `--where` on a journal, each at three sizes.
//!
//! `cargo bench -p qmp-cli --bench growth [-- EVENTS]`: events of the largest size, 1,000,000 by default; the others are a
//! tenth and a hundredth of it. Prints events a second without the start-up time of the program, its peak memory, and the
//! exponent of growth between the smallest and the largest size: 1 is linear, 2 is quadratic. For comparison, it prints the
//! cost of reading the same capture and finding its line ends. Medians of three rounds.

#![expect(clippy::cast_precision_loss, reason = "figures of a bench")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use qmp_journal::{Batch, Draft, Journal, JournalOptions};
use qmp_wire::{Body, UnixMicros};

const ROUNDS: usize = 3;
/// The factor between two sizes.
const STEP: usize = 10;
/// Records of one append to a journal.
const BATCH: usize = 1_000;
const GREETING: &str = "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n";

/// The input of one size.
struct Input {
    events: usize,
    capture: PathBuf,
    journal: PathBuf,
}

/// The cost of one run.
#[derive(Clone, Copy)]
struct Cost {
    took: Duration,
    held_max_kib: u64,
}

fn main() {
    let largest =
        std::env::args().filter_map(|argument| argument.parse().ok()).next_back().unwrap_or(1_000_000);
    let directory = tempfile::tempdir().expect("a directory");
    let empty = Input::write(directory.path(), 0);
    let inputs =
        [largest / STEP / STEP, largest / STEP, largest].map(|events| Input::write(directory.path(), events));
    println!("{:24} {:>10} {:>12} {:>14}  exponent", "", "events", "events/s", "peak memory");
    report("read and split (limit)", &empty, &inputs, read_and_split);
    report("qmp check", &empty, &inputs, qmp_check);
    report("qmp log --json", &empty, &inputs, |input| qmp_log(input, &[]));
    report("qmp log --json --where", &empty, &inputs, |input| qmp_log(input, &["--where", "device=virtio0"]));
}

fn report(name: &str, empty: &Input, inputs: &[Input; 3], work: impl Fn(&Input) -> Cost) {
    let start = median(empty, &work).took;
    let costs = inputs.each_ref().map(|input| median(input, &work));
    let seconds = costs.map(|cost| cost.took.saturating_sub(start).as_secs_f64().max(1e-6));
    let growth = inputs[2].events as f64 / inputs[0].events as f64;
    let exponent = (seconds[2] / seconds[0]).ln() / growth.ln();
    for (index, (input, cost)) in inputs.iter().zip(costs).enumerate() {
        let rate = input.events as f64 / seconds[index];
        let exponent = if index == 2 { format!("{exponent:.2}") } else { String::new() };
        println!("{name:24} {:>10} {rate:>12.0} {:>10} KiB  {exponent}", input.events, cost.held_max_kib);
    }
}

fn median(input: &Input, work: impl Fn(&Input) -> Cost) -> Cost {
    let mut costs: Vec<Cost> = (0..ROUNDS).map(|_| work(input)).collect();
    costs.sort_by_key(|cost| cost.took);
    costs[ROUNDS / 2]
}

impl Input {
    fn write(directory: &Path, events: usize) -> Self {
        let (capture, journal) =
            (directory.join(format!("{events}.qmp")), directory.join(format!("{events}.db")));
        let mut text = GREETING.to_owned();
        for index in 0..events {
            let (seconds, microseconds) = (1_767_312_000 + index / 1_000, index % 1_000_000);
            text += &format!(
                "{{\"timestamp\": {{\"seconds\": {seconds}, \"microseconds\": {microseconds}}}, \
                 \"event\": \"BLOCK_IO_ERROR\", \"data\": {}}}\r\n",
                data(index)
            );
        }
        fs::write(&capture, text).expect("room for a capture");
        write_journal(&journal, events);
        Self { events, capture, journal }
    }
}

fn write_journal(path: &Path, events: usize) {
    let journal = Journal::open(path, JournalOptions::default()).expect("a journal");
    let appender = journal.appender();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for begin in (0..events).step_by(BATCH) {
        let mut batch = Batch::new();
        for index in begin..(begin + BATCH).min(events) {
            let received = UnixMicros(1_767_312_000_000_000 + i64::try_from(index).expect("a small number"));
            let body = Body::Event {
                name: "BLOCK_IO_ERROR".into(),
                sent_name: None,
                timestamp: None,
                data: Some(data(index).into()),
            };
            batch.push(&Draft { vm: "web1", received, body });
        }
        runtime.block_on(appender.append_when_room(&mut batch)).expect("the journal is open");
    }
    journal.close().expect("everything was written");
}

/// The data of an event of a machine with a full disk; one event in a hundred is of another disk.
fn data(index: usize) -> String {
    let device = if index.is_multiple_of(100) { "virtio0" } else { "virtio1" };
    format!(
        "{{\"device\": \"{device}\", \"node-name\": \"#block{}\", \"reason\": \"No space left on device\", \
         \"operation\": \"write\", \"nospace\": true, \"action\": \"stop\"}}",
        index % 977
    )
}

/// The least that any reader of a capture does.
fn read_and_split(input: &Input) -> Cost {
    let begun = Instant::now();
    let mut file = File::open(&input.capture).expect("the capture");
    let mut piece = vec![0; 64 << 10];
    let mut lines = 0;
    loop {
        match file.read(&mut piece).expect("reads") {
            0 => break,
            count => lines += piece[..count].iter().filter(|byte| **byte == b'\n').count(),
        }
    }
    assert_eq!(lines, input.events + 1);
    Cost { took: begun.elapsed(), held_max_kib: 64 }
}

/// Reads through a pipe: while it is open, the program runs, and its memory can be read.
fn qmp_check(input: &Input) -> Cost {
    let begun = Instant::now();
    let mut child = program(&["check", "-"]);
    let mut file = File::open(&input.capture).expect("the capture");
    let mut pipe = child.stdin.take().expect("a pipe");
    std::io::copy(&mut file, &mut pipe).expect("the program reads");
    pipe.flush().expect("a pipe has no buffer");
    let held_max_kib = held(&child);
    drop(pipe);
    end(child, begun, held_max_kib)
}

fn qmp_log(input: &Input, more: &[&str]) -> Cost {
    let begun = Instant::now();
    let journal = input.journal.to_str().expect("a plain path");
    let mut child = program(&[&["log", "--json", "--journal", journal], more].concat());
    let mut output = child.stdout.take().expect("a pipe");
    let (mut piece, mut held_max_kib) = (vec![0; 64 << 10], 0);
    while output.read(&mut piece).expect("reads") > 0 {
        held_max_kib = held_max_kib.max(held(&child));
    }
    end(child, begun, held_max_kib)
}

fn program(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_qmp"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

fn end(mut child: Child, begun: Instant, held_max_kib: u64) -> Cost {
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{status}");
    Cost { took: begun.elapsed(), held_max_kib }
}

/// The peak memory of the process so far, in KiB. Source: proc(5), `VmHWM` of `/proc/pid/status`.
fn held(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

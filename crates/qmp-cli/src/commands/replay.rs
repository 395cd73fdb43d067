//! `qmp replay`: serves a recording as a live monitor.

use std::path::{Path, PathBuf};

use clap::Args;
use qmp_client::Address;
use qmp_events::Release;
use qmp_journal::{Globs, Query, Reader};
use qmp_machine::replay::{Recording, RecordingBuilder, RecordingError, Replay as Tape};
use qmp_machine::script::release;
use qmp_wire::Offset;

use crate::capture;
use crate::exit::{Exit, Failure};
use crate::listen;
use crate::output;
use crate::progress::Progress;
use crate::signals::StopSignals;
use crate::terminal::Terminal;

/// Replay a recording as a live monitor
///
/// Begins when the first client has negotiated: sends the recorded greeting, then the events byte for byte, at their
/// recorded intervals. Commands get the recorded replies if there are any, or else CommandNotFound. If the recorded
/// monitor closed the connection, the client must reconnect to see the rest.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Replay {
    /// A capture of a monitor's output, or the output of qmp log --json; - is the standard input
    #[arg(value_name = "FILE", required_unless_present = "journal", conflicts_with = "journal")]
    file: Option<PathBuf>,

    /// A journal's file
    #[arg(long, value_name = "FILE", requires = "vm")]
    journal: Option<PathBuf>,

    /// The VM, if the recording has several
    #[arg(long, value_name = "NAME")]
    vm: Option<String>,

    /// Where to listen: unix:PATH or tcp:HOST:PORT
    #[arg(long, value_name = "ADDR")]
    listen: Address,

    /// The speed; 2 is twice as fast, 0 as fast as the client reads
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = factor)]
    speed: f64,

    /// The release to report if the recording has no greeting
    #[arg(long, value_name = "RELEASE", value_parser = release)]
    release: Option<Release>,

    /// Continue to answer commands after the last event, until interrupted
    #[arg(long)]
    stay: bool,
}

const EXAMPLES: &str = "\
Examples:
  qmp replay web1.qmp --listen /tmp/replay.sock
  qmp log --vm web1 --since today --json | qmp replay - --listen /tmp/replay.sock --speed 60
  qmp replay --journal /var/lib/qmp-events/journal.db --vm web1 --listen tcp:127.0.0.1:4444 --speed 0
  qmp tail /tmp/replay.sock --exit                       in another terminal";

/// Records that are read from a journal at a time.
const BATCH_MAX_RECORDS: usize = 1_024;

impl Replay {
    /// Replays to the end, or until interrupted.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let recording = self.recording(terminal)?;
        let listener = listen::listen(&self.listen).map_err(|error| listen::failure(&self.listen, &error))?;
        // Before the start-up text says that a client can connect.
        let mut end = StopSignals::new()?;
        output::note(self.start_up(&recording));
        let mut tape = Tape::new(recording).speed(self.speed).stay(self.stay);
        if let Some(release) = self.release {
            tape = tape.release(release);
        }
        let replay = tape.start(listener).map_err(Failure::failed)?;
        let stop = replay.stopper();
        match end.or_stop(move || replay.wait(), stop).await {
            Ok(Ok(())) => Ok(Exit::Done),
            Ok(Err(error)) => Err(Failure::failed(error)),
            Err(error) => Err(Failure::failed(error)),
        }
    }

    fn recording(&self, terminal: &Terminal) -> Result<Recording, Failure> {
        let vm = self.vm.as_deref();
        let mut recording = RecordingBuilder::new(vm);
        if let (Some(journal), Some(vm)) = (&self.journal, vm) {
            let mut progress = Progress::new(terminal, format!("reading {}", journal.display()));
            records(journal, vm, &mut recording, &mut progress)?;
            return recording.finish().map_err(|error| wrong(&journal.display().to_string(), &error));
        }
        let path = self.file.as_deref().unwrap_or(Path::new("-"));
        let name = path.display().to_string();
        let all = std::fs::metadata(path).map_or(0, |file| file.len());
        let (mut progress, mut done) = (Progress::new(terminal, format!("reading {name}")), 0);
        capture::pieces(path, |piece| {
            done += piece.len() as u64;
            progress.done(done, all, "bytes");
            recording.push(piece).map_err(|error| wrong(&name, &error))
        })?;
        recording.finish().map_err(|error| wrong(&name, &error))
    }

    fn start_up(&self, recording: &Recording) -> String {
        let (events, times) = (recording.events(), recording.connections());
        let connections = if times == 1 { String::new() } else { format!(" on {times} connections") };
        format!(
            "{events} events{connections}; waiting for a client at {}\n\nNext, in another terminal:\n  qmp tail {} --exit",
            self.listen, self.listen
        )
    }
}

/// Adds the records of a VM to the recording.
fn records(
    journal: &Path,
    vm: &str,
    recording: &mut RecordingBuilder,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let reader = Reader::open(journal)?;
    let head = reader.head()?;
    let known = reader.vms()?;
    if !known.iter().any(|known| *known.vm == *vm) {
        let names: Vec<&str> = known.iter().map(|known| &*known.vm).collect();
        return Err(Failure::usage(format_args!("{} has no VM {vm}", journal.display()))
            .hint(format_args!("it has {}", names.join(", "))));
    }
    let vm = Globs::of_vms([vm]);
    let mut cursor = reader.cursor(Query { vm, ..Query::default() }, Offset(0));
    loop {
        let batch = cursor.next_batch(BATCH_MAX_RECORDS)?;
        if batch.is_empty() {
            return Ok(());
        }
        batch.iter().for_each(|record| recording.record(record));
        progress.done(cursor.position().0, head.0, "records");
    }
}

fn wrong(name: &str, error: &RecordingError) -> Failure {
    let failure = Failure::usage(format_args!("{name}: {error}"));
    match error {
        RecordingError::Several { .. } => failure.hint("give --vm NAME"),
        RecordingError::Broken { .. } | RecordingError::Empty => {
            failure.hint("a recording has the output of a monitor, one JSON value after another, or the output of qmp log --json")
        }
        _ => failure,
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor >= 0.0 && factor.is_finite() => Ok(factor),
        _ => Err("expected a number; 2 is twice as fast, 0 as fast as the client reads".into()),
    }
}

//! `qmp check`: compares a capture, or a live monitor's schema, with the catalogue.

mod findings;

use std::borrow::Cow;
use std::collections::HashMap;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use clap::Args;
use qmp_client::{Address, ExecuteError};
use qmp_events::introspection::{self, Schema, Severity};
use qmp_events::{Release, validate};
use qmp_wire::{CaptureEntry, CaptureError, CaptureReader};

use self::findings::{Finding, Findings};
use crate::capture::{self, Item};
use crate::exit::{Exit, Failure};
use crate::terminal::Terminal;
use crate::{live, output};

/// Check a capture of a monitor, or a live monitor, against the catalogue of events
///
/// In a file, every event is validated for the release of QEMU that sent it: that of the greeting in the capture, or else
/// --release. A reply to query-qmp-schema in it is compared with the catalogue in both directions. A live monitor is asked
/// for its schema. The output of qmp log --json can be checked, too.
///
/// Violations go to the standard output, one a line; the exit code is 1 if there are any. Differences that a sound QEMU may
/// have (a build without SPICE, a vendor's own event) are notes, not violations.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Check {
    /// A capture, - for the standard input, or a monitor's address
    #[arg(value_name = "FILE|ADDR")]
    subject: String,

    /// The release of QEMU, if the capture has no greeting
    #[arg(long, value_name = "RELEASE")]
    release: Option<Release>,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    /// Print notes, too
    #[arg(long)]
    notes: bool,
}

const EXAMPLES: &str = "\
Examples:
  qmp check /run/web1.sock                       does this QEMU have the events of the catalogue
  qmp tail /run/web1.sock --json | tee web1.jsonl; qmp check web1.jsonl
                                                 record until Ctrl-C, then check the recording
  qmp check capture.txt --release 7.2
  qmp log --vm web1 --json | qmp check - --json";

/// The hint if there is no such file.
const SUBJECT_HINT: &str = "a capture is the path of a file, a monitor the path of its socket or unix:PATH, tcp:HOST:PORT; \
                            for a VM of the hub: qmp log --vm NAME --json | qmp check -";

/// The release of each VM; under `None` that of a capture without VM names.
type Releases = HashMap<Option<String>, Release>;

impl Check {
    /// Checks and prints violations; the exit code says whether there are any.
    pub async fn run(self, _: &Terminal) -> Result<Exit, Failure> {
        let mut findings = Findings::new(self.json, self.notes);
        let result = match self.address()? {
            Some(address) => self.check_monitor(&address, &mut findings).await,
            None => self.check_capture(&mut findings),
        };
        findings.flush()?;
        result?;
        output::note(findings.summary());
        Ok(if findings.violations() == 0 { Exit::Done } else { Exit::Failed })
    }

    /// The address, unless the subject is a file; the path of a socket is an address.
    fn address(&self) -> Result<Option<Address>, Failure> {
        let is_address = ["unix:", "tcp:", "fd:"].iter().any(|kind| self.subject.starts_with(kind));
        let is_socket = || std::fs::metadata(&self.subject).is_ok_and(|file| file.file_type().is_socket());
        if self.subject != "-" && (is_address || is_socket()) {
            let text = if is_address {
                self.subject.clone()
            } else {
                format!("unix:{}", self.subject.replace(',', ",,"))
            };
            return text.parse().map(Some).map_err(Failure::usage);
        }
        Ok(None)
    }

    fn check_capture(&self, findings: &mut Findings) -> Result<(), Failure> {
        let mut capture = CaptureReader::new();
        let mut releases = Releases::new();
        let broken = |error: CaptureError| {
            Failure::failed(format_args!("{}: the capture is {error}", self.subject))
                .hint("a capture has the output of a monitor: JSON values, one after another")
        };
        let is_missing = self.subject != "-" && !Path::new(&self.subject).exists();
        let read = capture::pieces(Path::new(&self.subject), |piece| {
            capture.push(piece);
            while let Some(entry) = capture.next_entry().map_err(broken)? {
                self.check_entry(entry, &mut releases, findings)?;
            }
            // The next piece of a pipe may arrive much later.
            Ok(findings.flush()?)
        });
        // The subject may be meant as the name of a VM.
        read.map_err(|failure| if is_missing { failure.hint(SUBJECT_HINT) } else { failure })?;
        capture.finish().map_err(broken)
    }

    fn check_entry(
        &self,
        entry: CaptureEntry<'_>,
        releases: &mut Releases,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        let line = entry.line;
        match Item::from(entry.value) {
            Item::Version { version, vm } => {
                let (major, minor, micro) = version;
                releases.insert(vm.map(Cow::into_owned), Release::from_version(major, minor, micro));
            }
            Item::Event { name, data, vm } => {
                let vm = vm.map(Cow::into_owned);
                let release = self.release_for(releases.get(&vm), line)?;
                findings.event(&validate(&name, data.as_deref(), release), line, vm.as_deref())?;
            }
            Item::Schema(json) => {
                let release = self.release_for(releases.get(&None), line)?;
                check_schema(json, release, findings)?;
            }
            Item::Other => {}
        }
        Ok(())
    }

    fn release_for(&self, known: Option<&Release>, line: usize) -> Result<Release, Failure> {
        known.copied().or(self.release).ok_or_else(|| {
            Failure::usage(format_args!("line {line}: the release of QEMU is unknown"))
                .hint("give --release 7.2; a capture that begins with the greeting does not need it")
        })
    }

    async fn check_monitor(&self, address: &Address, findings: &mut Findings) -> Result<(), Failure> {
        let (monitor, _events) =
            qmp_client::connect(address).await.map_err(|error| live::connect_failure(&error))?;
        let Some(release) = monitor.release().or(self.release) else {
            return Err(Failure::usage("the greeting has no version").hint("give --release 0.12"));
        };
        let schema = match monitor.execute_raw("query-qmp-schema", None).await {
            Ok(schema) => schema,
            Err(ExecuteError::Refused(refusal)) => {
                return Err(Failure::failed(format_args!(
                    "QEMU {release} does not return its schema: {refusal}"
                ))
                .hint(
                    "query-qmp-schema was added in 2.5; the events of an older QEMU can be checked in a capture",
                ));
            }
            Err(error) => return Err(Failure::gone(error)),
        };
        check_schema(&schema, release, findings)
    }
}

fn check_schema(json: &str, release: Release, findings: &mut Findings) -> Result<(), Failure> {
    let schema = Schema::parse(json).map_err(|error| {
        Failure::failed(format_args!("cannot read the reply to query-qmp-schema: {error}"))
    })?;
    findings.schema(schema.events().count(), release);
    for difference in introspection::compare(&schema, release) {
        let is_note = difference.severity == Severity::Note;
        findings.add(&Finding {
            event: &difference.event,
            path: &difference.path,
            text: difference.to_string(),
            release: difference.release,
            is_note,
            line: None,
            vm: None,
        })?;
    }
    Ok(())
}

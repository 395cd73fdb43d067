//! A command for each record: no shell, the record as JSON on its standard input, its members in the environment.
//!
//! One command runs at a time, in order. Exit status 0 is success; 75 (`EX_TEMPFAIL` of `sysexits.h`) asks for a retry
//! later, as does a command that could not be started; with any other status, or after the timeout, the record is
//! refused.

mod run_processes;
mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use qmp_settings::Settings;
use qmp_settings::schema::{Form, KeySchema, Variant};
use qmp_settings::span;

use super::delivery::{Delivery, DeliveryFuture, DeliveryOrigin, DeliveryOutcome, RuleAction, Sink};
use super::fields;
use super::keys::{ATTEMPTS, TIMEOUT};
use super::kind::SinkKind;
use process::{Process, RunResult};

pub(super) static KIND: SinkKind =
    SinkKind { variant: &Variant { key: &RUN, options: &[&TIMEOUT, &ATTEMPTS] }, may_hold_back: true, read };

static RUN: KeySchema = KeySchema::new(
    "run",
    Form::Command,
    "a program and its arguments, such as [\"/usr/local/bin/page\", \"--urgent\"]",
    "Runs this program with these arguments, without a shell, with the record on its standard input.",
)
.example("[\"/usr/local/bin/page\", \"--urgent\"]");

/// How long a command may take unless the rule says otherwise: a command should send a message, not do the work itself.
const RUN_TIMEOUT: Duration = Duration::from_secs(30);

/// The exit status of a temporary failure, by `sysexits.h`.
const EX_TEMPFAIL: i32 = 75;

/// The variables of the hub's environment that a command gets: others may be private to the hub, such as sockets of
/// systemd.
const INHERITED: [&str; 8] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR"];

#[derive(Clone, Debug)]
struct Run {
    program: PathBuf,
    arguments: Vec<String>,
    timeout: Duration,
    attempts: u32,
}

struct RunSink {
    run: Run,
    origin: Arc<DeliveryOrigin>,
}

fn read(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn RuleAction>> {
    let words = settings.texts(&RUN)?;
    let (program, arguments) = words.split_first()?;
    let timeout = settings.span(&TIMEOUT).unwrap_or(RUN_TIMEOUT);
    let attempts = settings.number(&ATTEMPTS).unwrap_or(1);
    if arguments.is_empty() && program.contains(' ') && !std::path::Path::new(program).exists() {
        settings.problem(
            &RUN,
            "there is no shell: write the program and each argument as separate texts in a list",
        );
        return None;
    }
    if let Some(warning) = process::warning(program) {
        settings.warn(&RUN, &warning);
    }
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Some(Arc::new(Run { program: (*program).into(), arguments, timeout, attempts }))
}

impl RuleAction for Run {
    fn open(&self, origin: Arc<DeliveryOrigin>) -> Box<dyn Sink> {
        Box::new(RunSink { run: self.clone(), origin })
    }

    fn target(&self) -> String {
        // Arguments may contain a secret.
        self.program.display().to_string()
    }

    fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl Sink for RunSink {
    fn deliver<'s>(&'s mut self, deliveries: &'s [Delivery]) -> DeliveryFuture<'s> {
        Box::pin(async {
            match deliveries.first() {
                Some(delivery) => self.deliver_one(delivery).await,
                None => DeliveryOutcome::done(0),
            }
        })
    }
}

impl RunSink {
    async fn deliver_one(&self, delivery: &Delivery) -> DeliveryOutcome {
        let Run { program, timeout, .. } = &self.run;
        let mut environment = fields::of(&delivery.record, delivery.held_back);
        environment.push(("QMP_RULE".into(), self.origin.rule.to_string()));
        // A variable of the environment cannot contain NUL.
        environment.iter_mut().for_each(|(_, value)| *value = value.replace('\0', "\u{fffd}"));
        let inherited =
            INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        environment.extend(inherited);
        let mut line = fields::line(&delivery.record);
        line.push(b'\n');
        let process = match Process::start(program, &self.run.arguments, environment) {
            Ok(process) => process,
            Err(error) => {
                return DeliveryOutcome::unavailable(0, format!("cannot run {}: {error}", program.display()));
            }
        };
        let (result, output) = process.run(line, *timeout).await;
        let shown_output = if output.is_empty() { String::new() } else { format!(", and said: {output}") };
        let program = program.display();
        match result {
            RunResult::Exited(status) if status.success() => DeliveryOutcome::done(1),
            RunResult::Exited(status) if status.code() == Some(EX_TEMPFAIL) => DeliveryOutcome::unavailable(
                0,
                format!("{program} asks to be run again later ({status}){shown_output}"),
            ),
            RunResult::Exited(status) => {
                DeliveryOutcome::refused(0, format!("{program} ended with {status}{shown_output}"))
            }
            RunResult::TooLong => {
                let span_us = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
                DeliveryOutcome::refused(
                    0,
                    format!("{program} took longer than {}{shown_output}", span::describe(span_us)),
                )
            }
            RunResult::Unknown(error) => {
                DeliveryOutcome::unavailable(0, format!("cannot wait for {program}: {error}"))
            }
        }
    }
}

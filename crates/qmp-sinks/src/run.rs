//! A command for each record: no shell, the record as JSON on its standard input, its members in the environment.
//!
//! One at a time and in order. A command that exits with 0 has done its work; with 75 (`EX_TEMPFAIL` of `sysexits.h`) it
//! asks to be run again later, like one that could not be started; with anything else, or when it takes too long, the
//! record is refused.

mod family;
mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use qmp_settings::Settings;
use qmp_settings::span;

use super::delivery::{Action, Delivering, Delivery, Origin, Outcome, Sink};
use super::fields;
use super::kind::Kind;
use process::{Ended, Process};

pub(super) const KIND: Kind = Kind {
    key: "run",
    options: &["timeout", "attempts"],
    example: "run = [\"/usr/local/bin/page\", \"--urgent\"]",
    may_hold_back: true,
    read,
};

/// How long a command may take unless the rule says otherwise: it sends a message, and does not do the work itself.
const RUN_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a record may be offered to a receiver that refuses it, at most: more is "for ever".
pub(super) const SINK_ATTEMPTS_MAX: u32 = 1_000;

/// What `sysexits.h` calls a temporary failure.
const EX_TEMPFAIL: i32 = 75;

/// What of the hub's environment a command gets: the rest may hold what is the hub's alone, such as sockets of systemd.
const INHERITED: [&str; 8] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR"];

#[derive(Clone, Debug)]
struct Run {
    program: PathBuf,
    arguments: Vec<String>,
    timeout: Duration,
    attempts: u32,
}

struct Runs {
    run: Run,
    origin: Arc<Origin>,
}

fn read(settings: &mut Settings<'_, '_>) -> Option<Arc<dyn Action>> {
    let words = settings
        .texts("run", "a program and its arguments, such as [\"/usr/local/bin/page\", \"--urgent\"]")?;
    let (program, arguments) = words.split_first()?;
    let timeout = settings.span("timeout").unwrap_or(RUN_TIMEOUT);
    let attempts = settings.number("attempts", 1, SINK_ATTEMPTS_MAX).unwrap_or(1);
    if arguments.is_empty() && program.contains(' ') && !std::path::Path::new(program).exists() {
        settings.problem(
            "run",
            "there is no shell: write the program and each argument as a text of its own, in a list",
        );
        return None;
    }
    if let Some(doubt) = process::doubt(program) {
        settings.doubt("run", &doubt);
    }
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Some(Arc::new(Run { program: (*program).into(), arguments, timeout, attempts }))
}

impl Action for Run {
    fn open(&self, origin: Arc<Origin>) -> Box<dyn Sink> {
        Box::new(Runs { run: self.clone(), origin })
    }

    fn target(&self) -> String {
        // Arguments may hold a secret.
        self.program.display().to_string()
    }

    fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl Sink for Runs {
    fn deliver<'s>(&'s mut self, deliveries: &'s [Delivery]) -> Delivering<'s> {
        Box::pin(async {
            match deliveries.first() {
                Some(delivery) => self.one(delivery).await,
                None => Outcome::done(0),
            }
        })
    }
}

impl Runs {
    async fn one(&self, delivery: &Delivery) -> Outcome {
        let Run { program, timeout, .. } = &self.run;
        let mut environment = fields::of(&delivery.record, delivery.held_back);
        environment.push(("QMP_RULE".into(), self.origin.rule.to_string()));
        // The environment cannot hold what ends it.
        environment.iter_mut().for_each(|(_, value)| *value = value.replace('\0', "\u{fffd}"));
        let inherited =
            INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        environment.extend(inherited);
        let mut line = fields::line(&delivery.record);
        line.push(b'\n');
        let process = match Process::start(program, &self.run.arguments, environment) {
            Ok(process) => process,
            Err(error) => return Outcome::away(0, format!("cannot run {}: {error}", program.display())),
        };
        let (ended, output) = process.run(line, *timeout).await;
        let said = if output.is_empty() { String::new() } else { format!(", and said: {output}") };
        let program = program.display();
        match ended {
            Ended::Exited(status) if status.success() => Outcome::done(1),
            Ended::Exited(status) if status.code() == Some(EX_TEMPFAIL) => {
                Outcome::away(0, format!("{program} asks to be run again later ({status}){said}"))
            }
            Ended::Exited(status) => Outcome::refused(format!("{program} ended with {status}{said}")),
            Ended::TooLong => {
                let span_us = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
                Outcome::refused(format!("{program} took longer than {}{said}", span::describe(span_us)))
            }
            Ended::Unknown(error) => Outcome::away(0, format!("cannot wait for {program}: {error}")),
        }
    }
}

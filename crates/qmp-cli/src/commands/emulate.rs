//! `qmp emulate`: an emulated machine.

use std::fmt::Write as _;
use std::fs::File;
use std::io;

use clap::Args;
use qmp_client::Address;
use qmp_events::Release;
use qmp_machine::script::{Emulation, EmulationConfig, EmulationEvent, Script, bundled, release};
use qmp_machine::{MachineConfig, RebootAction, ShutdownAction};
use qmp_settings::suggest;

use crate::exit::{Exit, Failure};
use crate::listen;
use crate::output;
use crate::signals::StopSignals;
use crate::terminal::Terminal;

/// Emulate a machine: a monitor like QEMU's, without QEMU
///
/// The machine starts at once, answers QEMU's commands, and accepts x-guest-… and x-host-… commands for rare events of
/// guest and host. A script causes events by itself, at given times and at random; the same script and seed cause
/// the same events. The command ends when the machine exits, as a QEMU does.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Emulate {
    /// Where to listen: unix:PATH or tcp:HOST:PORT
    #[arg(long, value_name = "ADDR", required_unless_present_any = ["list_scripts", "print_script"])]
    listen: Option<Address>,

    /// The machine's name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// The script of its events: a built-in script by its name, or a file (TOML)
    #[arg(long, value_name = "NAME|FILE")]
    script: Option<String>,

    /// The release of QEMU that it reports, such as 7.2 or 11.1.3
    #[arg(long, value_name = "RELEASE", value_parser = release)]
    release: Option<Release>,

    /// The seed of the script's random numbers
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// The speed of the script; 2 is twice as fast
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = factor)]
    speed: f64,

    /// Stay stopped when the guest shuts down, as QEMU's -no-shutdown
    #[arg(long)]
    no_shutdown: bool,

    /// Exit instead of rebooting, as QEMU's -no-reboot
    #[arg(long)]
    no_reboot: bool,

    /// Wait for `cont` before the guest runs, as QEMU's -S
    #[arg(long, short = 'S')]
    start_stopped: bool,

    /// List the built-in scripts
    #[arg(long)]
    list_scripts: bool,

    /// Print a built-in script, as a start for your own
    #[arg(long, value_name = "NAME")]
    print_script: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  qmp emulate --listen /tmp/vm1.sock                        a machine without a script
  qmp exec /tmp/vm1.sock x-guest-panic                      its guest panics
  qmp emulate --listen /tmp/vm1.sock --script day           a day of a server
  qmp emulate --listen /tmp/vm1.sock --script own.toml --seed 7 --speed 10
  qmp emulate --list-scripts
  qmp emulate --print-script panic > own.toml";

impl Emulate {
    /// Emulates until the machine exits or it is interrupted.
    pub async fn run(self, _: &Terminal) -> Result<Exit, Failure> {
        if self.list_scripts {
            output::print(&list())?;
            return Ok(Exit::Done);
        }
        if let Some(name) = &self.print_script {
            output::print(bundled::find(name).ok_or_else(|| no_such_script(name))?.text)?;
            return Ok(Exit::Done);
        }
        let address = self.listen.clone().ok_or_else(|| Failure::usage("--listen is missing"))?;
        let script = self.script.as_deref().map(read).transpose()?;
        let config = self.configuration(script);
        // Before the start-up text says that Ctrl-C ends it.
        let mut end = StopSignals::new()?;
        let emulation = start(config, &address, None)?;
        output::note(self.start_up(&address));
        let stop = emulation.stopper();
        match end.or_stop(move || emulation.wait(), stop).await {
            Ok(Ok(0)) => Ok(Exit::Done),
            Ok(Ok(status)) => Err(Failure::failed(format_args!("the machine exited with status {status}"))),
            Ok(Err(error)) => Err(listen::failure(&address, &error)),
            Err(error) => Err(Failure::failed(error)),
        }
    }

    fn configuration(&self, script: Option<Script>) -> EmulationConfig {
        let mut machine = MachineConfig::default();
        // The command line overrides the script.
        let mut script = script;
        if let Some(script) = &mut script {
            script.machine.apply(&mut machine);
            script.machine = Default::default();
        }
        machine.name = self.name.as_deref().map(Box::from).or(machine.name);
        machine.release = self.release.unwrap_or(machine.release);
        if self.no_shutdown {
            machine.policy.shutdown = ShutdownAction::Pause;
        }
        if self.no_reboot {
            machine.policy.reboot = RebootAction::Shutdown;
        }
        machine.start_stopped |= self.start_stopped;
        machine.seed = self.seed.unwrap_or(machine.seed);
        EmulationConfig { script, seed: self.seed, factor: self.speed, ..EmulationConfig::new(machine) }
    }

    fn start_up(&self, address: &Address) -> String {
        let name = self.name.as_deref().unwrap_or("a machine");
        let script = self.script.as_deref().map(|script| format!(", script {script}")).unwrap_or_default();
        format!(
            "{name} at {address}{script}\n\nNext, in another terminal:\n  qmp tail {address}\n  \
             qmp exec {address} x-guest-panic\n  qmp exec {address} query-commands\nCtrl-C ends the machine."
        )
    }
}

/// Starts an emulation that reports on the standard error the steps of its script that fail, with the name `vm` if it is one
/// of several.
pub fn start(config: EmulationConfig, address: &Address, vm: Option<&str>) -> Result<Emulation, Failure> {
    let source = vm.map(|vm| format!("{vm}: ")).unwrap_or_default();
    let report = move |event: EmulationEvent| match event {
        EmulationEvent::Refused(refused) => {
            output::note(format_args!("{source}a step of the script failed: {refused}"));
        }
        EmulationEvent::Exited { status, restart_in: Some(span) } if source.is_empty() => {
            output::note(format_args!("the machine exited with status {status}; it restarts in {span:?}"));
        }
        _ => {}
    };
    let place = address.clone();
    config.start(move || listen::listen(&place), report).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Failure::usage(error),
        _ => listen::failure(address, &error),
    })
}

/// The longest script, in bytes. The built-in ones have a few thousand.
const SCRIPT_MAX_BYTES: u64 = 1 << 20;

/// Reads the built-in script of that name, or the file.
pub fn read(script: &str) -> Result<Script, Failure> {
    if !script.contains(['/', '.']) {
        return bundled::find(script)
            .map(bundled::BundledScript::script)
            .ok_or_else(|| no_such_script(script));
    }
    let text = File::open(script)
        .and_then(|file| qmp_host::read_text(file, SCRIPT_MAX_BYTES))
        .map_err(|error| Failure::usage(format_args!("cannot read the script {script}: {error}")))?;
    Script::parse(script, &text).map_err(|error| {
        let mut problems = error.problems.iter();
        let first = problems.next().map_or_else(|| Failure::usage("the script is wrong"), Failure::usage);
        problems.fold(first, Failure::and)
    })
}

fn no_such_script(name: &str) -> Failure {
    let failure = Failure::usage(format_args!("there is no script {name:?}"));
    match suggest::nearest(name, bundled::SCRIPTS.iter().map(|script| script.name)) {
        Some(near) => failure.hint(format_args!("did you mean {near}?")),
        None => {
            failure.hint("qmp emulate --list-scripts lists them; a file needs a slash or an extension: ./own")
        }
    }
}

fn list() -> String {
    let width = bundled::SCRIPTS.iter().map(|script| script.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for script in bundled::SCRIPTS {
        let summary = script.script().summary.unwrap_or_default();
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{:width$}  {summary}", script.name);
    }
    text
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor > 0.0 && factor.is_finite() => Ok(factor),
        _ => Err("expected a number greater than 0; 2 is twice as fast".into()),
    }
}

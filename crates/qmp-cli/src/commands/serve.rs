//! `qmp serve`: the hub.

mod attaching;
mod check;
mod demo;
mod endpoints;
mod overridden;
mod service;
mod startup;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use qmp_client::Address;
use qmp_daemon::{CommandLine, ConfigError, ConfigFile, Daemon, DaemonConfig, DaemonError};
use qmp_http::HttpEndpoint;
use qmp_hub::discovery::{DiscoveryRule, Source};
use qmp_hub::{FleetSourceConfig, HubStartError, VmName};
use qmp_wire::Offset;

use self::demo::Demo;
use self::endpoints::EndpointArgs;
use self::service::Service;
use self::startup::StartupText;
use crate::exit::{Exit, Failure};
use crate::hub::HubArgs;
use crate::paths::{self, DefaultPaths};
use crate::progress::Progress;
use crate::signals::StopSignals;
use crate::terminal::Terminal;
use crate::{log_format, output};

/// Attach to the monitors of VMs and keep a journal of everything that they report
///
/// If a VM does not exist yet, or goes away, the hub retries until its socket appears. The hub stops at SIGINT or
/// SIGTERM, after all records are on the disk; a second signal ends it at once. QMP_LOG=debug logs more.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Serve {
    /// A configuration file (TOML): VMs, journal, addresses
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// A VM: its name and its monitor; may be given several times
    #[arg(long, value_name = "NAME=ADDR", value_parser = named_address)]
    attach: Vec<(VmName, Address)>,

    /// Discover VMs, also while the hub runs: `processes` (the QEMUs of this host), `libvirt` (the domains of
    /// qemu:///system) or qemu:///session, `proxmox`, `incus`, `ganeti`, `kata`, a path such as `/run/vm/*.sock` or a directory, or unix:PATH,server=on, where QEMUs dial in; may be given
    /// several times
    #[arg(long, value_name = "KIND")]
    discover: Vec<Source>,

    /// Read the records of other hosts from a stream of NATS JetStream, `qmp` if none is named: this hub is a fleet hub; may be
    /// given several times
    #[arg(long, value_name = "nats://HOST:PORT[/STREAM]")]
    from: Vec<FleetSourceConfig>,

    /// Attach N emulated machines with scripted events (3 by default), and show what they report; needs no QEMU, and keeps
    /// its journal in a temporary file unless --journal is given
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "3", require_equals = true, value_parser = demo::machines)]
    demo: Option<usize>,

    /// With --demo, write a history of this length first, 31d at most; 0 writes none, and neither does a journal that has records
    #[arg(long, value_name = "SPAN", default_value = "7d", requires = "demo", value_parser = demo::history)]
    demo_history: Duration,

    /// The journal's file; the default is that of the configuration, or else the one in the variable QMP_JOURNAL
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,

    #[command(flatten)]
    http: EndpointArgs,

    /// For every VM, serve a QMP socket for observers at DIR/NAME.qmp, to any number of clients
    #[arg(long, value_name = "DIR")]
    relay: Option<PathBuf>,

    /// Read the page's files from a directory (crates/qmp-http/web/dist) and not from the program
    #[arg(long, value_name = "DIR", hide = true)]
    web_root: Option<PathBuf>,

    /// Check the configuration, print what would be served, and start nothing
    #[arg(long, conflicts_with = "demo")]
    check_config: bool,

    /// Print a JSON Schema of the configuration file, for editors, and start nothing
    #[arg(long, conflicts_with_all = ["demo", "check_config"])]
    print_config_schema: bool,

    /// Record no findings; the states of the VMs are still known
    #[arg(long)]
    no_findings: bool,
}

const EXAMPLES: &str = "\
Examples:
  qmp serve --demo                                                     a demonstration, without any QEMU
  qemu-system-x86_64 -qmp unix:/tmp/vm1.sock,server=on,wait=off …      a VM with a monitor for the hub
  qmp serve --attach vm1=unix:/tmp/vm1.sock
  qmp serve --attach web1=/run/web1.sock --attach db1=tcp:127.0.0.1:4444 --journal /var/lib/vms.db
  qmp serve --discover processes                                       every QEMU of this host that has a -qmp
  qmp serve --discover '/run/vm/*.sock'                                every socket that matches, also later ones
  qmp serve --config /etc/qmp-events/hub.toml --http tcp:127.0.0.1:8080
  qmp serve --attach vm1=unix:/run/vm1.sock,server=on                  QEMU dials in (reconnect=1)
  qmp serve --from nats://nats.example.org:4222                        a fleet hub: the records of other hosts

A monitor serves one client: give the hub a monitor of its own (QEMU accepts -qmp several times).";

impl Serve {
    /// Serves until a signal stops it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        if self.print_config_schema {
            return Ok(output::print(&qmp_daemon::config_schema()).map(|()| Exit::Done)?);
        }
        if self.check_config {
            return Ok(check::check(&self.configuration(None).await?));
        }
        let demo = self.demo.map(Demo::start).transpose()?;
        let config = self.configuration(demo.as_ref()).await?;
        // Closed until the start-up text is printed. A demo shows on the standard output what the log would have.
        // A rule reports the faults of its NATS server itself.
        let usually = if demo.is_some() { "warn,async_nats=off" } else { "info,async_nats=off" };
        let gate = log_format::start(terminal, usually);
        config.file_warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        overridden::log(&config);
        // Before the hub starts, so that an early signal stops it cleanly, too.
        let mut stop = StopSignals::new()?;
        let service = Service::new()?;
        Service::inherit_sockets();
        let journal = config.journal.clone();
        let vms = config.attach.clone();
        let discovery: Vec<String> = config.discover.iter().map(ToString::to_string).collect();
        let rules = described(&config);
        let takes_commands = takes_commands(&config);
        let history = match &demo {
            Some(demo) => demo.write_history(&journal, self.demo_history).await?,
            None => 0,
        };
        let hub = start(demo.as_ref(), config, terminal).await?;
        Service::close_unused_sockets();
        if std::env::var_os("JOURNAL_STREAM").is_none() {
            let (http, relays) = (hub.http(), hub.relays());
            let startup = StartupText {
                journal: &journal,
                http,
                vms: &vms,
                relays: &relays,
                discovery: &discovery,
                rules: &rules,
                takes_commands,
                demo_history: demo.as_ref().map(|_| history),
            };
            output::note(startup.text(terminal.stderr_palette(), &HubArgs::of_environment()));
        }
        drop(gate);
        let shown = async {
            match &demo {
                Some(_) => demo::show(hub.journal(), Offset(history), &vms, terminal).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            () = stop.recv() => Ok(()),
            over = service.run(&hub, async || self.configuration(demo.as_ref()).await) => over,
            shown = shown => shown,
            never = attaching::show(&hub, terminal) => match never {},
        };
        end(hub, &mut stop).await?;
        ended.map(|()| Exit::Done)
    }

    /// Reads and assembles the configuration. The file may be on a disk that does not answer, so that a separate thread
    /// reads it, while this one handles signals.
    async fn configuration(&self, demo: Option<&Demo>) -> Result<DaemonConfig, Failure> {
        let path = self.config.clone();
        let file = qmp_host::blocking(move || path.as_deref().map(ConfigFile::read).transpose()).await;
        let file = file.map_err(|error| self.wrong(&error))?;
        let paths_of_user = DefaultPaths::of_this_user();
        let command_line = CommandLine {
            attach: self.attach.iter().cloned().chain(demo.map(Demo::attach).unwrap_or_default()).collect(),
            discover: self.discover.clone(),
            from: self.from.clone(),
            journal: self.journal.clone().or_else(|| demo.map(Demo::journal)),
            http: self.http.endpoints()?,
            relay: self.relay.clone(),
            default_journal: paths::journal_of_environment().unwrap_or_else(|| paths_of_user.journal()),
            default_http: HttpEndpoint::unix(paths_of_user.hub()),
        };
        let mut config = DaemonConfig::assemble(file, command_line).map_err(|error| self.wrong(&error))?;
        config.findings &= !self.no_findings;
        config.web_root.clone_from(&self.web_root);
        if demo.is_some() {
            demo::add_page(&mut config);
        }
        // With a file, VMs may be added to it while the hub runs.
        let has_vms = !config.attach.is_empty() || !config.discover.is_empty() || !config.from.is_empty();
        if !has_vms && self.config.is_none() {
            return Err(Failure::usage("there is no VM to attach")
                .hint("qmp serve --discover processes attaches to every QEMU of this host with a free monitor")
                .hint("qmp serve --demo is a demonstration with emulated machines")
                .hint("start a VM with a monitor: qemu-system-x86_64 -qmp unix:/tmp/vm1.sock,server=on,wait=off …")
                .hint("and attach it: qmp serve --attach vm1=unix:/tmp/vm1.sock, or [[vm]] in a --config file"));
        }
        Ok(config)
    }
}

/// Whether clients may give commands to VMs of this configuration.
fn takes_commands(config: &DaemonConfig) -> bool {
    let is_without = |rule: &DiscoveryRule| matches!(rule.source, Source::Libvirt(_)) && !rule.commands;
    !config.attach.is_empty() || config.discover.is_empty() || !config.discover.iter().all(is_without)
}

impl Serve {
    /// One line for each problem of the configuration; with `--check-config`, the warnings are printed first.
    fn wrong(&self, error: &ConfigError) -> Failure {
        if self.check_config {
            error.warnings().iter().for_each(|warning| output::note(format_args!("warning: {warning}")));
        }
        let text = error.to_string();
        let mut lines = text.lines();
        let first = Failure::usage(lines.next().unwrap_or("the configuration is wrong"));
        lines.fold(first, Failure::and)
    }
}

/// Starts the hub. A journal of an earlier format is migrated, and one that was not closed is checked, which may take a while.
async fn start(
    demo: Option<&Demo>,
    config: DaemonConfig,
    terminal: &Terminal,
) -> Result<Daemon, DaemonError> {
    let progress = Progress::new(terminal, format!("opening {}", config.journal.display()));
    match demo {
        Some(demo) => progress.during(demo.start_hub(config)).await,
        None => progress.during(Daemon::start(config)).await,
    }
}

/// Stops the hub after all records are on the disk, or at once at a second signal.
async fn end(hub: Daemon, stop: &mut StopSignals) -> Result<(), Failure> {
    Service::stopping();
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        stopped = hub.stop() => stopped?,
        () = stop.recv() => return Err(Failure::failed("stopped at once; the last records may be missing")),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Names and descriptions of the rules.
fn described(config: &DaemonConfig) -> Vec<(String, String)> {
    config.rules.iter().map(|rule| (rule.name().to_owned(), rule.description())).collect()
}

/// Reads `NAME=ADDR`.
fn named_address(text: &str) -> Result<(VmName, Address), String> {
    let Some((name, address)) = text.split_once('=') else {
        return Err("expected NAME=ADDR, such as vm1=unix:/tmp/vm1.sock".into());
    };
    let name = name.parse::<VmName>().map_err(|error| error.to_string())?;
    let address = address.parse::<Address>().map_err(|error| error.to_string())?;
    Ok((name, address))
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        match error {
            DaemonError::Journal(error) => error.into(),
            DaemonError::Hub(HubStartError::DuplicateName { .. }) => Self::usage(error),
            error => Self::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_address_are_read() {
        let cases = [
            ("vm1=unix:/tmp/vm1.sock", Ok("vm1 unix:/tmp/vm1.sock")),
            ("vm1=/tmp/a=b.sock", Ok("vm1 unix:/tmp/a=b.sock")),
            ("/tmp/vm1.sock", Err("NAME=ADDR")),
            ("=unix:/x", Err("")),
            ("-x=unix:/x", Err("")),
            ("vm1=", Err("empty")),
            ("vm1=vm1.sock", Err("./vm1.sock")),
        ];
        for (text, expected) in cases {
            match (named_address(text), expected) {
                (Ok((name, address)), Ok(expected)) => assert_eq!(format!("{name} {address}"), expected),
                (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
                (result, _) => panic!("{text}: {result:?}"),
            }
        }
    }
}

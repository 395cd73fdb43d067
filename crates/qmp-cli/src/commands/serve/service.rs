//! A hub as a service: reload on SIGHUP, and notification of systemd.
//!
//! The runtime that serves notifies the watchdog while the journal's writer is alive. A restart helps against a writer that
//! died, but not against a disk that cannot be written: the hub holds the records, and a restart would lose them;
//! `/v1/health` reports that case.

use std::io::IsTerminal as _;
use std::time::Duration;

use qmp_daemon::{Daemon, DaemonConfig, ReloadReport};
use qmp_host::{InheritedListener, handed};
use qmp_hub::{STOP_COMMIT_MAX, STOP_HTTP_MAX};
use qmp_journal::Health;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::exit::Failure;
use crate::systemd::{ListenVariables, Notify, WatchdogVariables};

/// How often the status line of `systemctl status` is updated.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// The longest stop: the last records, the last findings, the clients, and the file.
const STOP_MAX: Duration =
    Duration::from_secs(2 * STOP_COMMIT_MAX.as_secs() + 2 * STOP_HTTP_MAX.as_secs() + 10);

/// The tasks of a service beside the hub.
#[derive(Debug)]
pub struct Service {
    notify: Notify,
    hangup: Signal,
    watchdog: Option<Duration>,
    /// Why the last reload failed.
    trouble: Option<String>,
    reported: String,
}

impl Service {
    /// Registers for SIGHUP, which then does not end the program.
    pub fn new() -> Result<Self, Failure> {
        let hangup = signal(SignalKind::hangup())
            .map_err(|error| Failure::failed(format_args!("cannot handle signals: {error}")))?;
        let watchdog = WatchdogVariables::of_environment().interval(std::process::id());
        Ok(Self {
            notify: Notify::of_environment(),
            hangup,
            watchdog,
            trouble: None,
            reported: String::new(),
        })
    }

    /// Takes the sockets that systemd passed.
    pub fn inherit_sockets() {
        for number in ListenVariables::of_environment().numbers(std::process::id()) {
            match InheritedListener::take(number) {
                Ok(listener) => handed::hand(listener),
                Err(error) => {
                    tracing::error!("ignored descriptor {number}, which systemd passed: {error}");
                }
            }
        }
    }

    /// Closes the inherited sockets that the configuration does not use.
    pub fn close_unused_sockets() {
        for place in handed::close_unused() {
            tracing::error!(
                "closed the socket that systemd passed at {place}, where the configuration serves nothing; add it \
                 to `http` or as a relay, or remove it from the .socket unit"
            );
        }
    }

    /// Reports that the hub serves, then reloads on SIGHUP and notifies the watchdog, without end; until its terminal is closed,
    /// if it was started in one.
    pub async fn run(
        mut self,
        hub: &Daemon,
        configuration: impl AsyncFn() -> Result<DaemonConfig, Failure>,
    ) -> Result<(), Failure> {
        self.reported = self.status(hub);
        self.notify.ready(&self.reported);
        let every = self.watchdog.map_or(STATUS_EVERY, |watchdog| watchdog.min(STATUS_EVERY));
        let mut beat = interval_at(Instant::now() + every, every);
        let has_terminal = std::io::stderr().is_terminal();
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick(), if self.notify.is_used() => self.beat(hub),
                hangup = self.hangup.recv() => match hangup {
                    // The system sends SIGHUP also when a terminal is closed.
                    Some(()) if has_terminal && !std::io::stderr().is_terminal() => return Ok(()),
                    Some(()) => self.reload(hub, configuration().await).await,
                    // No further signals; the hub continues.
                    None => std::future::pending().await,
                },
            }
        }
    }

    /// Reports that the hub stops.
    pub fn stopping() {
        Notify::of_environment().stopping(STOP_MAX);
    }

    fn beat(&mut self, hub: &Daemon) {
        if self.watchdog.is_some() && hub.journal().is_alive() {
            self.notify.watchdog();
        }
        let status = self.status(hub);
        if status != self.reported {
            self.notify.status(&status);
            self.reported = status;
        }
    }

    async fn reload(&mut self, hub: &Daemon, configuration: Result<DaemonConfig, Failure>) {
        self.notify.reloading();
        tracing::info!("reloading the configuration");
        self.trouble = match configuration {
            Ok(config) => {
                log_reload(&hub.reload(config).await);
                None
            }
            Err(failure) => {
                failure.messages().iter().for_each(|line| tracing::error!("{line}"));
                tracing::error!("nothing was reloaded: the hub continues with its configuration");
                failure.messages().first().map(|line| format!("not reloaded: {line}"))
            }
        };
        self.reported = self.status(hub);
        self.notify.ready(&self.reported);
    }

    fn status(&self, hub: &Daemon) -> String {
        let (attached, all) = hub.attached();
        let head = hub.journal().head().0;
        let mut status = format!("{attached} of {all} VMs attached; {head} records");
        let health = hub.journal().health();
        if *health.borrow() != Health::Writing {
            status += &format!("; the journal: {}", *health.borrow());
        }
        if let Some(trouble) = &self.trouble {
            status += &format!("; {trouble}");
        }
        status
    }
}

fn log_reload(report: &ReloadReport) {
    let vms = [
        ("followed", &report.added),
        ("left", &report.removed),
        ("followed anew", &report.changed),
        ("served at other relays", &report.relayed),
    ];
    for (what, names) in vms {
        for name in names {
            tracing::info!(vm = %name, "{name}: {what}");
        }
    }
    for (name, error) in &report.refused {
        tracing::error!(vm = %name, "{name}: {error}");
    }
    for key in &report.unchangeable {
        tracing::warn!("`{key}` differs, and takes effect when the hub is restarted");
    }
    if report.discovery {
        tracing::info!("VMs are discovered by the new [[discover]]");
    }
    if report.silence {
        tracing::info!("VMs are probed by the new `silent-after`");
    }
    if report.retention {
        tracing::info!("records are kept by the new [retention]");
    }
    let rules = [
        ("added", &report.rules.added),
        ("changed", &report.rules.changed),
        ("removed", &report.rules.removed),
    ];
    for (what, names) in rules {
        for name in names {
            tracing::info!("rule {name}: {what}");
        }
    }
    if let Some(error) = &report.rules_refused {
        tracing::error!("the rules are unchanged: {error}");
    }
    if let Some(error) = &report.state_rules_refused {
        tracing::error!("alerts are raised by the rules on states from before: {error}");
    }
    match report.refused.len() {
        0 if report.is_nothing() => tracing::info!("reloaded: nothing differs"),
        0 => tracing::info!("reloaded"),
        refused => tracing::warn!("reloaded, but for {refused} VMs"),
    }
}

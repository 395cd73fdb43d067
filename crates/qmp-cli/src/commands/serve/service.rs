//! A hub that runs as a service: it reloads on SIGHUP, and tells systemd how it is.
//!
//! The watchdog is shown a sign of life by the runtime that serves, as long as the journal's writer lives. A writer
//! that died is what a restart helps against. A disk that takes nothing is not: the hub keeps what comes, and a
//! restart would lose it; that is what `/v1/health` is for.

use std::io::IsTerminal as _;
use std::time::Duration;

use qmp_daemon::{Daemon, DaemonConfig, Reloaded};
use qmp_host::{InheritedListener, handed};
use qmp_hub::{STOP_COMMIT_MAX, STOP_HTTP_MAX};
use qmp_journal::Health;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::exit::Failure;
use crate::systemd::{ListenVariables, Notify, WatchdogVariables};

/// How often the line of `systemctl status` is looked at.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// How long a stop may take: the last records, the last findings, the clients, and the file.
const STOP_MAX: Duration =
    Duration::from_secs(2 * STOP_COMMIT_MAX.as_secs() + 2 * STOP_HTTP_MAX.as_secs() + 10);

/// What goes on beside the hub.
#[derive(Debug)]
pub struct Service {
    notify: Notify,
    hangup: Signal,
    watchdog: Option<Duration>,
    /// Why the last reload changed nothing.
    trouble: Option<String>,
    told: String,
}

impl Service {
    /// Takes SIGHUP, which does not end the program from here on.
    pub fn new() -> Result<Self, Failure> {
        let hangup = signal(SignalKind::hangup())
            .map_err(|error| Failure::failed(format_args!("cannot take signals: {error}")))?;
        let watchdog = WatchdogVariables::of_environment().interval(std::process::id());
        Ok(Self { notify: Notify::of_environment(), hangup, watchdog, trouble: None, told: String::new() })
    }

    /// Takes the sockets over that systemd made.
    pub fn take_sockets() {
        for number in ListenVariables::of_environment().numbers(std::process::id()) {
            match InheritedListener::take(number) {
                Ok(listener) => handed::hand(listener),
                Err(error) => {
                    tracing::error!("descriptor {number}, which systemd handed over, is left alone: {error}");
                }
            }
        }
    }

    /// Closes those that the configuration does not want.
    pub fn refuse_sockets() {
        for place in handed::close_unused() {
            tracing::error!(
                "systemd handed over a socket at {place}, where the configuration serves nothing: it is closed; add it \
                 to `http` or as a relay, or take it out of the .socket unit"
            );
        }
    }

    /// Says that the hub serves, and then reloads when it is told to and shows signs of life, for ever; until its
    /// terminal goes away, if it was started in one.
    pub async fn run(
        mut self,
        hub: &Daemon,
        configuration: impl Fn() -> Result<DaemonConfig, Failure>,
    ) -> Result<(), Failure> {
        self.told = self.status(hub);
        self.notify.ready(&self.told);
        let every = self.watchdog.map_or(STATUS_EVERY, |watchdog| watchdog.min(STATUS_EVERY));
        let mut beat = interval_at(Instant::now() + every, every);
        let has_terminal = std::io::stderr().is_terminal();
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick(), if self.notify.is_used() => self.beat(hub),
                hangup = self.hangup.recv() => match hangup {
                    // The system sends this when a terminal is closed, too.
                    Some(()) if has_terminal && !std::io::stderr().is_terminal() => return Ok(()),
                    Some(()) => self.reload(hub, configuration()).await,
                    // No signal will ever come; the hub goes on.
                    None => std::future::pending().await,
                },
            }
        }
    }

    /// Says that the hub stops.
    pub fn stopping() {
        Notify::of_environment().stopping(STOP_MAX);
    }

    fn beat(&mut self, hub: &Daemon) {
        if self.watchdog.is_some() && hub.journal().is_alive() {
            self.notify.watchdog();
        }
        let status = self.status(hub);
        if status != self.told {
            self.notify.status(&status);
            self.told = status;
        }
    }

    async fn reload(&mut self, hub: &Daemon, configuration: Result<DaemonConfig, Failure>) {
        self.notify.reloading();
        tracing::info!("reloading the configuration");
        self.trouble = match configuration {
            Ok(config) => {
                told(&hub.reload(config).await);
                None
            }
            Err(failure) => {
                failure.messages().iter().for_each(|line| tracing::error!("{line}"));
                tracing::error!("nothing was reloaded: the hub goes on with what it had");
                failure.messages().first().map(|line| format!("not reloaded: {line}"))
            }
        };
        self.told = self.status(hub);
        self.notify.ready(&self.told);
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

fn told(done: &Reloaded) {
    let vms = [
        ("followed", &done.added),
        ("left", &done.removed),
        ("followed anew", &done.changed),
        ("served at other relays", &done.relayed),
    ];
    for (what, names) in vms {
        for name in names {
            tracing::info!(vm = %name, "{name}: {what}");
        }
    }
    for (name, error) in &done.refused {
        tracing::error!(vm = %name, "{name}: {error}");
    }
    for key in &done.unchangeable {
        tracing::warn!("`{key}` differs, and stays as it is until the hub is restarted");
    }
    if done.discovery {
        tracing::info!("VMs are looked for by the new [[discover]]");
    }
    if done.silence {
        tracing::info!("VMs are probed by the new `silent-after`");
    }
    if done.retention {
        tracing::info!("records are kept by the new [retention]");
    }
    let rules =
        [("added", &done.rules.added), ("changed", &done.rules.changed), ("removed", &done.rules.removed)];
    for (what, names) in rules {
        for name in names {
            tracing::info!("rule {name}: {what}");
        }
    }
    if let Some(error) = &done.rules_refused {
        tracing::error!("the rules stay as they were: {error}");
    }
    match done.refused.len() {
        0 if done.is_nothing() => tracing::info!("reloaded: nothing differs"),
        0 => tracing::info!("reloaded"),
        refused => tracing::warn!("reloaded, but for {refused} VMs"),
    }
}

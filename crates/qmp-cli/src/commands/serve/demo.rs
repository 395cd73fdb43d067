//! `qmp serve --demo`: a hub with emulated machines that play the built-in scripts.

mod random;
mod calendar;
mod story;
mod past;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use qmp_client::Address;
use qmp_daemon::{Daemon, DaemonConfig, DaemonError};
use qmp_host::clock;
use qmp_http::{HttpAddress, HttpEndpoint, ListenError};
use qmp_hub::VmName;
use qmp_journal::{Journal, Query};
use qmp_machine::MachineConfig;
use qmp_machine::script::{Emulation, EmulationConfig, bundled};
use qmp_wire::{Offset, UnixMicros};
use tempfile::TempDir;

use self::past::Machine;
use crate::commands::emulate;
use crate::exit::Failure;
use crate::output::{Format, Output};
use crate::render::Renderer;
use crate::terminal::Terminal;
use crate::time::span;

/// The names of the machines and their scripts. Further machines repeat the list, with other seeds.
const CAST: [(&str, &str); 9] = [
    ("web1", "day"),
    ("db1", "io-errors"),
    ("build1", "watchdog-loop"),
    ("mail1", "migration"),
    ("desktop1", "unplug-race"),
    ("router1", "reboot-loop"),
    ("test1", "panic"),
    ("backup1", "jobs"),
    ("desktop2", "console"),
];

/// The most machines: more show nothing further, and each has a few threads.
const MACHINES_MAX: usize = 100;

/// The machines, and the directory of their sockets.
#[derive(Debug)]
pub struct Demo {
    // Fields are dropped in order: the machines before the directory of their sockets.
    machines: Vec<(VmName, Address, Emulation)>,
    directory: TempDir,
    /// The machines as their history has them.
    past: Vec<Machine>,
}

/// The longest history: at 100 machines, some 100,000 records.
const HISTORY_MAX: Duration = Duration::from_secs(31 * 86_400);

/// Reads the length of a history.
pub fn history(text: &str) -> Result<Duration, String> {
    match span::parse_or_seconds(text) {
        Ok(length) if length <= HISTORY_MAX => Ok(length),
        Ok(_) => Err("expected 31d at most".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads the number of machines.
pub fn machines(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(machines @ 1..=MACHINES_MAX) => Ok(machines),
        _ => Err(format!("expected a number of machines, 1 to {MACHINES_MAX}")),
    }
}

impl Demo {
    /// Starts `machines` machines.
    pub fn start(machines: usize) -> Result<Self, Failure> {
        let directory = tempfile::Builder::new().prefix("qmp-demo-").tempdir().map_err(|error| {
            Failure::failed(format_args!("cannot make a directory for the demo: {error}"))
        })?;
        let mut demo = Self { machines: Vec::new(), directory, past: Vec::new() };
        for number in 0..machines {
            demo.add(number)?;
        }
        Ok(demo)
    }

    fn add(&mut self, number: usize) -> Result<(), Failure> {
        let (name, script) = CAST[number % CAST.len()];
        let round = number / CAST.len();
        let name = if round == 0 { name.to_owned() } else { format!("{name}-{}", round + 1) };
        let path = self.directory.path().join(format!("{name}.sock"));
        let address = Address::Unix { path, listen: false };
        let machine = MachineConfig::default()
            .with_name(&name)
            .with_uuid(&format!("00000000-0000-4000-8000-{:012}", number + 1));
        let config = EmulationConfig {
            script: bundled::find(script).map(bundled::BundledScript::script),
            seed: Some(u64::try_from(number).unwrap_or(0)),
            ..EmulationConfig::new(machine)
        };
        self.past.push(Machine {
            name: name.as_str().into(),
            script,
            uuid: config.machine.uuid.clone(),
            address: address.to_string().into(),
            seed: u64::try_from(number).unwrap_or(0),
        });
        let emulation = emulate::start(config, &address, Some(&name))?;
        let name = name.parse().map_err(|error| Failure::failed(format_args!("{error}")))?;
        self.machines.push((name, address, emulation));
        Ok(())
    }

    /// The machines' names and addresses, for the hub.
    pub fn attach(&self) -> Vec<(VmName, Address)> {
        self.machines.iter().map(|(name, address, _)| (name.clone(), address.clone())).collect()
    }

    /// The journal of the demo.
    pub fn journal(&self) -> PathBuf {
        self.directory.path().join("journal.db")
    }

    /// Writes a history of that length into a journal without records. Returns the number of its records; 0 if there is none.
    pub async fn write_history(&self, journal: &Path, length: Duration) -> Result<u64, Failure> {
        if length.is_zero() {
            return Ok(0);
        }
        let now = clock::now();
        let length = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        past::write(journal, &self.past, UnixMicros(now.0.saturating_sub(length)), now).await
    }

    /// Starts the hub; if it cannot listen at its address, at a socket of the demo.
    pub async fn start_hub(&self, config: DaemonConfig) -> Result<Daemon, DaemonError> {
        match Daemon::start(config.clone()).await {
            // Errors of credentials are returned: the hub must not serve without those that were configured.
            Err(DaemonError::Listen(error)) if !matches!(error, ListenError::Credentials { .. }) => {
                let http = HttpEndpoint::unix(self.directory.path().join("hub.sock"));
                let mut config = DaemonConfig { http: vec![http], ..config };
                add_page(&mut config);
                Daemon::start(config).await
            }
            started => started,
        }
    }
}

/// Adds a free port of this host for the page, unless a port is configured. It permits reading only.
pub fn add_page(config: &mut DaemonConfig) {
    let free_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    if !config.http.iter().any(|endpoint| matches!(endpoint.address(), HttpAddress::Tcp(_))) {
        config.http.extend(HttpEndpoint::new(HttpAddress::Tcp(free_port), None, None));
    }
}

/// Shows the journal's records after an offset on the standard output, without end.
pub async fn show(
    journal: &Journal,
    after: Offset,
    vms: &[(VmName, Address)],
    terminal: &Terminal,
) -> Result<(), Failure> {
    let mut output = Output::new(Format::default().renderer(terminal));
    if let Renderer::Human(human) = output.renderer() {
        vms.iter().for_each(|(name, _)| human.expect_vm(name.as_str()));
    }
    let mut cursor = journal.reader().cursor(Query::default(), after);
    loop {
        for record in cursor.next_batch(1000)? {
            output.record(&record)?;
        }
        output.flush()?;
        cursor.wait().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_of_the_cast_has_a_script_and_a_valid_name() {
        for (name, script) in CAST {
            assert!(name.parse::<VmName>().is_ok(), "{name}");
            assert!(bundled::find(script).is_some(), "{script}");
        }
    }

    #[test]
    fn number_of_machines_is_bounded() {
        let cases = [("1", Some(1)), ("100", Some(100)), ("0", None), ("101", None), ("x", None), ("", None)];
        for (text, expected) in cases {
            assert_eq!(machines(text).ok(), expected, "{text}");
        }
        let cases =
            [("7d", Some(604_800)), ("0", Some(0)), ("31d", Some(2_678_400)), ("32d", None), ("x", None)];
        for (text, seconds) in cases {
            assert_eq!(history(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }
}

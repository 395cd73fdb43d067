//! Why a monitor accepts connections and does not greet.
//!
//! Three causes look the same to a client: another client uses the monitor, which serves one; QEMU hangs; the socket is not
//! a monitor. On its own host the hub distinguishes them by what the system shows of the socket and of the listening
//! process; without that evidence, the text names all three.

mod clients;
mod holders;
mod tcp;
mod unix_diag;

use std::io;
use std::path::Path;

use qmp_client::Address;
use qmp_host::process::ProcessStat;

use crate::layout;
use crate::qemu_command::Purpose;
use crate::reason;
use clients::Clients;

/// Why a monitor does not greet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoGreetingCause {
    /// The reason as a word, a constant of `reason`.
    pub(crate) reason: &'static str,
    /// For people: the evidence, and what to do.
    pub(crate) text: String,
}

/// The evidence on this host.
#[derive(Debug, Default)]
struct Evidence {
    /// The process that listens at the address.
    listener: Option<ProcessStat>,
    /// The purpose of the socket in the command line of the listening QEMU.
    purpose: Option<Purpose>,
    /// Whether the path is in the layout of a program that runs VMs.
    is_monitor_path: bool,
    /// The connections to the address; `None` if the host does not show them.
    clients: Option<Clients>,
}

/// Collects the evidence on this host about the monitor of `vm`. Blocks, for milliseconds if there are thousands of processes.
pub(crate) fn look(address: &Address, vm: &str) -> NoGreetingCause {
    Evidence::gather(address).judge(&advice_for(address).replace("NAME", vm))
}

/// Why the monitor at an address does not greet, as far as this host shows, and what to do: `advice`, or the hub's own.
/// Blocks, for milliseconds.
#[must_use]
pub fn no_greeting_cause(address: &Address, advice: Option<&str>) -> String {
    Evidence::gather(address).judge(advice.unwrap_or_else(|| advice_for(address))).text
}

fn advice_for(address: &Address) -> &'static str {
    layout::advice(match address {
        Address::Unix { path, .. } => Some(path),
        _ => None,
    })
}

/// Whether a process listens at this path, as far as this network namespace shows.
///
/// # Errors
///
/// Those of the system: the file does not exist, or the kernel does not answer.
pub(crate) fn is_listened_at(path: &Path) -> io::Result<bool> {
    unix_diag::clients(path).map(|clients| clients.is_some())
}

impl Evidence {
    fn gather(address: &Address) -> Self {
        let mut clients = match address {
            Address::Unix { path, .. } => unix_diag::clients(path).ok().flatten(),
            Address::Tcp { host, port, .. } => tcp::clients(host, *port),
            Address::Fd { .. } => None,
        };
        // The listener at a port of another host is not a process of this host.
        if matches!(address, Address::Tcp { .. }) && clients.is_none() {
            return Self::default();
        }
        let (listener, purpose) = match holders::by_command_line(address) {
            Some((process, purpose)) => (Some(process), Some(purpose)),
            None => (None, None),
        };
        let is_monitor_path = match address {
            Address::Unix { path, .. } => layout::owner(path).is_some(),
            _ => false,
        };
        let holders = clients.as_mut().and_then(|clients| holders::name_holders(clients, listener.is_none()));
        Self { listener: listener.or(holders), purpose, is_monitor_path, clients }
    }

    fn judge(&self, advice: &str) -> NoGreetingCause {
        let who =
            self.listener.as_ref().map_or_else(|| "what listens there".to_owned(), ProcessStat::to_string);
        let taken = |reason, text| NoGreetingCause { reason, text };
        if let Some(process) = self.listener.as_ref().filter(|process| process.is_stopped()) {
            let pid = process.pid;
            let text =
                format!("{who} is stopped (by SIGSTOP or a debugger): `kill -CONT {pid}` lets it go on");
            return taken(reason::HUNG, text);
        }
        if let Some(Purpose::Other(option)) = &self.purpose {
            let text = format!(
                "this socket is no monitor: {who} has it for {option}; give the path of its -qmp option, or start it with one"
            );
            return taken(reason::NOT_A_MONITOR, text);
        }
        if let Some(client) = self.clients.as_ref().and_then(|clients| clients.connected.first()) {
            let holder = client.process.as_ref();
            if let Some(this) = holder.filter(|process| process.pid == std::process::id()) {
                let text = format!(
                    "{this}, which is this hub, is connected: it has this monitor already, under another name or path; remove \
                     one of the two"
                );
                return taken(reason::HELD, text);
            }
            let holder = holder.map(|process| format!("{process} is connected; "));
            return taken(reason::HELD, format!("{}{advice}", holder.unwrap_or_default()));
        }
        if self.listener.as_ref().is_some_and(ProcessStat::is_uninterruptible) {
            let text =
                format!("{who} waits in the kernel for a disk or a device (state D): look at its storage");
            return taken(reason::HUNG, text);
        }
        match (&self.clients, &self.purpose) {
            (Some(clients), None) if clients.abandoned > 0 && !self.is_monitor_path => {
                let text = format!(
                    "this socket is no monitor: {who} accepts connections and sends no greeting; give the path of a -qmp option"
                );
                taken(reason::NOT_A_MONITOR, text)
            }
            (Some(clients), Some(Purpose::Monitor)) if clients.waiting > 0 => {
                let text = format!(
                    "{who} accepts no connections, and no client holds the monitor: its main loop is busy or stuck"
                );
                taken(reason::HUNG, text)
            }
            _ => taken(reason::UNCLEAR, unclear(self.listener.as_ref(), advice)),
        }
    }
}

fn unclear(listener: Option<&ProcessStat>, advice: &str) -> String {
    let who = listener.map(|process| format!(" ({process} listens there)"));
    format!(
        "no greeting, which is one of these{}: another client holds the monitor ({advice}); QEMU hangs; or the socket is no \
         monitor",
        who.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::clients::Client;
    use super::*;

    #[test]
    fn reason_follows_from_what_the_host_shows() {
        let process = |state| Some(ProcessStat { pid: 7, name: "qemu".into(), state, start_ticks: 1 });
        let other = || Some(Purpose::Other("-device x".into()));
        let clients = |connected: usize, abandoned, waiting| {
            let client = |inode| Client { inode, process: None };
            Some(Clients {
                listener: 1,
                connected: (0..connected as u64).map(client).collect(),
                abandoned,
                waiting,
            })
        };
        let monitor = || Some(Purpose::Monitor);
        let cases = [
            // name                        process        purpose    connections           reason
            ("nothing is known", None, None, None, reason::UNCLEAR),
            ("stopped", process('T'), monitor(), clients(0, 0, 1), reason::HUNG),
            ("stopped by a debugger", process('t'), monitor(), None, reason::HUNG),
            ("stopped while it is held", process('T'), monitor(), clients(1, 0, 1), reason::HUNG),
            ("guest agent", process('S'), other(), clients(0, 0, 0), reason::NOT_A_MONITOR),
            ("guest agent in use", process('S'), other(), clients(1, 0, 1), reason::NOT_A_MONITOR),
            ("held", process('S'), monitor(), clients(1, 0, 1), reason::HELD),
            ("held, of another user", None, None, clients(1, 0, 1), reason::HELD),
            ("held while it waits for a disk", process('D'), monitor(), clients(1, 0, 1), reason::HELD),
            ("waits for a disk", process('D'), monitor(), clients(0, 0, 1), reason::HUNG),
            ("QEMU that does not accept", process('R'), monitor(), clients(0, 0, 1), reason::HUNG),
            ("another program that does not accept", process('S'), None, clients(0, 0, 1), reason::UNCLEAR),
            ("another program that accepts", process('S'), None, clients(0, 1, 0), reason::NOT_A_MONITOR),
            ("another program, at a path of monitors", process('S'), None, clients(0, 1, 0), reason::UNCLEAR),
            ("free by now", process('S'), monitor(), clients(0, 0, 0), reason::UNCLEAR),
            ("another program, nothing is left", process('S'), None, clients(0, 0, 0), reason::UNCLEAR),
        ];
        for (name, listener, purpose, clients, expected) in cases {
            let taken = Evidence { listener, purpose, clients, is_monitor_path: name.contains("path") }
                .judge("ADVICE");
            assert_eq!(taken.reason, expected, "{name}: {}", taken.text);
            let has_advice = [reason::HELD, reason::UNCLEAR].contains(&expected);
            assert_eq!(taken.text.contains("ADVICE"), has_advice, "{name}: {}", taken.text);
        }
    }

    #[test]
    fn texts_say_what_to_do() {
        let process = |state| ProcessStat { pid: 7, name: "qemu-system-x86".into(), state, start_ticks: 1 };
        let text = |evidence: Evidence| evidence.judge("give the VM another").text;
        insta::assert_snapshot!(text(Evidence { listener: Some(process('T')), ..Evidence::default() }), @"process 7 (qemu-system-x86) is stopped (by SIGSTOP or a debugger): `kill -CONT 7` lets it go on");
        insta::assert_snapshot!(text(Evidence { listener: Some(process('S')), ..Evidence::default() }), @"no greeting, which is one of these (process 7 (qemu-system-x86) listens there): another client holds the monitor (give the VM another); QEMU hangs; or the socket is no monitor");
        let held = Clients {
            listener: 1,
            connected: vec![Client {
                inode: 2,
                process: Some(ProcessStat { pid: 8, name: "socat".into(), ..process('S') }),
            }],
            abandoned: 0,
            waiting: 1,
        };
        insta::assert_snapshot!(text(Evidence { clients: Some(held), ..Evidence::default() }), @"process 8 (socat) is connected; give the VM another");
    }

    #[test]
    fn hub_that_holds_a_monitor_itself_says_so() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("binds");
        let _client = std::os::unix::net::UnixStream::connect(&path).expect("connects");
        let _accepted = listener.accept().expect("accepts");
        let cause = look(&Address::Unix { path, listen: false }, "vm1");
        assert_eq!(cause.reason, reason::HELD);
        let (pid, text) = (std::process::id(), &cause.text);
        assert!(
            text.starts_with(&format!("process {pid} (")) && text.contains("which is this hub"),
            "{text}"
        );
        assert!(!text.contains("somebody else"), "{text}");
    }
}

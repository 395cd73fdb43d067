//! A source: the QEMUs that run on this host, and the monitors that their command lines name.
//!
//! The process shows the file system and the network of its QEMU: if they differ from those of the hub, its paths are reached
//! through `/proc/PID/root`, and its ports are unreachable. The monitor that a program such as Proxmox or Incus uses for itself
//! is skipped, because it serves one client.

use std::collections::HashSet;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use qmp_client::Address;

use super::rule::DiscoveryRule;
use super::vm_source::{DiscoveredVm, VmSource, at};
use crate::layout::{self, Layout, Parts};
use crate::qemu_command::{self, MonitorAt, QemuCommand, Unreachable};

/// How often the processes are scanned. A scan of 500 processes takes some milliseconds.
const PROCESSES_INTERVAL: Duration = Duration::from_secs(1);

/// The longest command line that is read, in bytes. Source: Linux, `MAX_ARG_STRLEN` for a single argument is 128 KiB;
/// QEMUs with hundreds of devices have some 50 KiB.
const COMMAND_LINE_MAX_BYTES: u64 = 1 << 20;

/// Advice about a QEMU without a free monitor.
const GIVE_IT_ONE: &str = "start it with -qmp unix:/run/qmp-events/vm/NAME.sock,server=on,wait=off";

/// Processes whose log line is remembered, at most.
const SAID_MAX: usize = 4_096;

/// The QEMUs among the processes.
#[derive(Debug)]
pub(super) struct Processes {
    proc: PathBuf,
    rule: Arc<DiscoveryRule>,
    /// Processes that were logged as not followed.
    said: HashSet<Box<str>>,
}

impl Processes {
    /// The QEMUs of this host. A QEMU that the rule excludes is not logged.
    pub(super) fn new(rule: Arc<DiscoveryRule>) -> Self {
        Self { proc: "/proc".into(), rule, said: HashSet::new() }
    }

    fn found(&mut self, pid: &str) -> Option<DiscoveredVm> {
        let process = self.proc.join(pid);
        let line = read_bounded(&process.join("cmdline")).ok()?;
        let command = read_command_line(&process, &line)?;
        let key = format!("{pid}/{}", start_time(&process)?);
        let mut reasons = Vec::new();
        let mut monitors = Vec::new();
        for monitor in &command.monitors {
            match self.address(&process, monitor) {
                Ok(address) if monitors.contains(&address) => {}
                Ok(address) => monitors.push(address),
                Err(reason) => reasons.push(reason),
            }
        }
        let uuid = command.uuid.unwrap_or_default();
        let uuid_as_name = Some(uuid.clone()).filter(|uuid| !uuid.is_empty());
        let name = command.name.or(uuid_as_name).unwrap_or_else(|| format!("pid-{pid}"));
        let directory = std::fs::read_link(process.join("cwd")).unwrap_or_default();
        let directory = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parts = Parts { name, stem: pid.to_owned(), directory, uuid, ..Parts::default() };
        if monitors.is_empty() {
            if !self.rule.excludes(&parts) {
                self.say(&key, pid, &parts.name, &reasons);
            }
            return None;
        }
        Some(DiscoveredVm { key: key.into(), parts, monitors })
    }

    /// The address at which the hub reaches a monitor.
    fn address(&self, process: &Path, monitor: &MonitorAt) -> Result<Address, String> {
        match monitor {
            MonitorAt::Unix(path) => {
                // The program that started the QEMU needs this monitor itself.
                if let Some(layout) = layout::owner(path) {
                    return Err(layout.advice().to_owned());
                }
                let path = if path.is_relative() {
                    let directory = std::fs::read_link(process.join("cwd"));
                    directory
                        .map_err(|error| {
                            format!("the directory of {} cannot be told: {error}", path.display())
                        })?
                        .join(path)
                } else {
                    path.clone()
                };
                if self.shares(process, "mnt") {
                    return Ok(at(path));
                }
                Ok(at(process.join("root").join(path.strip_prefix("/").unwrap_or(&path))))
            }
            MonitorAt::Tcp { .. } if !self.shares(process, "net") => {
                Err("its port is in a network of its own".to_owned())
            }
            MonitorAt::Tcp { host, port } => {
                Ok(Address::Tcp { host: host.clone(), port: *port, listen: false })
            }
            MonitorAt::Unreachable(why) => {
                let why = match why {
                    // Only libvirt is known to do that.
                    Unreachable::Descriptor => return Err(Layout::Libvirt.advice().to_owned()),
                    // It may dial in to another rule of this hub, which logs the connection.
                    Unreachable::DialsOut => {
                        "its monitor dials out, and is followed if it comes to this hub; else"
                    }
                    Unreachable::NoSocket => "a monitor of it is no socket;",
                };
                Err(format!("{why} {GIVE_IT_ONE}"))
            }
        }
    }

    /// Whether that process has the hub's own file system or network. Assumed if `/proc` does not show it.
    fn shares(&self, process: &Path, kind: &str) -> bool {
        let of = |process: &Path| std::fs::read_link(process.join("ns").join(kind)).ok();
        match (of(process), of(Path::new("/proc/self"))) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => true,
        }
    }

    fn say(&mut self, key: &str, pid: &str, name: &str, reasons: &[String]) {
        if self.said.len() >= SAID_MAX || !self.said.insert(key.into()) {
            return;
        }
        let reason = match reasons {
            [] => format!("it has no QMP monitor; {GIVE_IT_ONE}"),
            reasons => reasons.join("; "),
        };
        let reason = reason.replace("NAME", name);
        tracing::info!("the QEMU {name:?} (process {pid}) is left alone: {reason}");
    }
}

impl VmSource for Processes {
    fn look(&mut self) -> Vec<DiscoveredVm> {
        let Ok(entries) = std::fs::read_dir(&self.proc) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut pids: Vec<u32> = names.filter_map(|name| name.parse().ok()).collect();
        // Older processes first, so that their names get no number.
        pids.sort_unstable();
        pids.iter().filter_map(|pid| self.found(&pid.to_string())).collect()
    }

    fn gone(&self) -> &'static str {
        "its process has ended"
    }

    fn set_rule(&mut self, rule: &Arc<DiscoveryRule>) {
        self.rule = Arc::clone(rule);
    }

    async fn changed(&mut self) {
        tokio::time::sleep(PROCESSES_INTERVAL).await;
    }
}

/// The VM's name in the command line of a process; for a VM that dialled in and reported no name.
pub(super) fn name_of(pid: i32) -> Option<String> {
    let process = Path::new("/proc").join(pid.to_string());
    let command = read_command_line(&process, &read_bounded(&process.join("cmdline")).ok()?)?;
    command.name.or(command.uuid)
}

/// Reads the command line of a QEMU; `None` for any other program.
fn read_command_line(process: &Path, line: &[u8]) -> Option<QemuCommand> {
    let mut arguments = line.strip_suffix(&[0]).unwrap_or(line).split(|byte| *byte == 0);
    let program = arguments.next()?;
    let arguments: Vec<&[u8]> = arguments.collect();
    // A program with another name may be a QEMU if it has such options.
    let has_monitor =
        || arguments.iter().any(|word| matches!(*word, b"-qmp" | b"-mon" | b"--qmp" | b"--mon"));
    let is_qemu = qemu_command::is_qemu(program)
        || has_monitor()
            && std::fs::read_link(process.join("exe"))
                .is_ok_and(|program| qemu_command::is_qemu(program.as_os_str().as_bytes()));
    is_qemu.then(|| qemu_command::read(&arguments))
}

/// When the process started, in ticks since the host did: unique together with the number of the process.
fn start_time(process: &Path) -> Option<u64> {
    let stat = read_bounded(&process.join("stat")).ok()?;
    // The second field is the program's name in parentheses, with any characters.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 2..)?).ok()?;
    rest.split(' ').nth(19)?.parse().ok()
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(COMMAND_LINE_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use qmp_journal::Globs;

    use super::*;
    use crate::discovery::Source;

    /// A process in a made-up /proc.
    fn process(proc: &Path, pid: u32, arguments: &[&str]) {
        let home = proc.join(pid.to_string());
        std::fs::create_dir_all(home.join("ns")).expect("made");
        let line: String = arguments.iter().map(|argument| format!("{argument}\0")).collect();
        std::fs::write(home.join("cmdline"), line).expect("written");
        let stat = format!("{pid} (a) b (c) S 1 1 1 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 {} 0", 7_000 + pid);
        std::fs::write(home.join("stat"), stat).expect("written");
        symlink("/srv/vms", home.join("cwd")).expect("linked");
        for kind in ["mnt", "net"] {
            let own = std::fs::read_link(Path::new("/proc/self/ns").join(kind)).expect("a namespace");
            symlink(own, home.join("ns").join(kind)).expect("linked");
        }
    }

    #[test]
    fn qemus_are_found_among_processes() {
        let home = tempfile::tempdir().expect("a directory");
        let proc = home.path();
        process(proc, 1, &["/sbin/init"]);
        process(
            proc,
            20,
            &["/usr/bin/qemu-system-x86_64", "-name", "web1", "-qmp", "unix:/run/web1.sock,server=on"],
        );
        process(
            proc,
            3,
            &["qemu-kvm", "-uuid", "u-u", "-qmp", "unix:run/b.sock,server=on", "-qmp", "tcp::4444,server"],
        );
        process(proc, 4, &["kvm", "-qmp", "stdio"]);
        let proxmox = "socket,id=q,path=/var/run/qemu-server/100.qmp,server=on,wait=off";
        process(proc, 9, &["kvm", "-id", "100", "-chardev", proxmox, "-mon", "chardev=q,mode=control"]);
        process(proc, 5, &["sh", "-c", "qemu-system-x86_64 -qmp unix:/x,server=on"]);
        process(proc, 6, &["renamed", "-qmp", "unix:/run/c.sock,server=on"]);
        symlink("/usr/bin/qemu-system-arm", proc.join("6/exe")).expect("linked");
        process(
            proc,
            7,
            &["kvm", "-name", "boxed", "-qmp", "unix:/run/d.sock,server=on", "-qmp", "tcp::1,server"],
        );
        for kind in ["mnt", "net"] {
            std::fs::remove_file(proc.join("7/ns").join(kind)).expect("removed");
            symlink(format!("{kind}:[1]"), proc.join("7/ns").join(kind)).expect("linked");
        }
        std::fs::create_dir(proc.join("8")).expect("made");
        process(proc, 10, &["kvm", "-name", "test-1", "-qmp", "stdio"]);
        let excluded = Globs::parse(["test-*"]).expect("a pattern");
        let rule = DiscoveryRule { exclude: Some(excluded), ..DiscoveryRule::new(Source::Processes) };
        let mut processes = Processes { proc: proc.to_owned(), rule: Arc::new(rule), said: HashSet::new() };
        let shown: Vec<String> = processes.look().iter().map(shown).collect();
        let boxed = format!("7/7007 boxed unix:{}/7/root/run/d.sock", proc.display());
        let expected = [
            "3/7003 u-u unix:/srv/vms/run/b.sock tcp:127.0.0.1:4444",
            "6/7006 pid-6 unix:/run/c.sock",
            &boxed,
            "20/7020 web1 unix:/run/web1.sock",
        ];
        assert_eq!(shown, expected);
        let said: std::collections::BTreeSet<&str> = processes.said.iter().map(|key| &**key).collect();
        assert_eq!(said.into_iter().collect::<Vec<_>>(), ["4/7004", "9/7009"]);
    }

    fn shown(found: &DiscoveredVm) -> String {
        let monitors: String = found.monitors.iter().map(|monitor| format!(" {monitor}")).collect();
        format!("{} {}{monitors}", found.key, found.parts.name)
    }
}

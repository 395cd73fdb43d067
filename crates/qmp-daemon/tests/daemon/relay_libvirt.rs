//! libvirt at a relay: the same commands to the same domain must print the same text and lead to the same events with
//! libvirt at the VM's own monitor and at a relay in its place. Skipped without `libvirtd`, unless `CI` is set.
//!
//! The domain is switched while libvirtd is stopped, as an operator does it: the socket of its monitor is renamed,
//! and a relay listens under the old name. libvirtd finds its domains again by that name.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::Watcher;
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_hub::relay::{RelayConfig, Role};
use qmp_journal::Globs;
use qmp_testing::wait_for;

/// The path in Debian, which may be missing from a user's PATH.
const LIBVIRTD: &str = "/usr/sbin/libvirtd";

/// The user `nobody` of Debian, because root's libvirtd would be the one of the system.
const NOBODY: u32 = 65534;

const DOMAIN: &str = r"<domain type='qemu'>
  <name>vm1</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices>
</domain>";

/// The commands for the domain; `HOME` is the test's directory.
const COMMANDS: [&[&str]; 21] = [
    &["domstate", "vm1", "--reason"],
    &["suspend", "vm1"],
    &["domstate", "vm1", "--reason"],
    &["resume", "vm1"],
    &["domstate", "vm1", "--reason"],
    &["qemu-monitor-command", "vm1", r#"{"execute": "query-status", "id": "x"}"#],
    &["qemu-monitor-command", "vm1", r#"{"execute": "no-such-command", "id": 1}"#],
    &["qemu-monitor-command", "vm1", "--hmp", "info version"],
    &["attach-device", "vm1", "HOME/disk.xml", "--live"],
    &["domblklist", "vm1"],
    &["domblkinfo", "vm1", "vdb"],
    &["blockresize", "vm1", "vdb", "16M"],
    &["domblkinfo", "vm1", "vdb"],
    &["blkdeviotune", "vm1", "vdb", "--total-iops-sec", "100"],
    &["send-key", "vm1", "KEY_A"],
    &["domjobinfo", "vm1"],
    &["snapshot-list", "vm1"],
    &["qemu-monitor-command", "vm1", "--hmp", "drive_del drive-absent"],
    &["reset", "vm1"],
    &["inject-nmi", "vm1"],
    &["qemu-monitor-command", "vm1", r#"{"execute": "device_del", "arguments": {"id": "virtio-disk1"}}"#],
];

/// The resulting events, without those of the firmware, whose time varies.
const EVENTS: [&str; 3] =
    ["STOP null", "RESUME null", r#"RESET {"guest":false,"reason":"host-qmp-system-reset"}"#];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn libvirt_at_a_relay_behaves_as_at_the_vm() {
    if libvirt_is_missing() {
        return;
    }
    let mut libvirt = Libvirt::prepare();
    libvirt.start();
    libvirt.run_successfully(&["define", "HOME/vm1.xml"]);
    libvirt.run_successfully(&["start", "vm1"]);
    let (printed, events) = libvirt.run_commands();
    libvirt.run_successfully(&["destroy", "vm1"]);
    libvirt.run_successfully(&["start", "vm1"]);
    libvirt.stop();

    let hub = insert_hub(&libvirt).await;
    libvirt.start();
    let (relayed_printed, relayed_events) = libvirt.run_commands();
    for ((command, printed), relayed) in COMMANDS.iter().zip(printed).zip(relayed_printed) {
        assert_eq!(relayed, printed, "{command:?}");
    }
    assert_eq!(relayed_events, events);
    let clients = hub.relays()[0].clone();
    assert_eq!((clients.closed_slow, clients.turned_away), (0, 0), "{clients:?}");

    // The VM's memory is saved to a file whose descriptor is passed with `getfd`, and QEMU ends.
    libvirt.run_successfully(&["save", "vm1", "HOME/saved"]);
    assert!(libvirt.path("saved").metadata().expect("a file").len() > 1 << 16);
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    hub.stop().await.expect("stops");
    assert_eq!(libvirt.virsh(&["domstate", "vm1"]), "shut off");
}

/// Renames the socket of the domain's monitor, and starts a hub with it and an operators' relay in its place.
async fn insert_hub(libvirt: &Libvirt) -> Daemon {
    let domains = libvirt.path("config/libvirt/qemu/lib");
    let mut found = fs::read_dir(domains).expect("a domain").map(|entry| entry.expect("reads").path());
    let relay =
        found.find(|path| path.join("monitor.sock").exists()).expect("a monitor").join("monitor.sock");
    let monitor = relay.with_file_name("monitor.qemu");
    fs::rename(&relay, &monitor).expect("renames");

    let mut config = DaemonConfig::new(libvirt.path("journal.db"));
    let name: qmp_hub::VmName = "vm1".parse().expect("a name");
    let address = format!("unix:{}", monitor.display()).parse().expect("an address");
    config.attach.push((name.clone(), address));
    let mut relay = RelayConfig::new(relay);
    relay.role = Role::Operate { allow: Globs::default() };
    relay.access.mode = 0o666;
    config.relays.push((name, relay));
    let hub = Daemon::start(config).await.expect("starts");
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    hub
}

/// A libvirtd of an ordinary user, with all its files in one directory.
struct Libvirt {
    home: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Libvirt {
    fn prepare() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let disk = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/>\
             <source file='{}/disk'/><target dev='vdb' bus='virtio'/></disk>",
            home.path().display()
        );
        let files = [
            ("vm1.xml", DOMAIN),
            ("disk.xml", &disk),
            // Without this setting, libvirtd would start a second daemon for the VM's console.
            ("config/libvirt/qemu.conf", "stdio_handler = \"file\"\n"),
            ("disk", ""),
            ("run/.made", ""),
            ("cache/.made", ""),
        ];
        for (name, content) in files {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("creates");
            fs::write(path, content).expect("writes");
        }
        File::options()
            .write(true)
            .open(home.path().join("disk"))
            .expect("opens")
            .set_len(8 << 20)
            .expect("grows");
        let libvirt = Self { home, daemon: None };
        if rustix::process::geteuid().is_root() {
            change_owner(libvirt.home.path());
        }
        libvirt
    }

    fn start(&mut self) {
        let daemon = self.command(LIBVIRTD).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        self.daemon = Some(daemon.expect("libvirtd starts"));
        until("libvirtd listens", || {
            self.command("virsh")
                .args(self.uri())
                .arg("list")
                .output()
                .is_ok_and(|output| output.status.success())
        });
    }

    /// Stops libvirtd; the domains continue.
    fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let pid = rustix::process::Pid::from_child(&daemon);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        daemon.wait().expect("ends");
    }

    /// Runs [`COMMANDS`]; returns the output of each, and the resulting events.
    fn run_commands(&self) -> (Vec<String>, Vec<String>) {
        fs::File::options()
            .write(true)
            .open(self.path("disk"))
            .expect("opens")
            .set_len(8 << 20)
            .expect("shrinks");
        let log = self.path("events");
        let mut listener = self.command("virsh");
        listener.args(self.uri()).args(["qemu-monitor-event", "vm1", "--loop"]);
        listener.stdin(Stdio::null()).stdout(File::create(&log).expect("creates"));
        let mut listener = listener.spawn().expect("virsh starts");
        let seen = || -> Vec<String> {
            let text = fs::read_to_string(&log).expect("reads");
            text.lines().filter(|line| !line.contains("\"guest\":true")).filter_map(event).collect()
        };
        // virsh does not report when it begins to listen.
        until("virsh listens", || {
            self.run_successfully(&["suspend", "vm1"]);
            self.run_successfully(&["resume", "vm1"]);
            seen().ends_with(&[EVENTS[1].to_owned()])
        });
        let printed = COMMANDS.iter().map(|command| self.virsh(command)).collect();
        until("all events arrive", || seen().ends_with(&EVENTS.map(str::to_owned)));
        listener.kill().expect("runs");
        listener.wait().expect("ends");
        (printed, seen().split_off(seen().len() - EVENTS.len()))
    }

    fn run_successfully(&self, command: &[&str]) {
        let output = self.run(command);
        assert!(output.status.success(), "{command:?}: {}", text(&output));
    }

    /// The output of virsh, also of a failed command; without the ids of commands, which libvirt counts.
    fn virsh(&self, command: &[&str]) -> String {
        let printed = text(&self.run(command));
        match printed.split_once("libvirt-") {
            Some((before, rest)) => before.to_owned() + rest.trim_start_matches(|c: char| c.is_ascii_digit()),
            None => printed,
        }
    }

    fn run(&self, command: &[&str]) -> std::process::Output {
        let home = self.home.path().to_str().expect("UTF-8");
        let command = command.iter().map(|word| word.replace("HOME", home));
        self.command("virsh").args(self.uri()).args(command).output().expect("virsh starts")
    }

    /// The URI with the socket, without which virsh would start a daemon that stays.
    fn uri(&self) -> [String; 2] {
        let socket = self.path("run/libvirt/libvirt-sock");
        ["-c".to_owned(), format!("qemu+unix:///session?socket={}", socket.display())]
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("HOME", self.home.path()).env("LC_ALL", "C").current_dir(self.home.path());
        for (name, directory) in [("RUNTIME_DIR", "run"), ("CONFIG_HOME", "config"), ("CACHE_HOME", "cache")]
        {
            command.env(format!("XDG_{name}"), self.path(directory));
        }
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        let _ = self.run(&["destroy", "vm1"]);
        self.stop();
    }
}

/// Name and data of an event, without its time and its domain.
fn event(line: &str) -> Option<String> {
    let (name, rest) = line.strip_prefix("event ")?.split_once(" at ")?;
    let (_time, data) = rest.split_once(" for domain 'vm1': ")?;
    Some(format!("{name} {}", data.replace("<null>", "null")))
}

fn text(output: &std::process::Output) -> String {
    let printed = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(printed).expect("UTF-8").trim().to_owned()
}

fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    wait_for(what, || is_true().then_some(()));
}

fn change_owner(path: &Path) {
    rustix::fs::chown(path, Some(rustix::fs::Uid::from_raw(NOBODY)), Some(rustix::fs::Gid::from_raw(NOBODY)))
        .expect("permitted for root");
    if path.is_dir() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permitted for root");
        for entry in fs::read_dir(path).expect("reads") {
            change_owner(&entry.expect("reads").path());
        }
    }
}

fn libvirt_is_missing() -> bool {
    if crate::support::qemu::is_missing() {
        return true;
    }
    let found = |program| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    let found = found(LIBVIRTD) && found("virsh");
    let packages = "libvirt-daemon, libvirt-daemon-driver-qemu and libvirt-clients";
    assert!(found || std::env::var_os("CI").is_none(), "libvirtd or virsh is missing; install {packages}");
    if !found {
        eprintln!("skipped: libvirtd or virsh is missing; install {packages}");
    }
    !found
}

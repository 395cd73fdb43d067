//! A libvirtd of an ordinary user, with all its files in one directory, and a domain `vm1`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use qmp_testing::wait_for;
use rustix::fs::{Gid, Uid, chown};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::program::is_missing;

/// The path in Debian, which may be missing from a user's PATH.
const LIBVIRTD: &str = "/usr/sbin/libvirtd";

/// The user `nobody` of Debian, because root's libvirtd would be the one of the system.
const NOBODY: u32 = 65534;

/// The UUID of the domain.
pub const UUID: &str = "5f93793e-c80e-4eec-a36b-a2e6d218bdbc";

/// A libvirtd; it and its domain end when dropped.
#[derive(Debug)]
pub struct Libvirt {
    home: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Libvirt {
    /// Starts a libvirtd with the domain `vm1`, defined and not running; `None` where libvirt or QEMU is missing. QEMU has a
    /// second monitor at `raw.sock` if `has_raw_monitor`.
    ///
    /// # Panics
    ///
    /// If libvirtd does not start; with `CI` set, if it is missing.
    #[must_use]
    pub fn start(has_raw_monitor: bool) -> Option<Self> {
        if libvirt_is_missing() {
            return None;
        }
        let home = tempfile::tempdir().expect("a directory");
        // Without this setting, libvirtd would start a second daemon for the VM's console.
        let settings = "stdio_handler = \"file\"\n";
        let domain = domain(home.path(), has_raw_monitor);
        let files = [
            ("vm1.xml", &*domain),
            ("config/libvirt/qemu.conf", settings),
            ("run/.made", ""),
            ("cache/.made", ""),
        ];
        for (name, content) in files {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("creates");
            fs::write(path, content).expect("writes");
        }
        let mut libvirt = Self { home, daemon: None };
        if geteuid().is_root() {
            change_owner(libvirt.home.path());
        }
        libvirt.start_daemon();
        libvirt.virsh(&["define", "HOME/vm1.xml"]);
        Some(libvirt)
    }

    /// Starts libvirtd, and waits until it listens.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start_daemon(&mut self) {
        let log = fs::File::create(self.path("libvirtd.log")).expect("creates");
        let daemon = self.command(LIBVIRTD).stdin(Stdio::null()).stderr(log).spawn();
        self.daemon = Some(daemon.expect("libvirtd starts"));
        wait_for("libvirtd listens", || self.run(&["list"]).status.success().then_some(()));
    }

    /// Ends libvirtd with this signal; the domain goes on.
    ///
    /// # Panics
    ///
    /// If libvirtd does not run.
    pub fn stop_daemon(&mut self, signal: Signal) {
        let mut daemon = self.daemon.take().expect("libvirtd runs");
        kill_process(Pid::from_child(&daemon), signal).expect("permitted");
        daemon.wait().expect("ends");
    }

    /// Runs a command of virsh, in which `HOME` is the directory of this libvirt; returns what it prints.
    ///
    /// # Panics
    ///
    /// If the command fails.
    pub fn virsh(&self, command: &[&str]) -> String {
        let output = self.run(command);
        let printed = [&output.stdout[..], &output.stderr[..]].concat();
        let printed = String::from_utf8(printed).expect("UTF-8").trim().to_owned();
        assert!(output.status.success(), "{command:?}: {printed}");
        printed
    }

    /// Returns the process of the domain's QEMU.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn qemu(&self) -> Pid {
        let pid = fs::read_to_string(self.path("run/libvirt/qemu/run/vm1.pid")).expect("QEMU runs");
        Pid::from_raw(pid.trim().parse().expect("a number")).expect("a process")
    }

    /// The directory that takes the place of `$XDG_RUNTIME_DIR`.
    #[must_use]
    pub fn user_directory(&self) -> PathBuf {
        self.path("run")
    }

    /// The socket of libvirtd.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("run/libvirt/libvirt-sock")
    }

    /// A path in the directory of this libvirt.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn run(&self, command: &[&str]) -> Output {
        let home = self.home.path().to_str().expect("UTF-8");
        let command = command.iter().map(|word| word.replace("HOME", home));
        // Without the socket in the URI, virsh would start a daemon that stays.
        let uri = format!("qemu+unix:///session?socket={}", self.socket().display());
        self.command("virsh").args(["-c", &uri]).args(command).output().expect("virsh starts")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("HOME", self.home.path()).env("LC_ALL", "C").current_dir(self.home.path());
        for (name, directory) in [("RUNTIME_DIR", "run"), ("CONFIG_HOME", "config"), ("CACHE_HOME", "cache")]
        {
            command.env(format!("XDG_{name}"), self.path(directory));
        }
        if geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        if self.daemon.is_none() {
            self.start_daemon();
        }
        let _ = self.run(&["destroy", "vm1"]);
        self.stop_daemon(Signal::TERM);
    }
}

fn domain(home: &Path, has_raw_monitor: bool) -> String {
    let raw = format!(
        "<qemu:commandline><qemu:arg value='-qmp'/><qemu:arg value='unix:{}/raw.sock,server=on,wait=off'/>\
         </qemu:commandline>",
        home.display()
    );
    format!(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\
         <name>vm1</name><uuid>{UUID}</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>\
         <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>\
         <devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices>{}</domain>",
        if has_raw_monitor { &raw } else { "" }
    )
}

fn change_owner(path: &Path) {
    chown(path, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY))).expect("permitted for root");
    if path.is_dir() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permitted for root");
        for entry in fs::read_dir(path).expect("reads") {
            change_owner(&entry.expect("reads").path());
        }
    }
}

fn libvirt_is_missing() -> bool {
    if is_missing() {
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

//! A real libvirtd of an ordinary user, with all its files in one directory, and a domain `vm1`.

mod domain_xml;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{Gid, Uid, chown};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::wait::wait_for;
pub use domain_xml::DomainXml;

/// The path in Debian, which may be missing from a user's PATH.
const LIBVIRTD: &str = "/usr/sbin/libvirtd";

/// The id of Debian's user without rights, which runs libvirtd: that of root would be the one of the system.
pub const NOBODY: u32 = 65534;

/// Daemons that were started: each is a host of its own, so that domains can migrate between them.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// A libvirtd; it and its domains end when dropped.
#[derive(Debug)]
pub struct Libvirt {
    home: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Libvirt {
    /// Starts a libvirtd with the domain `vm1`, defined and not running; `None` where libvirt or QEMU is missing.
    ///
    /// # Panics
    ///
    /// If libvirtd does not start; with `CI` set, if it is missing.
    #[must_use]
    pub fn start(domain: &DomainXml) -> Option<Self> {
        let libvirt = Self::start_empty()?;
        libvirt.define(domain);
        Some(libvirt)
    }

    /// Starts a libvirtd without a domain; `None` where libvirt or QEMU is missing.
    ///
    /// # Panics
    ///
    /// If libvirtd does not start; with `CI` set, if it is missing.
    #[must_use]
    pub fn start_empty() -> Option<Self> {
        if libvirt_is_missing() {
            return None;
        }
        let mut libvirt = Self { home: tempfile::tempdir().expect("a directory"), daemon: None };
        change_owner(libvirt.home.path());
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let host =
            format!("host_uuid = \"{:08x}-0000-4000-8000-0000000000{number:02x}\"\n", std::process::id());
        let files = [
            ("config/libvirt/libvirtd.conf", &*host),
            // Without this setting, libvirtd would start a second daemon for the VM's console.
            ("config/libvirt/qemu.conf", "stdio_handler = \"file\"\n"),
            ("run/.made", ""),
            ("cache/.made", ""),
        ];
        files.iter().for_each(|(name, content)| libvirt.write(name, content));
        libvirt.start_daemon();
        Some(libvirt)
    }

    /// Writes a file of this libvirt, which belongs to its user.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("creates");
        fs::write(path, content).expect("writes");
        let top = name.split('/').next().expect("a name");
        change_owner(&self.path(top));
    }

    /// Copies a file to this libvirt, whose user may not be allowed to read it where it is.
    ///
    /// # Panics
    ///
    /// If the file cannot be copied.
    pub fn copy(&self, from: &Path, name: &str) {
        let path = self.path(name);
        fs::copy(from, &path).expect("copies");
        change_owner(&path);
    }

    /// Writes the description of the domain `vm1` to `vm1.xml`, and defines it.
    ///
    /// # Panics
    ///
    /// If libvirt refuses it.
    pub fn define(&self, domain: &DomainXml) {
        self.write("vm1.xml", &domain.text(self.home.path()));
        self.virsh(&["define", "HOME/vm1.xml"]);
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

    /// Returns the process of libvirtd.
    ///
    /// # Panics
    ///
    /// If libvirtd does not run.
    #[must_use]
    pub fn daemon(&self) -> Pid {
        Pid::from_child(self.daemon.as_ref().expect("libvirtd runs"))
    }

    /// The errors that calls of clients have met at the end of a QEMU. The thread of a domain meets the same error by itself, in
    /// the midst of libvirt's own command; those that serve calls are known by the starts of tainted domains.
    ///
    /// # Panics
    ///
    /// If there is no log.
    #[must_use]
    pub fn calls_after_end(&self) -> Vec<String> {
        let log = self.log();
        let thread = |line: &str| line.split(": ").nth(1).map(str::to_owned);
        let starts = log.lines().filter(|line| line.contains("qemuDomainObjTaintMsg"));
        let serving: BTreeSet<_> = starts.map(thread).collect();
        let ends = log.lines().filter(|line| line.contains("End of file"));
        ends.filter(|line| serving.contains(&thread(line))).map(str::to_owned).collect()
    }

    /// Returns what libvirtd wrote to its log since it was started.
    ///
    /// # Panics
    ///
    /// If the log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("libvirtd.log")).expect("reads")
    }

    /// The URI of this libvirt for another one.
    #[must_use]
    pub fn uri(&self) -> String {
        // Without the socket in the URI, virsh would start a daemon that stays.
        format!("qemu+unix:///session?socket={}", self.socket().display())
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

    /// Runs a program as the user of this libvirt.
    ///
    /// # Panics
    ///
    /// If the program fails.
    pub fn program(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program).args(self.words(arguments)).output().expect("starts");
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn run(&self, command: &[&str]) -> Output {
        let command = self.words(command);
        self.command("virsh").args(["-c", &self.uri()]).args(command).output().expect("virsh starts")
    }

    fn words(&self, words: &[&str]) -> Vec<String> {
        let home = self.home.path().to_str().expect("UTF-8");
        words.iter().map(|word| word.replace("HOME", home)).collect()
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
        let running = self.run(&["list", "--name"]).stdout;
        for domain in String::from_utf8_lossy(&running).split_whitespace() {
            let _ = self.run(&["destroy", domain]);
        }
        self.stop_daemon(Signal::TERM);
    }
}

fn change_owner(path: &Path) {
    if !geteuid().is_root() {
        return;
    }
    chown(path, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY))).expect("permitted for root");
    if path.is_dir() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permitted for root");
        for entry in fs::read_dir(path).expect("reads") {
            change_owner(&entry.expect("reads").path());
        }
    }
}

fn libvirt_is_missing() -> bool {
    let found = |program| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    let found = found(domain_xml::QEMU) && found(LIBVIRTD) && found("virsh");
    let packages = "qemu-system-x86, libvirt-daemon, libvirt-daemon-driver-qemu and libvirt-clients";
    let missing = format!("QEMU, libvirtd or virsh is missing; install {packages}");
    assert!(found || std::env::var_os("CI").is_none(), "{missing}");
    if !found {
        eprintln!("skipped: {missing}");
    }
    !found
}

//! The rule of polkit in `docs/operating.md`, with a system's libvirtd, dbus-daemon and polkitd in a mount namespace. Needs root.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use qmp_testing::{DomainXml, NOBODY, wait_for};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::follower_process::{follower_process, said};

/// The daemons, as `/bin/sh` starts them in a mount namespace. All that they write is in file systems of that namespace, or in `$1`.
const DAEMONS: &str = include_str!("polkit/daemons.sh");

/// The page with the rule.
const PAGE: &str = include_str!("../../../../docs/operating.md");

/// Actions of libvirt that the test causes, or that the rule names.
const ACTIONS: [&str; 11] = [
    "unix.manage",
    "api.connect.getattr",
    "api.connect.search-domains",
    "api.connect.read",
    "api.connect.write",
    "api.domain.getattr",
    "api.domain.read",
    "api.domain.write",
    "api.domain.start",
    "api.domain.stop",
    "api.domain.suspend",
];

/// The daemons of a system.
struct System {
    home: tempfile::TempDir,
    libvirtd: Child,
}

#[test]
fn rule_of_the_manual_permits_events_and_nothing_else() {
    let Some(system) = System::start() else { return };
    fs::write(system.home.path().join("vm1.xml"), DomainXml::default().text(system.home.path()))
        .expect("writes");
    let domain = system.home.path().join("vm1.xml");
    let created = system.virsh(&["create", domain.to_str().expect("UTF-8")], false);
    assert!(created.status.success(), "{created:?}");

    let items = system.home.path().join("items/list");
    let mut follower = follower_process(&system.socket(), "qemu:///system", &items, true);
    wait_for("the domain", || said(&items, "attached vm1: running booted"));
    for refused in [["suspend", "vm1"], ["destroy", "vm1"], ["undefine", "vm1"]] {
        let refused = system.virsh(&refused, true);
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(error.contains("access denied"), "{error}");
    }
    assert!(system.virsh(&["suspend", "vm1"], false).status.success(), "root may");
    wait_for("its event", || said(&items, "STOP"));
    follower.kill().expect("its process");
    follower.wait().expect("ends");
}

impl System {
    /// Starts the daemons; `None` without root, polkit or libvirt.
    fn start() -> Option<Self> {
        let programs = ["/usr/lib/polkit-1/polkitd", "/usr/bin/dbus-daemon", "/usr/sbin/libvirtd"];
        let missing = programs.iter().find(|program| !Path::new(program).exists());
        if !geteuid().is_root() || missing.is_some() {
            eprintln!("skipped: needs root and {programs:?}");
            return None;
        }
        let home = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(home.path().join(name), text).expect("writes");
        fs::create_dir(home.path().join("items")).expect("creates");
        for (name, mode) in [("", 0o755), ("items", 0o777)] {
            let path = home.path().join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permitted");
        }
        write("50-qmp-events.rules", rule());
        write("org.libvirt.policy", &actions());
        let log = fs::File::create(home.path().join("log")).expect("creates");
        let libvirtd = Command::new("unshare")
            .args(["--mount", "/bin/sh", "-ec", DAEMONS, "sh"])
            .arg(home.path())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("starts");
        let system = Self { home, libvirtd };
        wait_for("libvirtd listens", || system.virsh(&["list"], false).status.success().then_some(()));
        Some(system)
    }

    fn socket(&self) -> std::path::PathBuf {
        self.home.path().join("sockets/libvirt-sock")
    }

    fn virsh(&self, command: &[&str], as_nobody: bool) -> Output {
        let uri = format!("qemu+unix:///system?socket={}", self.socket().display());
        let mut virsh = Command::new("virsh");
        virsh
            .args(["-c", &uri])
            .args(command)
            .env("LC_ALL", "C")
            .env("HOME", self.home.path())
            .current_dir("/");
        if as_nobody {
            // In the namespace, this id is the user `qmp-events`.
            virsh.uid(NOBODY).gid(NOBODY);
        }
        virsh.output().expect("starts")
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.virsh(&["destroy", "vm1"], false);
        kill_process(Pid::from_child(&self.libvirtd), Signal::TERM).expect("its process");
        self.libvirtd.wait().expect("ends");
        let pids = fs::read_to_string(self.home.path().join("pids")).unwrap_or_default();
        for pid in pids.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// The rule in the page.
fn rule() -> &'static str {
    let begin = PAGE.find("polkit.addRule(").expect("a rule in the page");
    let end = PAGE[begin..].find("```").expect("an end of the rule");
    &PAGE[begin..begin + end]
}

/// Descriptions of libvirt's actions, which Debian has in `libvirt-daemon-system`: all are refused if no rule permits them.
fn actions() -> String {
    let action = |id: &&str| {
        format!(
            "<action id='org.libvirt.{id}'><description>-</description><message>-</message><defaults>\
             <allow_any>no</allow_any><allow_inactive>no</allow_inactive><allow_active>no</allow_active></defaults></action>"
        )
    };
    let actions: String = ACTIONS.iter().map(action).collect();
    format!(
        "<?xml version='1.0'?><!DOCTYPE policyconfig PUBLIC '-//freedesktop//DTD PolicyKit Policy Configuration 1.0//EN' \
         'http://www.freedesktop.org/standards/PolicyKit/1/policyconfig.dtd'><policyconfig>{actions}</policyconfig>"
    )
}

//! `qmp exec` to a domain that the hub follows through a real libvirtd.

use std::fs;

use qmp_testing::{DomainXml, Libvirt, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::hub::{Hub, HubHome};

/// A directory, and the hub's configuration in it.
struct Host {
    folder: TempDir,
    home: HubHome,
}

impl Host {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let home = HubHome::new(&folder);
        Self { folder, home }
    }

    /// Starts a hub that follows the domains of this libvirt, and waits until it is attached to `vm1`.
    fn serve(&self, libvirt: &Libvirt, commands: bool) -> Hub {
        let file = self.folder.path().join("hub.toml");
        let socket = libvirt.socket();
        let rule = format!("[[discover]]\nlibvirt = \"unix:{}\"\ncommands = {commands}\n", socket.display());
        fs::write(&file, rule).expect("writes");
        let attached = self.count("attached");
        let hub = self.home.serve_configured(&file);
        wait_for("the hub to attach", || (self.count("attached") > attached).then_some(()));
        hub
    }

    /// Number of records with this title.
    fn count(&self, title: &str) -> usize {
        self.home.titles_if_any().iter().filter(|one| *one == title).count()
    }

    /// Executes a command on the domain: exit code, standard output, and standard error.
    fn exec(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.home.run(&[&["exec", "vm1"], arguments].concat());
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// The summaries of the records of commands.
    fn commands(&self) -> Vec<String> {
        let records = self.home.json(&["log", "--json", "--kind", "finding"]);
        let commands = records.iter().filter(|record| record["finding"] == "command");
        commands.map(|record| record["summary"].as_str().expect("a text").to_owned()).collect()
    }
}

#[test]
fn commands_pass_through_libvirt_if_the_rule_allows_them() {
    let Some(libvirt) = Libvirt::start(&DomainXml::default()) else { return };
    libvirt.virsh(&["start", "vm1"]);
    let is_marked = || libvirt.virsh(&["dominfo", "vm1"]).contains("custom monitor control commands issued");
    let host = Host::new();

    let hub = host.serve(&libvirt, false);
    let (code, _, error) = host.exec(&["stop"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("commands = true") && error.contains("virsh qemu-monitor-command vm1"), "{error}");
    assert!(!is_marked());
    hub.stop();

    let hub = host.serve(&libvirt, true);
    assert!(!is_marked(), "the connection alone marks nothing");
    let (code, output, error) = host.exec(&["query-status"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(output.contains(r#""status":"running""#), "{output}");
    assert!(is_marked());

    // QEMU's own words.
    let (code, output, error) = host.exec(&["device_del", "id=absent"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("DeviceNotFound: Device 'absent' not found"), "{error}");
    assert!(output.contains(r#"{"error":{"class":"DeviceNotFound""#), "{output}");
    assert_eq!(host.exec(&["stop"]).0, Some(0));

    // A QEMU that hangs: the client gives up, libvirt does not.
    kill_process(libvirt.qemu(), Signal::STOP).expect("permitted");
    let (code, _, error) = host.exec(&["cont", "--timeout", "1s"]);
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains("no reply to cont within 1s"), "{error}");
    assert!(error.contains("may still execute"), "{error}");
    kill_process(libvirt.qemu(), Signal::CONT).expect("permitted");
    wait_for("the late reply", || {
        let (_, output, _) = host.exec(&["query-status"]);
        output.contains(r#""status":"running""#).then_some(())
    });
    let commands = host.commands();
    let parts = ["device_del", "stop", "cont"];
    assert_eq!(commands.len(), parts.len(), "{commands:?}");
    for (command, part) in commands.iter().zip(parts) {
        assert!(command.contains(part), "{commands:?}");
    }
    hub.stop();
}

#[test]
fn domains_whose_qemus_are_stopped_delay_no_command_of_others() {
    let Some(libvirt) = Libvirt::start(&DomainXml::default()) else { return };
    let names = ["vm2", "vm3", "vm4", "vm5", "vm6"];
    for name in names {
        let uuid = |number: &str| format!("<uuid>5f93793e-0000-4000-8000-00000000000{number}</uuid>");
        let text = fs::read_to_string(libvirt.path("vm1.xml")).expect("reads");
        let (before, rest) = text.split_once("<uuid>").expect("a UUID");
        let (_, after) = rest.split_once("</uuid>").expect("a UUID");
        let text = format!("{before}{}{after}", uuid(&name[2..])).replace("vm1", name);
        libvirt.write(&format!("{name}.xml"), &text);
        libvirt.virsh(&["define", &format!("HOME/{name}.xml")]);
    }
    libvirt.virsh(&["start", "vm1"]);
    names.iter().for_each(|name| drop(libvirt.virsh(&["start", name])));
    let host = Host::new();
    let hub = host.serve(&libvirt, true);
    wait_for("all domains", || (host.count("attached") == 6).then_some(()));
    let signal = |signal| {
        for name in names {
            let pid = fs::read_to_string(libvirt.path(&format!("run/libvirt/qemu/run/{name}.pid")));
            let pid = pid.expect("QEMU runs").trim().parse().expect("a number");
            kill_process(Pid::from_raw(pid).expect("a process"), signal).expect("permitted");
        }
    };
    signal(Signal::STOP);
    let waiting = names.map(|name| host.home.listen(&["exec", name, "query-status", "--json"]));
    let occupied = || {
        let is_occupied = |name: &&&str| libvirt.virsh(&["domcontrol", name]).contains("occupied");
        names.iter().filter(is_occupied).count()
    };
    wait_for("a command to a QEMU that is stopped", || (occupied() > 0).then_some(()));
    // Meanwhile the other commands reach the hub.
    for _ in 0..20 {
        let (code, output, error) = host.exec(&["query-status"]);
        assert_eq!(code, Some(0), "{error}");
        assert!(output.contains(r#""status":"running""#), "{output}");
    }
    assert_eq!(occupied(), 1, "libvirt has one such command");
    signal(Signal::CONT);
    for one in waiting {
        let line = one.next();
        assert!(line.contains(r#""status":"running""#), "{line}");
    }
    hub.stop();
}

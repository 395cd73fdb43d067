//! `qmp wait` in shell scripts.

use std::process::Command;

use tempfile::TempDir;

use crate::{hub::HubHome, qemu::Qemu};

/// A script that quits the machine, continues only after QEMU has exited, and then waits, with the offset from before the
/// command: it misses no event.
#[test]
fn wait_finds_events_between_command_and_wait() {
    let folder = TempDir::new().unwrap();
    let Some(mut qemu) = Qemu::start(&folder, &["vm1"], &[]) else { return };
    let home = HubHome::new(&folder);
    let _hub = home.serve(&[("vm1", &qemu.address("vm1"))]);

    let reply = home.json(&["exec", "vm1", "quit", "--json"]).remove(0);
    qemu.wait_for_exit();
    let since = reply["since"].to_string();
    let found = home.json(&["wait", "vm1", "SHUTDOWN", "--since", &since, "--timeout", "30s", "--json"]);
    assert_eq!(found[0]["data"]["reason"], "host-qmp-quit");

    let later = reply["offset"].to_string();
    let gone = home.run(&["wait", "vm1", "SHUTDOWN", "--since", &later, "--timeout", "30s"]);
    assert_eq!(gone.status.code(), Some(4), "the VM is gone: {}", String::from_utf8_lossy(&gone.stderr));
}

/// `--ended` waits until the process has exited, not just until the monitor is closed, whether or not the parent has reaped
/// the process.
#[test]
fn wait_ended_waits_for_the_exit_of_the_process() {
    let folder = TempDir::new().unwrap();
    let Some(mut qemu) = Qemu::start(&folder, &["vm1", "direct"], &[]) else { return };
    let home = HubHome::new(&folder);
    let _hub = home.serve(&[("vm1", &qemu.address("vm1"))]);
    let direct = qemu.address("direct");
    for target in ["vm1", &direct] {
        let early = home.run(&["wait", target, "--ended", "--timeout", "200ms"]);
        assert_eq!(early.status.code(), Some(3), "{target}: {}", String::from_utf8_lossy(&early.stderr));
    }
    home.json(&["exec", "vm1", "quit", "--json"]);
    for target in ["vm1", &direct] {
        let ended = home.run(&["wait", target, "--ended", "--timeout", "60s"]);
        assert_eq!(ended.status.code(), Some(0), "{target}: {}", String::from_utf8_lossy(&ended.stderr));
    }
    assert!(qemu.has_exited(), "its process has exited");
}

/// The exit codes for scripts.
#[test]
fn each_outcome_has_its_exit_code() {
    let folder = TempDir::new().unwrap();
    let Some(qemu) = Qemu::start(&folder, &["vm1", "direct"], &[]) else { return };
    let home = HubHome::new(&folder);
    let _hub = home.serve(&[("vm1", &qemu.address("vm1"))]);
    let direct = qemu.address("direct");
    let cases: [(&str, &[&str], i32); 7] = [
        ("done", &["exec", "vm1", "stop"], 0),
        ("refused", &["exec", "vm1", "no-such-command"], 1),
        ("unknown VM", &["exec", "vm2", "stop"], 4),
        ("usage", &["wait", "vm1"], 2),
        ("timed out", &["wait", "vm1", "SHUTDOWN", "--timeout", "200ms"], 3),
        ("timed out, directly at the socket", &["wait", &direct, "SHUTDOWN", "--timeout", "200ms"], 3),
        ("no socket", &["wait", "unix:/nonexistent/vm.sock", "STOP", "--timeout", "5s"], 4),
    ];
    for (name, arguments, code) in cases {
        let output = home.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The same in a shell script.
#[test]
fn shell_script_finds_the_events_of_its_commands() {
    let folder = TempDir::new().unwrap();
    let Some(qemu) = Qemu::start(&folder, &["vm1"], &[]) else { return };
    let home = HubHome::new(&folder);
    let _hub = home.serve(&[("vm1", &qemu.address("vm1"))]);
    let script = r#"
        set -e
        before=$(qmp exec vm1 stop --json | sed 's/.*"since":\([0-9]*\).*/\1/')
        qmp exec vm1 cont >/dev/null
        qmp wait vm1 STOP --since "$before" --timeout 30s
        qmp wait vm1 RESUME --since "$before" --timeout 30s
        qmp exec vm1 quit >/dev/null
        qmp wait vm1 SHUTDOWN --since "$before" --where reason=host-qmp-quit --timeout 30s
    "#;
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_qmp")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell: Command = home.qmp(&[]);
    let environment: Vec<_> =
        shell.get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
    shell = Command::new("sh");
    let output = shell.arg("-c").arg(script).env("PATH", path).envs(environment).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout);
    for event in ["STOP", "RESUME", "SHUTDOWN"] {
        assert!(printed.contains(event), "{printed}");
    }
}

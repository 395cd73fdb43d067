//! Settings: the shipped example, the environment, groups, messages, and what a start leaves.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use crate::machine::{attached, config, exec, hub, machine};
use crate::support::{Process, directory, hub_address, is_installed, run};

/// The example as it is shipped, but for the paths of root.
#[test]
fn shipped_configuration_starts_without_a_vm() {
    let home = directory();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/hub.toml");
    let text = fs::read_to_string(shipped).expect("the example");
    assert!(text.contains("\nprocesses = true\n"), "discovery of processes is on");
    let here = home.path().display().to_string();
    let text = text.replace("/var/lib/qmp-events", &here).replace("/run/qmp-events", &here);
    let config = config(home.path(), &text);
    let hub = Process::start(home.path(), &["serve", "--config", &config]);
    hub.wait_for("looking for VMs: [[discover]] processes = true");
    assert_eq!(hub.interrupt(), Some(0));
}

#[test]
fn serve_does_not_read_the_address_of_the_environment() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    let served = format!("unix:{}", home.path().join("served.sock").display());
    let config = config(home.path(), &format!("http = '{served}'\n"));
    let attach = format!("web1={address}");
    let other = home.path().join("other.db").display().to_string();
    let arguments = ["serve", "--config", &config, "--attach", &attach, "--journal", &other];
    let hub = Process::start(home.path(), &arguments);
    // QMP_HUB and QMP_JOURNAL of the test name others.
    hub.wait_for(&format!("the journal is {other}, and not "));
    hub.wait_for(&format!(
        "the hub serves {served}, and not {} of the variable QMP_HUB",
        hub_address(home.path())
    ));
    hub.wait_for("web1: attached");
    assert_eq!(run(home.path(), &["status"]).code, Some(1), "nothing serves there");
    assert_eq!(run(home.path(), &["status", "--hub", &served]).code, Some(0));
}

#[test]
fn group_may_use_the_socket_of_the_hub_and_of_a_relay() {
    let home = directory();
    if !rustix::process::geteuid().is_root() || !is_installed("setpriv", "util-linux") {
        return;
    }
    // A user of no other group can enter the directory.
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("sets");
    let (_machine, address) = machine(home.path(), "web1");
    let relay = home.path().join("r.qmp");
    let (_second, _) = machine(home.path(), "web2");
    let text = format!(
        "http = {{ address = '{}', group = 'daemon' }}\n\
         [[vm]]\nname = 'web2'\naddress = '{}'\nrelay = {{ path = '{}', group = 'daemon', gids = [1] }}\n",
        hub_address(home.path()),
        home.path().join("web2.sock").display(),
        relay.display()
    );
    let _hub = hub(home.path(), &address, &text);
    attached(home.path(), "web2");
    for socket in [&home.path().join("hub.sock"), &relay] {
        let found = fs::metadata(socket).expect("a socket");
        assert_eq!((found.mode() & 0o777, found.gid()), (0o660, 1), "{}", socket.display());
    }
    // `daemon` as a supplementary group is enough.
    let as_user = |groups: &str, arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", groups, env!("CARGO_BIN_EXE_qmp")]);
        command.args(arguments).env("HOME", "/nonexistent").env("QMP_HUB", hub_address(home.path()));
        command.output().expect("runs")
    };
    let at_relay = format!("unix:{}", relay.display());
    for arguments in [&["exec", "web1", "query-status"] as &[&str], &["exec", &at_relay, "query-status"]] {
        let member = as_user("--groups=1", arguments);
        assert!(member.status.success(), "{member:?}");
        assert!(!as_user("--clear-groups", arguments).status.success(), "{arguments:?}");
    }
}

#[test]
fn check_warns_about_listed_groups_that_the_mode_keeps_out() {
    let home = directory();
    let relay = |more: &str| {
        let text = format!(
            "[[vm]]\nname = 'a'\naddress = '/nonexistent/a.sock'\nrelay = {{ path = '/tmp/a.qmp', {more} }}\n"
        );
        let config = config(home.path(), &text);
        let ran = run(home.path(), &["serve", "--check-config", "--config", &config]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stderr.contains("do not let connect")
    };
    assert!(relay("mode = 0o660, gids = [61234]"), "the file is of another group");
    assert!(relay("gids = [61234], group = '61234', mode = 0o600"));
    assert!(relay("uids = [61234]"));
    assert!(!relay("gids = [61234], group = '61234'"));
    assert!(!relay("mode = 0o666, gids = [61234], uids = [61234]"));
}

#[test]
fn duplicate_key_is_named() {
    let home = directory();
    let config = config(home.path(), "findings = true\nfindings = false\n");
    let ran = run(home.path(), &["serve", "--check-config", "--config", &config]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("hub.toml:2: duplicate key findings"), "{ran:?}");
}

#[test]
fn monitor_in_use_is_reported_with_its_holder_and_the_name_of_the_vm() {
    let home = directory();
    let socket = home.path().join("web1.sock");
    let listener = UnixListener::bind(&socket).expect("binds");
    let _client = UnixStream::connect(&socket).expect("connects");
    let _accepted = listener.accept().expect("accepts");
    let attach = format!("web1=unix:{}", socket.display());
    let hub = Process::start(home.path(), &["serve", "--attach", &attach]);
    let line = hub.wait_for("the monitor of web1 is in use");
    assert!(line.contains(&format!("process {} (", std::process::id())), "{line}");
    assert!(line.contains("/run/qmp-events/vm/web1.sock,server=on"), "{line}");
}

#[test]
fn failed_start_leaves_no_journal_and_a_hub_leaves_no_lock_of_a_socket() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    let names = || {
        let entries = fs::read_dir(home.path()).expect("a directory");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let running = hub(home.path(), &address, "");
    let before = names();
    let second = home.path().join("second.db").display().to_string();
    let attach = format!("web1={address}");
    let ran = run(home.path(), &["serve", "--attach", &attach, "--journal", &second]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(names(), before);
    exec(home.path(), "query-status");
    assert_eq!(running.interrupt(), Some(0));
    let locks: Vec<String> = names().into_iter().filter(|name| name.ends_with(".sock.lock")).collect();
    assert_eq!(locks, [""; 0]);
}

/// In a mount namespace, so that the hub of the system is the test's own.
#[test]
fn user_without_a_hub_asks_the_hub_of_the_system() {
    let home = directory();
    if !rustix::process::geteuid().is_root() || !is_installed("unshare", "util-linux") {
        return;
    }
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("sets");
    let (_machine, address) = machine(home.path(), "web1");
    let config = config(
        home.path(),
        &format!(
            "http = {{ address = 'unix:/run/qmp-events/hub.sock', mode = 0o666 }}\n\
             [[vm]]\nname = 'web1'\naddress = '{address}'\n"
        ),
    );
    let script = "mount -t tmpfs none /run && mkdir -m 755 /run/qmp-events || exit 9
        \"$0\" serve --config \"$1\" >/dev/null 2>&1 & hub=$!
        until [ -S /run/qmp-events/hub.sock ]; do kill -0 $hub || exit 9; done
        setpriv --reuid=65534 --regid=65534 --clear-groups env -u QMP_HUB -u XDG_RUNTIME_DIR HOME=/nonexistent \"$0\" status
        code=$?; kill $hub; wait $hub; exit $code";
    let journal = home.path().join("journal.db");
    let ran = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_qmp"), &config])
        .env("QMP_JOURNAL", journal)
        .output()
        .expect("runs");
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{stderr}");
    assert!(stderr.contains("asking the system's hub at /run/qmp-events/hub.sock"), "{stderr}");
    assert!(String::from_utf8_lossy(&ran.stdout).contains("\"vm\":\"web1\""), "{ran:?}");
}

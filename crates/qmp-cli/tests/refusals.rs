//! Errors of missing permissions: the message has the file, its owner, and how to fix it.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use qmp_testing::MonitorThread;
use support::{Process, RunResult, directory, lines};

/// The user and the group `nobody`.
const NOBODY: u32 = 65_534;

/// `qmp serve` with these arguments, as the user nobody.
fn serve_as_nobody(home: &Path, arguments: &[&str]) -> Command {
    // The directory of the program may be unreadable for nobody.
    let program = home.join("qmp");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_qmp"), &program).expect("copies");
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(program)
        .arg("serve")
        .args(arguments);
    for name in ["QMP_LOG", "QMP_HUB", "QMP_JOURNAL", "JOURNAL_STREAM", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"] {
        command.env_remove(name);
    }
    command
        .env("HOME", home)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: only root can start a process as another user");
    }
    is_root
}

#[test]
fn missing_permission_is_reported_with_owner_and_mode() {
    if !is_root() {
        return;
    }
    let home = directory();
    let home = home.path();
    fs::set_permissions(home, Permissions::from_mode(0o755)).expect("sets");
    let nobodys = home.join("nobodys");
    fs::create_dir(&nobodys).expect("makes");
    chown(&nobodys, Some(NOBODY), Some(NOBODY)).expect("gives");
    let at = |name: &str| home.join(name).display().to_string();
    let (journal, hub) = (at("nobodys/journal.db"), at("nobodys/hub.sock"));
    let (attach, socket) = (format!("vm1=unix:{}", at("vm1.sock")), at("vm1.sock"));
    let _vm = MonitorThread::start(home.join("vm1.sock"));
    fs::set_permissions(home.join("vm1.sock"), Permissions::from_mode(0o660)).expect("sets");
    chown(home.join("vm1.sock"), None, Some(12_345)).expect("gives");

    let refused = |arguments: &[&str]| {
        let output = serve_as_nobody(home, arguments).output().expect("runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let RunResult { code, stderr, .. } = RunResult {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        (code, stderr.replace(&home.display().to_string(), "HERE"))
    };
    let (relays, http) = (at("relays"), at("other/hub.sock"));
    let (elsewhere, base) =
        (at("elsewhere/journal.db"), ["--attach", &*attach, "--journal", &*journal, "--http", &*hub]);
    let not_writable = "HERE (owned by user root (0) and group root (0), mode 0755) cannot be written by user nobody \
                        (65534); make it writable, or choose another";
    let cases = [
        ([&base[..4], &["--http", &*http]].concat(), format!("qmp: cannot make a socket: {not_writable}\n")),
        (
            vec!["--attach", &*attach, "--journal", &*elsewhere, "--http", &*hub],
            "qmp: no permission for HERE/elsewhere as user nobody (65534) (Permission denied (os error 13)): run as a \
             user who has it, or name another file\n"
                .to_owned(),
        ),
    ];
    for (arguments, expected) in cases {
        assert_eq!(refused(&arguments), (Some(1), expected), "{arguments:?}");
    }

    // A relay that cannot be created does not stop the hub: the hub starts and reports it.
    let mut child =
        serve_as_nobody(home, &[&base[..], &["--relay", &*relays]].concat()).spawn().expect("runs");
    let (stdout, stderr) =
        (lines(child.stdout.take().expect("output")), lines(child.stderr.take().expect("errors")));
    let hub = Process::of(child, stdout, stderr);
    let relay = hub.wait_for("a relay cannot be served").replace(&home.display().to_string(), "HERE");
    assert!(relay.ends_with(&format!("cannot make a socket: {not_writable}")), "{relay}");
    let warning = hub.wait_for("cannot attach to vm1: ");
    let expected = format!(
        "no permission for {socket} (owned by user root (0) and group 12345, mode 0660): the hub runs as user nobody \
         (65534); add this user to group 12345, give it access with setfacl, or run the hub as the socket's owner"
    );
    assert!(warning.ends_with(&expected), "{warning}");
    assert_eq!(hub.interrupt(), Some(0));
}

/// A port in use: the message names the process.
#[test]
fn port_in_use_is_reported_with_its_process() {
    let home = directory();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = format!("tcp:{}", listener.local_addr().expect("an address"));
    let attach = format!("vm1={}", home.path().join("vm1.sock").display());
    let RunResult { code, stderr, .. } =
        support::run(home.path(), &["serve", "--attach", &attach, "--http", &address]);
    let name = fs::read_to_string("/proc/self/comm").expect("a name");
    let expected = format!(
        "qmp: {address} is in use by process {} ({}); stop it, or serve at another address\n",
        std::process::id(),
        name.trim()
    );
    // Before it is the line on `QMP_HUB`, which the program does not use here.
    let last = stderr.lines().last().unwrap_or_default();
    assert_eq!((code, last), (Some(1), expected.trim_end()));
}

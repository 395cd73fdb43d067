//! `qmp serve` as a service: notification of systemd, reload, and the check of the configuration.

mod support;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use qmp_testing::{MonitorThread, wait_for};
use support::{Process, RunResult, directory, is_installed, lines, qmp, run};

/// The socket of a service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn start(home: &Path) -> Self {
        let socket = UnixDatagram::bind(home.join("notify")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        Self(socket)
    }

    /// The next message.
    fn message(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }

    /// Waits for the first message with `part` in it.
    fn until(&self, part: &str) -> String {
        loop {
            let message = self.message();
            if message.contains(part) {
                return message;
            }
        }
    }
}

/// A hub with this configuration file, notifying a service manager.
fn serve(home: &Path) -> Process {
    let mut command = qmp(home, ["serve", "--config", home.join("hub.toml").to_str().expect("text")]);
    command.env("NOTIFY_SOCKET", home.join("notify")).env("WATCHDOG_USEC", "200000");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    let (stdout, stderr) =
        (lines(child.stdout.take().expect("output")), lines(child.stderr.take().expect("errors")));
    Process::of(child, stdout, stderr)
}

fn configure(home: &Path, vms: &[&str], more: &str) {
    let mut text = more.to_owned();
    for vm in vms {
        text +=
            &format!("\n[[vm]]\nname = '{vm}'\naddress = '{}'\n", home.join(format!("{vm}.sock")).display());
    }
    std::fs::write(home.join("hub.toml"), text).expect("writes");
}

#[test]
fn systemd_is_notified_and_reload_changes_only_differences() {
    let home = directory();
    let home = home.path();
    let _vms = ["web1", "db1"].map(|vm| MonitorThread::start(home.join(format!("{vm}.sock"))));
    configure(home, &["web1"], "");
    let manager = Manager::start(home);
    let mut hub = serve(home);
    let ready = manager.message();
    assert!(ready.starts_with("READY=1\nSTATUS="), "{ready}");
    hub.wait_for("web1: attached");
    assert!(manager.until("STATUS=1 of 1").contains("VMs attached;"));
    manager.until("WATCHDOG=1");

    configure(home, &["web1", "db1"], "");
    hub.signal("HUP");
    assert!(manager.until("RELOADING=1").contains("\nMONOTONIC_USEC="));
    manager.until("READY=1");
    hub.wait_for("db1: attached");
    let log = run(home, &["log", "--vm", "web1", "--kind", "detached"]);
    assert_eq!((log.code, &*log.stdout), (Some(0), ""), "the epoch of the other VM continues");

    configure(home, &["web1"], "[retenton]\nmax-age = '1d'\n");
    hub.signal("HUP");
    let ready = manager.until("READY=1");
    assert!(ready.contains("hub.toml:1: unknown key \"retenton\""), "{ready}");
    hub.wait_for("nothing was reloaded");
    let status = run(home, &["status", "--json"]);
    assert_eq!(status.stdout.lines().count(), 2, "both VMs are still followed: {status:?}");

    configure(
        home,
        &["web1"],
        "journal = '/elsewhere/journal.db'\nhttp = 'tcp:127.0.0.1:1'\n[retention]\nmax-age = '1d'\n",
    );
    hub.signal("HUP");
    // The environment overrides the file, so those keys do not differ.
    hub.wait_for("db1: left");
    hub.wait_for("reloaded");
    hub.signal("TERM");
    assert!(manager.until("STOPPING=1").contains("\nEXTEND_TIMEOUT_USEC="));
    assert_eq!(hub.end().code(), Some(0));
}

#[test]
fn wait_ended_of_a_vm_that_a_reload_removed_ends_with_4() {
    let home = directory();
    let home = home.path();
    let _vms = ["web1", "db1"].map(|vm| MonitorThread::start(home.join(format!("{vm}.sock"))));
    configure(home, &["web1", "db1"], "");
    let _manager = Manager::start(home);
    let hub = serve(home);
    hub.wait_for("db1: attached");
    configure(home, &["web1"], "");
    hub.signal("HUP");
    hub.wait_for("db1: left");
    hub.wait_for("reloaded");
    let removed = run(home, &["wait", "db1", "--ended", "--timeout", "20s"]);
    assert_eq!(removed.code, Some(4), "{removed:?}");
    assert!(removed.stderr.contains("hint: no record shows that QEMU closed its monitor"), "{removed:?}");
    let untrue = ["--keep-waiting", "says how it ended"];
    assert!(!untrue.iter().any(|hint| removed.stderr.contains(hint)), "{removed:?}");
    assert_eq!(hub.interrupt(), Some(0));
}

#[test]
fn key_that_needs_a_restart_is_reported() {
    let home = directory();
    let home = home.path();
    let _vm = MonitorThread::start(home.join("web1.sock"));
    configure(home, &["web1"], "findings = false");
    let _manager = Manager::start(home);
    let hub = serve(home);
    hub.wait_for("web1: attached");
    configure(home, &["web1"], "findings = true");
    hub.signal("HUP");
    hub.wait_for("`findings` differs, and takes effect when the hub is restarted");
    assert_eq!(hub.interrupt(), Some(0));
}

/// A reload must not wait for a writer of the FIFO: signals would not be handled.
#[test]
fn configuration_that_is_a_fifo_is_refused_and_signals_still_stop_the_hub() {
    let home = directory();
    let home = home.path();
    let _vm = MonitorThread::start(home.join("web1.sock"));
    configure(home, &["web1"], "");
    let _manager = Manager::start(home);
    let mut hub = serve(home);
    hub.wait_for("web1: attached");
    let path = home.join("hub.toml");
    std::fs::remove_file(&path).expect("removed");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    hub.signal("HUP");
    let refused = hub.wait_for("cannot read the configuration");
    assert!(refused.ends_with("hub.toml: it is a FIFO; write a regular file"), "{refused}");
    hub.wait_for("nothing was reloaded");
    hub.signal("TERM");
    assert_eq!(hub.end().code(), Some(0));

    let RunResult { code, stderr, .. } =
        run(home, &["serve", "--check-config", "--config", path.to_str().expect("text")]);
    assert!(stderr.ends_with("hub.toml: it is a FIFO; write a regular file\n"), "{stderr}");
    assert_eq!(code, Some(2));
}

#[test]
fn check_config_reports_faults_and_starts_nothing() {
    let home = directory();
    let home = home.path();
    configure(home, &["web1"], "[retention]\nmax-age = '90d'\n");
    let path = home.join("hub.toml");
    let check = || run(home, &["serve", "--check-config", "--config", path.to_str().expect("text")]);
    let RunResult { code, stdout, stderr } = check();
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert!(stdout.starts_with("the configuration is good\n"), "{stdout}");
    assert!(stdout.contains("  keeps     records of the last 90 d\n"), "{stdout}");
    assert!(!home.join("journal.db").exists() && !home.join("hub.sock").exists(), "nothing was created");

    std::fs::write(&path, "jurnal = 1\n[retention]\nmax-age = 'long'\n[[vm]]\nname = 'a b'\n")
        .expect("writes");
    let RunResult { code, stdout, stderr } = check();
    assert_eq!((code, &*stdout), (Some(2), ""));
    let shown: Vec<_> =
        stderr.lines().filter_map(|line| line.split_once("hub.toml:")).map(|(_, rest)| rest).collect();
    assert_eq!(shown.len(), 4, "{stderr}");
    assert!(
        shown[0].starts_with("1: unknown key \"jurnal\"")
            && shown[1].starts_with("3: ")
            && shown[2].starts_with("4: this VM has no address")
            && shown[3].starts_with("5: ")
    );

    configure(home, &[], "");
    assert_eq!(check().code, Some(0), "a hub may begin without a VM");

    configure(home, &["web1"], "");
    std::fs::write(home.join("web1.sock"), "no socket").expect("writes");
    let RunResult { code, stderr, .. } = check();
    let place = home.join("web1.sock").display().to_string();
    assert_eq!((code, stderr), (Some(0), format!("warning: web1: {place} is not a socket\n")));
}

#[test]
fn configuration_overrides_environment() {
    let home = directory();
    let home = home.path();
    let at = |name: &str| home.join(name).display().to_string();
    let here = [at("journal.db"), format!("unix:{}", at("hub.sock"))];
    let file = [at("file.db"), format!("unix:{}", at("file.sock"))];
    let line = [at("line.db"), format!("unix:{}", at("line.sock"))];
    let written = format!("journal = '{}'\nhttp = '{}'\n", file[0], file[1]);
    let options = ["--journal", &line[0], "--http", &line[1]];
    let elsewhere = "https://vmhost.example:8443";
    let default = format!("unix:{}", at("run/qmp-events/hub.sock"));
    //  QMP_HUB        file       options       journal, http
    type Case<'a> = (&'a str, &'a str, &'a [&'a str], [&'a str; 2]);
    let cases: [Case<'_>; 5] = [
        (&here[1], "", &[], [&here[0], &default]),
        (&here[1], &written, &[], [&file[0], &file[1]]),
        (&here[1], &written, &options, [&line[0], &line[1]]),
        (elsewhere, &written, &[], [&file[0], &file[1]]),
        (elsewhere, "", &[], [&here[0], &default]),
    ];
    for (hub, file, options, [journal, http]) in cases {
        configure(home, &["web1"], file);
        let config = at("hub.toml");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_qmp"));
        command.args([&["serve", "--check-config", "--config", &config], options].concat());
        command.env("HOME", home).env("QMP_JOURNAL", at("journal.db"));
        let ran =
            command.env("QMP_HUB", hub).env("XDG_RUNTIME_DIR", home.join("run")).output().expect("runs");
        let stdout = String::from_utf8(ran.stdout).expect("text");
        assert!(ran.status.success(), "{stdout}");
        assert!(stdout.contains(&format!("  journal   {journal}\n")), "{stdout}");
        let is_root = rustix::process::geteuid().is_root();
        if !(is_root && http == default) {
            assert!(stdout.contains(&format!("  serves    {http}\n")), "{stdout}");
        }
    }
}

/// systemd's own tool passes two sockets: one at which the configuration serves, and an unknown one.
#[test]
fn sockets_of_systemd_are_inherited_or_closed() {
    let home = directory();
    let home = home.path();
    if !is_installed("systemd-socket-activate", "systemd") {
        return;
    }
    let _vm = MonitorThread::start(home.join("web1.sock"));
    let (known, unknown) = (home.join("hub.sock"), home.join("other.sock"));
    configure(home, &["web1"], &format!("http = '{}'\n", support::hub_address(home)));
    let mut activate = std::process::Command::new("systemd-socket-activate");
    activate.arg("-l").arg(&known).arg("-l").arg(&unknown);
    for variable in ["HOME", "QMP_HUB", "QMP_JOURNAL"] {
        activate.arg("-E").arg(variable);
    }
    let config = home.join("hub.toml");
    activate.arg(env!("CARGO_BIN_EXE_qmp")).args(["serve", "--config", config.to_str().expect("text")]);
    activate
        .env("HOME", home)
        .env("QMP_HUB", support::hub_address(home))
        .env("QMP_JOURNAL", home.join("journal.db"));
    let mut child = activate.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the tool runs");
    let (stdout, stderr) =
        (lines(child.stdout.take().expect("output")), lines(child.stderr.take().expect("errors")));
    let hub = Process::of(child, stdout, stderr);
    hub.wait_for("Listening on");
    // The tool starts the hub when a client connects, which is then served.
    let status = run(home, &["exec", "web1", "query-status", "--hub", &support::hub_address(home)]);
    let refusal = hub.wait_for("closed the socket that systemd passed at");
    assert!(
        refusal.contains(&format!("unix:{}, where the configuration serves nothing", unknown.display())),
        "{refusal}"
    );
    assert!(status.code == Some(0) || status.stderr.contains("web1"), "the hub itself answers: {status:?}");
    // The VM may be attached before or after that log line.
    wait_for("web1 to be attached", || {
        (run(home, &["exec", "web1", "query-status"]).code == Some(0)).then_some(())
    });
    assert_eq!(hub.interrupt(), Some(0));
    assert!(known.exists(), "the socket is systemd's, for the next hub");
}

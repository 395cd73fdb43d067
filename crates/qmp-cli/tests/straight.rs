//! `exec`, `tail`, `wait` and `check` directly at a monitor, without a hub.

mod support;

use qmp_testing::{MonitorThread, respond};
use support::{Process, directory, event, line_with, other_server, run, run_with_input, start_hub};

#[test]
fn exec_prints_the_reply_of_the_vm() {
    let home = directory();
    let vm = MonitorThread::start(home.path().join("vm.sock"));
    let path = vm.path.to_str().unwrap();
    let cases: [(&[&str], i32, &str, &str); 8] = [
        (&["query-status"], 0, "{\"return\":{\"status\":\"running\",\"running\":true}}\n", ""),
        (&["stop"], 0, "{\"return\":{}}\n", ""),
        (
            &["echo", "a=1", "b.c=x", "d=[true]"],
            0,
            "{\"return\":{\"a\":1,\"b\":{\"c\":\"x\"},\"d\":[true]}}\n",
            "",
        ),
        (&["echo", "{\"n\": 18446744073709551615}"], 0, "{\"return\":{\"n\":18446744073709551615}}\n", ""),
        (&["query-status", "--oob"], 0, "{\"return\":{\"status\":\"running\",\"running\":true}}\n", ""),
        (
            &["fail"],
            1,
            "{\"error\":{\"class\":\"GenericError\",\"desc\":\"it \\u001b[31mfailed\"}}\n",
            "qmp: GenericError: it \\u001b[31mfailed\n",
        ),
        (&["nope"], 1, "", "qmp: CommandNotFound: The command nope has not been found\n"),
        (
            &["hang", "--timeout", "100ms"],
            3,
            "",
            "qmp: no reply to hang within 100ms\nhint: the VM may still execute the command\n",
        ),
    ];
    for (arguments, code, stdout, stderr) in cases {
        let ran = run(home.path(), &[&["exec", path], arguments].concat());
        assert_eq!(ran.code, Some(code), "{arguments:?} {ran:?}");
        assert!(ran.stdout.starts_with(stdout), "{arguments:?} {ran:?}");
        assert_eq!(ran.stderr, stderr, "{arguments:?}");
    }
    let ran = run_with_input(home.path(), &["exec", path, "echo", "-"], "{\"from\": \"stdin\"}\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "{\"return\":{\"from\":\"stdin\"}}\n"));
}

#[test]
fn exec_at_a_monitor_of_the_hub_names_the_holder_and_the_vm() {
    let home = directory();
    let vm = MonitorThread::start(home.path().join("vm.sock"));
    let path = vm.path.to_str().unwrap();
    let _hub = start_hub(home.path(), &vm.address());
    let ran = run(home.path(), &["exec", path, "query-status"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.starts_with(&format!("qmp: no greeting from unix:{path}: process ")), "{ran:?}");
    assert!(ran.stderr.contains(" (qmp) is connected; "), "{ran:?}");
    let hint = "the hub has this monitor as web1: `qmp exec web1 query-status` goes through the hub";
    assert!(ran.stderr.contains(hint), "{ran:?}");
}

#[test]
fn unknown_capture_gets_a_hint() {
    let home = directory();
    let ran = run(home.path(), &["check", "a"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("for a VM of the hub: qmp log --vm NAME --json | qmp check -"), "{ran:?}");
}

#[test]
fn wrong_usage_exits_with_2_and_advice() {
    let home = directory();
    let cases: [(&[&str], &str); 12] = [
        (&["exec", "/run/vm.sock", "stop", "now"], "expected key=value or a JSON object, found \"now\""),
        (&["exec", "udp:h:1", "stop"], "write unix:PATH, tcp:HOST:PORT"),
        (&["frobnicate"], "unrecognized subcommand"),
        (&["log", "--since", "soon"], "--since: expected a time"),
        (&["wait", "/run/vm.sock", "STOP", "--since", "4"], "--since needs a journal"),
        (&["wait", "/run/vm.sock", "STOP", "--timeout", "soon"], "expected a span"),
        (&["wait", "web*", "STOP"], "waits for one VM"),
        (&["serve"], "there is no VM to attach"),
        (&["serve", "--attach", "/run/vm.sock"], "expected NAME=ADDR"),
        (&["serve", "--attach", "a=/1", "--attach", "a=/2"], "each VM needs a unique name"),
        (&["events", "SHUTDWON"], "did you mean SHUTDOWN?"),
        (&["check", "/no/such/file"], "cannot read /no/such/file"),
    ];
    for (arguments, message) in cases {
        let ran = run(home.path(), arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?} {ran:?}");
        assert!(ran.stderr.starts_with("qmp: "), "{arguments:?} {ran:?}");
        assert!(ran.stderr.contains(message), "{arguments:?} {ran:?}");
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
    assert_eq!(run(home.path(), &[]).code, Some(2));
    let help = run(home.path(), &["log", "--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("Examples:") && help.stderr.is_empty(), "{help:?}");
    let version = run(home.path(), &["--version"]);
    assert_eq!(version.stdout, format!("qmp {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn missing_monitor_exits_with_4() {
    let home = directory();
    let missing = home.path().join("missing.sock");
    let dead = home.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    for path in [&missing, &dead] {
        let path = path.to_str().unwrap();
        for arguments in [
            &["exec", path, "stop"] as &[&str],
            &["wait", path, "STOP"],
            &["tail", path, "--exit"],
            &["check", &format!("unix:{path}")],
        ] {
            let ran = run(home.path(), arguments);
            assert_eq!(ran.code, Some(4), "{arguments:?} {ran:?}");
            assert!(ran.stderr.contains(path), "{arguments:?} {ran:?}");
        }
    }
}

#[test]
fn peer_that_is_not_qmp_is_reported() {
    let home = directory();
    let ssh = home.path().join("ssh.sock");
    let _ssh = other_server(&ssh, "SSH-2.0-OpenSSH_9.2p1\r\n");
    let file = home.path().join("file");
    std::fs::write(&file, "no socket").unwrap();
    for (path, message) in [(&ssh, "is not a QMP server"), (&file, "is not a socket")] {
        let path = path.to_str().unwrap();
        for arguments in
            [&["exec", path, "stop"] as &[&str], &["wait", path, "STOP"], &["tail", path, "--exit"]]
        {
            let ran = run(home.path(), arguments);
            assert_eq!(ran.code, Some(1), "{arguments:?} {ran:?}");
            assert!(ran.stderr.contains(message), "{arguments:?} {ran:?}");
        }
    }
}

#[test]
fn monitor_in_use_is_reported() {
    let home = directory();
    let path = home.path().join("taken.sock");
    let _taken = other_server(&path, "");
    let ran = run(home.path(), &["exec", path.to_str().unwrap(), "stop"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("sends no greeting"), "{ran:?}");
}

#[test]
fn tail_shows_matching_events() {
    let home = directory();
    let vm = MonitorThread::start_with(home.path().join("web1.sock"), |command, request| match command {
        // The first query-status is answered, and events follow.
        "query-status" => {
            let mut messages = respond(command, request);
            messages.push(event("STOP", None));
            messages.push(event("WATCHDOG", Some("{\"action\": \"pause\"}")));
            messages.push(event("RESUME", None));
            messages
        }
        _ => respond(command, request),
    });
    let tail = Process::start(home.path(), &["tail", vm.path.to_str().unwrap(), "--event", "W*"]);
    let attached = line_with(&tail.stdout, "\"kind\":\"attached\"");
    assert!(
        attached.starts_with("{\"vm\":\"web1\",\"epoch\":1,\"seq\":0,"),
        "no offset, epochs from 1: {attached}"
    );
    let watchdog = line_with(&tail.stdout, "WATCHDOG");
    assert!(watchdog.contains("\"data\":{\"action\": \"pause\"}"), "{watchdog}");
    assert_eq!(tail.interrupt(), Some(0), "Ctrl-C ends tail with 0");
}

#[test]
fn tail_with_exit_ends_with_the_vm() {
    let home = directory();
    let vm = MonitorThread::start_with(home.path().join("web1.sock"), |command, request| match command {
        "query-name" => panic!("this QEMU crashes when it is asked for its name"),
        _ => respond(command, request),
    });
    let ran = run(home.path(), &["tail", vm.path.to_str().unwrap(), "--exit"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
}

#[test]
fn wait_ends_with_the_event_or_after_the_timeout() {
    let home = directory();
    let chatty = |command: &str, request: &serde_json::Value| {
        let mut messages = respond(command, request);
        if command == "query-status" {
            messages.push(event("RTC_CHANGE", Some("{\"offset\": 7}")));
            messages.push(event("RTC_CHANGE", Some("{\"offset\": -3600}")));
        }
        messages
    };
    let vm = MonitorThread::start_with(home.path().join("vm.sock"), chatty);
    let path = vm.path.to_str().unwrap();

    let found = run(home.path(), &["wait", path, "RTC_*", "--where", "offset=-3600", "--timeout", "20s"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(found.stdout.contains("\"data\":{\"offset\": -3600}"), "{found:?}");
    assert_eq!(found.stdout.lines().count(), 1, "{found:?}");

    let late = run(home.path(), &["wait", path, "SHUTDWON", "--timeout", "300ms"]);
    assert_eq!((late.code, late.stdout.as_str()), (Some(3), ""), "{late:?}");
    assert!(late.stderr.contains("did you mean SHUTDOWN?"), "{late:?}");

    let waiting = Process::start(
        home.path(),
        &["wait", home.path().join("later.sock").to_str().unwrap(), "RTC_CHANGE", "--keep-waiting"],
    );
    let _later = MonitorThread::start_with(home.path().join("later.sock"), chatty);
    line_with(&waiting.stdout, "RTC_CHANGE");
}

#[test]
fn closed_pipe_ends_the_program_silently() {
    let home = directory();
    let status = std::process::Command::new("sh")
        .arg("-c")
        .arg("\"$0\" events --json 2>stderr; echo $? >code")
        .arg(env!("CARGO_BIN_EXE_qmp"))
        .current_dir(home.path())
        .stdout(closed_pipe())
        .status();
    assert!(status.unwrap().success());
    let read = |name: &str| std::fs::read_to_string(home.path().join(name)).unwrap();
    assert_eq!((read("code").as_str(), read("stderr").as_str()), ("0\n", ""));
}

/// The writing end of a pipe without a reader.
fn closed_pipe() -> std::process::Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

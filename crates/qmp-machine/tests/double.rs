//! The machine in place of a QEMU: in this process, on a virtual clock.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::{Duration, Instant};

use qmp_events::Release;
use qmp_machine::{Action, ActionError, Guest, Machine, MachineClock, MachineConfig};
use qmp_server::Listener;
use serde_json::{Value, json};
use support::{Client, action, word};

fn start(config: MachineConfig) -> (qmp_machine::RunningMachine, Client) {
    let running = Machine::start(config).unwrap();
    let client = Client::new(running.connect().unwrap());
    (running, client)
}

fn words(messages: &[Value]) -> String {
    messages.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn machine_starts_within_500_ms() {
    let started = Instant::now();
    let (_running, _client) = start(MachineConfig::default());
    // A start takes a millisecond or two; a hundred times that is a fault on any machine.
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

#[test]
fn event_reaches_all_clients() {
    let (running, mut first) = start(MachineConfig::default());
    let mut second = Client::new(running.connect().unwrap());
    assert_eq!(words(&first.ask(&action("stop"))), "STOP reply");
    running.advance(Duration::ZERO).unwrap();
    assert_eq!(words(&second.lines_now()), "STOP");
}

#[test]
fn attentive_guest_releases_device_and_shuts_down() {
    let (running, mut client) = start(MachineConfig::default());
    assert_eq!(words(&client.ask(&action("device_del id=net0"))), "reply");
    running.advance(Duration::from_millis(49)).unwrap();
    assert_eq!(words(&client.lines_now()), "");
    running.advance(Duration::from_millis(1)).unwrap();
    assert_eq!(words(&client.lines_now()), "DEVICE_DELETED DEVICE_DELETED");
    assert_eq!(words(&client.ask(&action("system_powerdown"))), "POWERDOWN reply");
    running.advance(Duration::from_secs(1)).unwrap();
    assert_eq!(words(&client.rest()), "SHUTDOWN");
    assert_eq!(running.wait().unwrap(), 0);
}

#[test]
fn absent_guest_ignores_requests() {
    let (running, mut client) = start(MachineConfig::default().with_guest(Guest::Absent));
    assert_eq!(words(&client.ask(&action("device_del id=net0"))), "reply");
    assert_eq!(words(&client.ask(&action("system_powerdown"))), "POWERDOWN reply");
    running.advance(Duration::from_secs(3600)).unwrap();
    assert_eq!(words(&client.lines_now()), "");
}

#[test]
fn rate_limited_event_waits_for_its_window() {
    let (running, mut client) = start(MachineConfig::default());
    for offset in 1..=3 {
        running.machine().perform(&Action::new("x-guest-set-clock").with("offset", offset)).unwrap();
        running.advance(Duration::from_millis(100)).unwrap();
    }
    let offsets = |messages: Vec<Value>| {
        messages.iter().map(|message| message["data"]["offset"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(offsets(client.lines_now()), [json!(1)]);
    running.advance(Duration::from_millis(699)).unwrap();
    assert_eq!(offsets(client.lines_now()), [] as [Value; 0]);
    running.advance(Duration::from_millis(1)).unwrap();
    let held = client.lines_now();
    // The event keeps its original time.
    assert_eq!(held[0]["timestamp"]["microseconds"], 200_000);
    assert_eq!(offsets(held), [json!(3)]);
}

#[test]
fn held_event_is_lost_at_exit() {
    let (running, mut client) = start(MachineConfig::default());
    for offset in [1, 2] {
        running.machine().perform(&Action::new("x-guest-set-clock").with("offset", offset)).unwrap();
    }
    assert_eq!(words(&client.ask(&action("quit"))), "RTC_CHANGE SHUTDOWN reply");
    assert_eq!(words(&client.rest()), "");
}

#[test]
fn balloon_change_reports_first_step_at_once_and_last_value() {
    let (running, mut client) = start(MachineConfig::default());
    assert_eq!(words(&client.ask(&action("balloon value=268435456"))), "reply");
    running.advance(Duration::from_secs(5)).unwrap();
    let reported: Vec<_> =
        client.lines_now().iter().map(|message| message["data"]["actual"].as_u64().unwrap()).collect();
    assert_eq!((reported.first(), reported.last()), (Some(&((1 << 30) - (64 << 20))), Some(&(256 << 20))));
    assert!(reported.len() <= 3, "more than one a second: {reported:?}");
}

#[test]
fn stopping_error_recurs_on_each_cont_until_repaired() {
    let (running, mut client) = start(MachineConfig::default());
    for line in
        ["x-host-block-fault node-name=disk0-node operation=write error=ENOSPC", "x-guest-write id=disk0"]
    {
        client.ask(&action(line));
    }
    for _ in 0..3 {
        let mut messages = client.ask(&action("cont"));
        running.advance(Duration::ZERO).unwrap();
        messages.extend(client.lines_now());
        assert_eq!(words(&messages), "RESUME reply BLOCK_IO_ERROR STOP");
    }
    client.ask(&action("x-host-block-repair node-name=disk0-node"));
    assert_eq!(words(&client.ask(&action("cont"))), "RESUME reply");
    running.advance(Duration::from_secs(1)).unwrap();
    assert_eq!(words(&client.lines_now()), "");
}

#[test]
fn error_policy_determines_the_action() {
    let rows = [
        // policies                        error     action    nospace
        ("werror=stop rerror=report", "EIO", "stop", Some(false)),
        ("werror=enospc rerror=report", "EIO", "report", Some(false)),
        ("werror=enospc rerror=report", "ENOSPC", "stop", Some(true)),
        ("werror=report rerror=report", "ENOSPC", "report", None),
        ("werror=ignore rerror=ignore", "EIO", "ignore", None),
    ];
    for (policies, error, expected, nospace) in rows {
        let (_running, mut client) = start(MachineConfig::default());
        client.ask(&action("blockdev-add driver=null-co node-name=n"));
        client.ask(&action(&format!("device_add driver=virtio-blk-pci id=d drive=n {policies}")));
        client.ask(&action(&format!("x-host-block-fault node-name=n operation=write error={error}")));
        let messages = client.ask(&action("x-guest-write id=d"));
        let data = &messages[0]["data"];
        assert_eq!(data["action"], expected, "{policies} {error}");
        assert_eq!(data.get("nospace").and_then(Value::as_bool), nospace, "{policies} {error}");
        assert_eq!(messages.len(), if expected == "stop" { 3 } else { 2 }, "{policies} {error}");
    }
}

#[test]
fn image_corruption_is_reported_once_per_severity() {
    let (running, mut client) = start(MachineConfig::default());
    let mut reported = |fatal: bool| {
        client.ask(&action(&format!("x-host-corrupt-image node-name=disk0-node fatal={fatal}")));
        let mut messages = client.ask(&action("x-guest-read id=disk0"));
        running.advance(Duration::from_secs(2)).unwrap();
        messages.extend(client.lines_now());
        words(&messages)
    };
    assert_eq!(reported(false), "BLOCK_IMAGE_CORRUPTED reply BLOCK_IO_ERROR");
    assert_eq!(reported(false), "reply BLOCK_IO_ERROR");
    assert_eq!(reported(true), "BLOCK_IMAGE_CORRUPTED reply BLOCK_IO_ERROR");
    assert_eq!(reported(true), "reply BLOCK_IO_ERROR");
}

#[test]
fn write_threshold_is_reported_once() {
    let (_running, mut client) = start(MachineConfig::default());
    client.ask(&action("block-set-write-threshold node-name=disk0-node write-threshold=4096"));
    let exceeding = client.ask(&action("x-guest-write id=disk0 offset=4096 length=512"));
    assert_eq!(exceeding[0]["data"]["amount-exceeded"], 512);
    assert_eq!(words(&client.ask(&action("x-guest-write id=disk0 offset=4096"))), "reply");
}

#[test]
fn rx_filter_change_is_reported_once_and_again_after_each_query() {
    let (running, mut client) = start(MachineConfig::default());
    let change = |client: &mut Client| {
        let messages = client.ask(&action("x-guest-change-rx-filter id=net0"));
        running.advance(Duration::ZERO).unwrap();
        words(&messages)
    };
    assert_eq!(change(&mut client), "NIC_RX_FILTER_CHANGED reply");
    assert_eq!(change(&mut client), "reply");
    for _ in 0..2 {
        client.ask(&action("query-rx-filter name=net0"));
        assert_eq!(change(&mut client), "NIC_RX_FILTER_CHANGED reply");
        assert_eq!(change(&mut client), "reply");
    }
}

#[test]
fn job_with_speed_limit_takes_the_resulting_time() {
    let (running, mut client) = start(MachineConfig::default());
    client.ask(&action("blockdev-add driver=null-co node-name=t"));
    let started =
        client.ask(&action("blockdev-mirror job-id=j device=disk0-node target=t sync=full speed=104857600"));
    assert_eq!(words(&started), "JOB_STATUS_CHANGE JOB_STATUS_CHANGE reply");
    running.advance(Duration::from_secs(10)).unwrap();
    assert_eq!(words(&client.lines_now()), "");
    let jobs = client.ask(&action("query-jobs"));
    let done = jobs[0]["return"][0]["current-progress"].as_u64().unwrap();
    // The job works first and sleeps afterwards.
    assert_eq!(done, 101 * (104_857_600 / 10));
    running.advance(Duration::from_secs(1)).unwrap();
    assert_eq!(words(&client.lines_now()), "JOB_STATUS_CHANGE BLOCK_JOB_READY");
}

#[test]
fn action_is_refused_alike_for_script_and_client() {
    let (running, mut client) = start(MachineConfig::default());
    for line in
        ["nope", "device_del", "device_del id=nope", "stop x=1", "set-action panic=bogus", "system_wakeup"]
    {
        let action = action(line);
        let reply = client.ask(&action).pop().unwrap();
        let refusal = match running.machine().perform(&action) {
            Err(ActionError::Refused(refusal) | ActionError::Unknown { refusal, .. }) => refusal,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(reply["error"], json!({"class": refusal.class, "desc": refusal.desc}), "{line}");
    }
}

#[test]
fn unknown_action_suggests_nearest_name() {
    let (running, _client) = start(MachineConfig::default());
    let rows = [
        ("x-guest-pannic", "; did you mean \"x-guest-panic\"?"),
        ("query-blok", "; did you mean \"query-block\"?"),
        ("entirely-something-else", ""),
    ];
    for (name, hint) in rows {
        let error = running.machine().perform(&Action::new(name)).unwrap_err();
        let expected = format!("CommandNotFound: The command {name} has not been found{hint}");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn action_after_exit_is_refused() {
    let (running, mut client) = start(MachineConfig::default());
    running.machine().perform(&action("quit")).unwrap();
    assert_eq!(words(&client.rest()), "SHUTDOWN");
    assert_eq!(running.machine().perform(&action("cont")), Err(ActionError::Exited { status: 0 }));
}

#[test]
fn x_emit_sends_unknown_event() {
    let (_running, mut client) = start(MachineConfig::default());
    let emit =
        Action::new("x-emit").with("event", "__org.example_MADE_UP").with("data", json!({"a": [1, null]}));
    let messages = client.ask(&emit);
    assert_eq!(
        (&messages[0]["event"], &messages[0]["data"]),
        (&json!("__org.example_MADE_UP"), &json!({"a": [1, null]}))
    );
    for refused in ["event=X data=1", "event=x", "event=\"\"", "event=\"X\\n\"", "event=\"X\\\"\""] {
        assert_eq!(words(&client.ask(&action(&format!("x-emit {refused}")))), "error", "{refused}");
    }
}

#[test]
fn command_exists_only_in_its_releases() {
    let rows = [
        // command              0.14     2.6      5.2      11.1
        ("query-jobs", [false, false, true, true]),
        ("set-action", [false, false, false, true]),
        ("watchdog-set-action", [false, false, true, true]),
        ("change device=cd0 target=x", [true, true, true, false]),
        ("x-guest-reset", [true, true, true, true]),
    ];
    for (line, expected) in rows {
        let releases = [(0, 14), (2, 6), (5, 2), (11, 1)].map(|(major, minor)| Release::new(major, minor));
        for (release, exists) in releases.into_iter().zip(expected) {
            let (_running, mut client) = start(MachineConfig::default().with_release(release));
            let reply = client.ask(&action(line)).pop().unwrap();
            assert_eq!(
                reply["error"]["class"] != "CommandNotFound",
                exists,
                "{line} at {release:?}: {reply}"
            );
        }
    }
}

#[test]
fn schema_contains_every_command() {
    let (_running, mut client) = start(MachineConfig::default());
    let schema = client.ask(&action("query-qmp-schema")).pop().unwrap();
    let names = |kind: &str| -> Vec<String> {
        let entries = schema["return"].as_array().unwrap().iter().filter(|entry| entry["meta-type"] == kind);
        entries.map(|entry| entry["name"].as_str().unwrap().into()).collect()
    };
    let listed = client.ask(&action("query-commands")).pop().unwrap();
    let mut listed: Vec<String> = listed["return"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str().unwrap().into())
        .collect();
    let mut described = names("command");
    listed.sort();
    described.sort();
    assert_eq!(listed, described);
    assert!(names("event").contains(&"WATCHDOG".into()));
}

#[test]
fn host_clock_advances_without_a_call() {
    let config = MachineConfig::default().with_clock(MachineClock::Host);
    let (_running, mut client) = start(config);
    assert_eq!(words(&client.ask(&action("device_del id=net0"))), "reply");
    // The event follows after 50 ms of real time; the client waits for it.
    assert_eq!(client.line().map(|line| word(&line)).as_deref(), Some("DEVICE_DELETED"));
}

#[test]
fn machine_listens_at_the_given_path() {
    let running = Machine::start(MachineConfig::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor");
    running.listen(Listener::unix(&path).unwrap()).unwrap();
    let mut client = Client::new(std::os::unix::net::UnixStream::connect(&path).unwrap());
    assert_eq!(words(&client.ask(&action("query-name"))), "reply");
    drop(running);
    assert!(!path.exists(), "the socket is left");
    assert_eq!(client.line(), None);
}

#[test]
fn invalid_device_is_an_error_at_start() {
    let devices = vec![Action::new("device_add").with("driver", "nope")];
    let error = Machine::start(MachineConfig::bare().with_devices(devices)).unwrap_err();
    assert_eq!(error.to_string(), "device_add: 'nope' is not a valid device model name");
}

#[test]
fn part_beyond_the_maximum_is_refused() {
    let running = Machine::start(MachineConfig::bare()).unwrap();
    let add = |number: u32| {
        Action::new("blockdev-add").with("driver", "null-co").with("node-name", format!("n{number}"))
    };
    for number in 0..4096 {
        running.machine().perform(&add(number)).unwrap();
    }
    let Err(ActionError::Refused(refusal)) = running.machine().perform(&add(4096)) else {
        panic!("the machine accepts more")
    };
    assert_eq!(refusal.desc, "an emulated machine has no more than 4096 parts");
}

#[test]
fn last_messages_are_sent_after_the_clock_advanced() {
    for _ in 0..50 {
        let (running, mut client) = start(MachineConfig::default());
        client.ask(&action("system_powerdown"));
        running.advance(Duration::from_secs(1)).unwrap();
        assert_eq!(words(&client.lines_now()), "SHUTDOWN");
    }
}

#[test]
fn job_with_speed_limit_and_ignored_errors_takes_the_resulting_time() {
    let (running, mut client) = start(MachineConfig::default());
    for line in [
        "blockdev-add driver=null-co node-name=source size=4294967296",
        "blockdev-add driver=null-co node-name=target size=4294967296",
        "x-host-block-fault node-name=source operation=read error=EIO",
        "blockdev-mirror job-id=job device=source target=target sync=full speed=1048576 on-source-error=ignore",
    ] {
        client.ask(&action(line));
    }
    running.advance(Duration::from_millis(9500)).unwrap();
    let errors = client.lines_now().iter().filter(|message| message["event"] == "BLOCK_JOB_ERROR").count();
    assert_eq!(errors, 10, "one for each piece of a second");
}

#[test]
fn directory_of_a_killed_process_is_not_used() {
    let name = |number: u32| format!("qmp-machine-{}-{number}", std::process::id());
    let left: Vec<_> = (0..64).map(|number| std::env::temp_dir().join(name(number))).collect();
    // The directories of other tests in this process stay theirs.
    let left: Vec<_> = left.into_iter().filter(|directory| std::fs::create_dir(directory).is_ok()).collect();
    for directory in &left {
        drop(std::os::unix::net::UnixListener::bind(directory.join("monitor")).unwrap());
    }
    let running = Machine::start(MachineConfig::default()).unwrap();
    let address = running.address();
    for directory in &left {
        std::fs::remove_dir_all(directory).unwrap();
    }
    let qmp_server::Address::Unix { path, .. } = address.unwrap() else { unreachable!() };
    assert!(!left.iter().any(|directory| path.starts_with(directory)), "{path:?}");
    std::os::unix::net::UnixStream::connect(path).unwrap();
}

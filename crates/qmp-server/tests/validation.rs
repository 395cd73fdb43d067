//! Events and return values compared with what the claimed release says about them.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::sync::{Arc, Mutex};

use qmp_events::{DatalessEvent, Event, EventKind, Release, RtcChange, Shutdown, ShutdownCause};
use qmp_server::{
    Command, EmitOutcome, HiddenOutput, Monitor, MonitorBuilder, NoArguments, ObjectType, PendingCommand,
    TextEvent, Type, Validation,
};
use support::{exchange::without_time, machine::client};

/// A monitor, and what it reports as invalid.
fn monitor(
    version: (u32, u32, u32),
    validation: Validation,
    describe: impl FnOnce(MonitorBuilder) -> MonitorBuilder,
) -> (Monitor, Arc<Mutex<Vec<String>>>) {
    let reported = Arc::new(Mutex::new(Vec::new()));
    let report = Arc::clone(&reported);
    let builder = Monitor::builder(version.0, version.1, version.2)
        .validation(validation)
        .on_invalid(move |invalid| report.lock().unwrap().push(invalid.to_string()));
    (describe(builder).build().unwrap(), reported)
}

fn rtc_change() -> Event {
    Event::RtcChange(RtcChange::new(-3600, "/machine/rtc".into()))
}

#[test]
fn constructors_take_what_the_newest_release_always_sends() {
    let shutdown = Event::Shutdown(Shutdown::new(false, ShutdownCause::HostQmpQuit));
    let rows = [
        ((9, 2, 0), rtc_change(), r#"{"offset": -3600, "qom-path": "/machine/rtc"}"#),
        ((6, 2, 0), rtc_change(), r#"{"offset": -3600}"#),
        ((9, 2, 0), shutdown.clone(), r#"{"guest": false, "reason": "host-qmp-quit"}"#),
        ((2, 8, 0), shutdown, ""),
    ];
    for (version, event, data) in rows {
        let (mut monitor, reported) = monitor(version, Validation::Refuse, |builder| builder);
        let mut client = client(&mut monitor);
        assert_eq!(monitor.emitter().emit(&event), EmitOutcome::Queued, "{version:?}");
        monitor.process().unwrap();
        let line = without_time(&client.lines_now()[0]);
        let data = if data.is_empty() { String::new() } else { format!(r#", "data": {data}"#) };
        let expected = format!(r#"{{"timestamp": {{*}}, "event": "{}"{data}}}"#, event.name());
        assert_eq!(line, expected, "{version:?}");
        assert!(reported.lock().unwrap().is_empty());
    }
}

#[test]
fn invalid_event_is_refused_and_reported() {
    let level = ObjectType::default().required("level", Type::Uint8);
    let (mut monitor, reported) =
        monitor((9, 2, 0), Validation::Refuse, |builder| builder.event("__org.example_LEVEL", level));
    let mut client = client(&mut monitor);
    let rows = [
        // event                  data
        ("SHUTDOWN", None, "has no data, but QEMU 9.2.0 sends guest, reason"),
        ("RTC_CHANGE", Some(r#"{"offset": 1}"#), "qom-path: missing, but QEMU 9.2.0 always sends it"),
        ("STOP", Some(r#"{"why": 1}"#), "has data, but QEMU 9.2.0 sends it without"),
        ("__org.example_LEVEL", None, "Parameter 'data.level' is missing"),
        ("__org.example_LEVEL", Some(r#"{"level": 256}"#), "Parameter 'level' expects uint8_t"),
    ];
    for (name, data, desc) in rows {
        assert_eq!(
            monitor.emitter().emit(&TextEvent { name, data }),
            EmitOutcome::Invalid,
            "{name} {data:?}"
        );
        assert_eq!(reported.lock().unwrap().pop().unwrap(), format!("event {name}: {desc}"));
    }
    let fits = TextEvent { name: "__org.example_LEVEL", data: Some(r#"{"level": 255}"#) };
    assert_eq!(monitor.emitter().emit(&fits), EmitOutcome::Queued);
    monitor.process().unwrap();
    assert_eq!(client.lines_now().len(), 1);
    assert_eq!(monitor.stats().invalid, 5);
}

#[test]
fn invalid_event_is_refused_also_without_a_client() {
    let (monitor, _) = monitor((9, 2, 0), Validation::Refuse, |builder| builder);
    assert_eq!(monitor.emitter().emit(&TextEvent { name: "SHUTDOWN", data: None }), EmitOutcome::Invalid);
    assert_eq!(monitor.emitter().emit(&DatalessEvent::Stop), EmitOutcome::Unheard);
}

#[test]
fn invalid_event_is_counted_and_sent() {
    let (mut monitor, reported) = monitor((9, 2, 0), Validation::Count, |builder| builder);
    let mut client = client(&mut monitor);
    let shutdown = TextEvent { name: "SHUTDOWN", data: None };
    for _ in 0..2 {
        assert_eq!(monitor.emitter().emit(&shutdown), EmitOutcome::Queued);
        assert_eq!(monitor.emitter().emit(&DatalessEvent::Stop), EmitOutcome::Queued);
    }
    monitor.process().unwrap();
    assert_eq!(client.lines_now().len(), 4);
    assert_eq!((monitor.stats().invalid, reported.lock().unwrap().len()), (2, 2));
}

#[test]
fn hidden_members_are_not_missing() {
    let hidden = HiddenOutput::default().with_deprecated(true).with_unstable(true);
    let (monitor, reported) = monitor((11, 1, 3), Validation::Refuse, |builder| builder.hide(hidden));
    for desc in qmp_events::catalogue().iter().filter(|desc| desc.exists_in(Release::new(11, 1))) {
        for example in desc.examples {
            let event = TextEvent { name: desc.name, data: Some(example) };
            assert_ne!(
                monitor.emitter().emit(&event),
                EmitOutcome::Invalid,
                "{:?}",
                reported.lock().unwrap()
            );
        }
    }
}

#[test]
fn unknown_event_is_not_validated_with_any_event() {
    let (monitor, _) = monitor((2, 8, 0), Validation::Refuse, |builder| builder.any_event(true));
    for name in ["JOB_STATUS_CHANGE", "OF_TOMORROW"] {
        assert_eq!(monitor.emitter().emit(&TextEvent { name, data: None }), EmitOutcome::Unheard, "{name}");
    }
}

fn kvm(name: &str) -> Command {
    let info = ObjectType::new("KvmInfo").required("enabled", Type::Bool).required("present", Type::Bool);
    Command::new(name).returns(info)
}

fn half() -> std::collections::BTreeMap<&'static str, bool> {
    [("enabled", true)].into()
}

fn with_commands(builder: MonitorBuilder) -> MonitorBuilder {
    builder
        .command(kvm("here").run(|NoArguments {}| Ok(half())))
        .command(kvm("elsewhere").hand_over(|command: PendingCommand| command.reply(Ok(half()))))
        .command(Command::new("undescribed").run(|NoArguments {}| Ok(half())))
}

#[test]
fn invalid_return_value_is_refused_and_reported() {
    let (mut monitor, reported) = monitor((9, 2, 0), Validation::Refuse, with_commands);
    let mut client = client(&mut monitor);
    let rows = [
        ("here", "Parameter 'return.present' is missing"),
        ("elsewhere", "Parameter 'return.present' is missing"),
        (
            "undescribed",
            "Parameter 'return.enabled' is unexpected; describe the value with `Command::returns`",
        ),
    ];
    for (command, desc) in rows {
        client.send(format!(r#"{{"execute":"{command}"}}"#));
        monitor.process().unwrap();
        let text = format!("return value of {command}: {desc}");
        let expected = format!(r#"{{"error": {{"class": "GenericError", "desc": "Invalid {text}"}}}}"#);
        assert_eq!(client.lines_now(), [expected]);
        assert_eq!(reported.lock().unwrap().pop(), Some(text));
    }
}

#[test]
fn invalid_return_value_is_counted_and_sent() {
    let (mut monitor, _) = monitor((9, 2, 0), Validation::Count, with_commands);
    let mut client = client(&mut monitor);
    client.send(r#"{"execute":"here"}{"execute":"elsewhere"}{"execute":"undescribed"}"#);
    monitor.process().unwrap();
    assert_eq!(client.lines_now(), [r#"{"return": {"enabled": true}}"#; 3]);
    assert_eq!(monitor.stats().invalid, 3);
}

#[test]
fn built_in_commands_return_what_they_describe() {
    for version in [(2, 12, 0), (7, 2, 22), (11, 1, 3)] {
        let (mut monitor, reported) = monitor(version, Validation::Refuse, |builder| builder.name("x"));
        let mut client = client(&mut monitor);
        for command in ["query-version", "query-name", "query-uuid", "query-status", "query-commands"] {
            client.send(format!(r#"{{"execute":"{command}"}}"#));
        }
        monitor.process().unwrap();
        assert_eq!(client.lines_now().len(), 5);
        assert_eq!(reported.lock().unwrap().as_slice(), [""; 0]);
    }
}

#[test]
fn default_depends_on_debug_assertions() {
    let expected = if cfg!(debug_assertions) { Validation::Refuse } else { Validation::Count };
    assert_eq!(Validation::default(), expected);
}

#[test]
fn stats_account_for_every_event() {
    let (mut monitor, _) = monitor((9, 2, 0), Validation::Refuse, |builder| builder);
    let _client = client(&mut monitor);
    let emitter = monitor.emitter();
    // One passes, one is replaced, one is held until the end.
    let outcomes: Vec<_> = (0..3).map(|_| emitter.emit(&rtc_change())).collect();
    assert_eq!(outcomes, [EmitOutcome::Queued, EmitOutcome::Held, EmitOutcome::Held]);
    assert_eq!((emitter.stats().emitted, emitter.stats().merged), (1, 1));
    monitor.shutdown();
    assert_eq!((emitter.stats().emitted, emitter.stats().merged), (2, 1));
    assert_eq!(emitter.stats().delivered, 2);
}

#[test]
fn dataless_events_are_those_without_data() {
    for desc in qmp_events::catalogue() {
        let is_dataless = DatalessEvent::try_from(desc.kind).is_ok();
        assert_eq!(is_dataless, desc.members.is_empty(), "{}", desc.name);
    }
    assert_eq!(EventKind::from(DatalessEvent::Stop), EventKind::Stop);
    assert_eq!(Event::from(DatalessEvent::Stop).name(), "STOP");
}

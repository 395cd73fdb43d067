//! A live update: a monitor stops, and its successor serves the same clients on.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{
    os::unix::net::UnixStream,
    process::Command as Process,
    sync::{Arc, Mutex},
    time::Duration,
};

use qmp_events::DatalessEvent;
use qmp_server::{
    Command, EmitOutcome, Handover, Listener, ManualClock, Monitor, MonitorBuilder, NoArguments,
    PendingCommand, TimeSource,
};
use support::{
    client::Client,
    machine::{client, event, unnegotiated_client},
};

/// Set for the process that takes a monitor over: the numbers of its descriptors.
const NUMBERS: &str = "QMP_SERVER_TEST_NUMBERS";
const TEXT: &str = "QMP_SERVER_TEST_TEXT";

#[derive(Clone, Debug)]
struct SharedClock(Arc<ManualClock>);

impl TimeSource for SharedClock {
    fn monotonic(&self) -> std::time::Instant {
        self.0.monotonic()
    }

    fn wall(&self) -> Duration {
        self.0.wall()
    }
}

fn builder() -> MonitorBuilder {
    Monitor::builder(11, 1, 3).name("vm")
}

/// The same through the text, as another process gets it.
fn through_text(monitor: Monitor) -> Handover {
    let (text, descriptors) = monitor.hand_over().into_parts();
    Handover::from_parts(&text, descriptors).unwrap()
}

const NAME: &str = r#"{"return": {"name": "vm"}}"#;

#[test]
fn client_keeps_its_connection_over_an_update() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vm");
    let mut before = builder().build().unwrap();
    let id = before.listen(Listener::unix(&path).unwrap().connections_max(2).pretty(true)).unwrap();
    let mut negotiated = client(&mut before);
    let mut greeted = unnegotiated_client(&mut before);
    let mut local = Client::new(UnixStream::connect(&path).unwrap());
    negotiated.send(r#"{"execute":"qu"#);
    greeted.send(r#"{"execute":"qmp_capa"#);
    before.process().unwrap();
    let greeting = local.lines_now();
    assert_eq!((greeted.lines_now().len(), greeting[0].as_str()), (1, "{"));
    let emitter = before.emitter();
    let handover = through_text(before);
    assert_eq!(handover.connections(), 3);
    assert_eq!(emitter.emit(&DatalessEvent::Stop), EmitOutcome::Closed);
    assert_eq!(emitter.stats().connections, 0);
    let mut after = builder().resume(handover).unwrap();
    negotiated.send(r#"ery-name"}"#);
    greeted.send(r#"bilities"}{"execute":"query-name"}"#);
    local.send(r#"{"execute":"qmp_capabilities"}"#);
    after.process().unwrap();
    assert_eq!(negotiated.lines_now(), [NAME]);
    assert_eq!(greeted.lines_now(), [r#"{"return": {}}"#, NAME]);
    assert_eq!(
        local.lines_now(),
        ["{", r#"    "return": {"#, "    }", "}"],
        "pretty, and no second greeting"
    );
    after.emitter().emit(&DatalessEvent::Stop);
    after.process().unwrap();
    assert_eq!((negotiated.lines_now().len(), greeted.lines_now().len()), (1, 1));
    // The listener serves on, with its limit, and its file goes at the end.
    let mut other = Client::new(UnixStream::connect(&path).unwrap());
    let mut third = Client::new(UnixStream::connect(&path).unwrap());
    after.process().unwrap();
    assert!(!other.lines_now().is_empty() && third.lines_now().is_empty());
    assert!(after.remove_listener(id).is_some(), "ids stay");
    assert!(!path.exists());
}

#[test]
fn held_events_and_silent_sources_survive_an_update() {
    let clock = SharedClock(Arc::new(ManualClock::new(Duration::from_secs(1_700_000_000))));
    let mut before = builder().clock(clock.clone()).build().unwrap();
    let mut client = client(&mut before);
    let rtc = |offset: u32| event("RTC_CHANGE", &format!(r#"{{"offset": {offset}, "qom-path": "/rtc"}}"#));
    let filter = event("NIC_RX_FILTER_CHANGED", r#"{"name": "n", "path": "/n"}"#);
    for offset in 1..=2 {
        before.emitter().emit(&rtc(offset));
    }
    before.emitter().emit(&filter);
    before.process().unwrap();
    assert_eq!(client.lines_now().len(), 2);
    clock.0.advance(Duration::from_millis(600));
    let mut after = builder().clock(clock.clone()).resume(through_text(before)).unwrap();
    assert_eq!(after.emitter().emit(&filter), EmitOutcome::Silent);
    assert_eq!(after.next_timeout(), Some(Duration::from_millis(400)));
    clock.0.advance(Duration::from_millis(400));
    after.process().unwrap();
    let lines = client.lines_now();
    assert!(lines.len() == 1 && lines[0].contains(r#""offset": 2"#), "{lines:?}");
    assert!(lines[0].contains(r#""seconds": 1700000000, "microseconds": 0"#), "{lines:?}");
}

#[test]
fn pending_command_is_refused_and_client_stays_connected() {
    let pending: Arc<Mutex<Vec<PendingCommand>>> = Arc::default();
    let keep = Arc::clone(&pending);
    let slow = Command::new("slow").hand_over(move |command| keep.lock().unwrap().push(command));
    let mut before = builder().command(slow).build().unwrap();
    let mut client = client(&mut before);
    client.send(r#"{"execute":"slow","id":1}{"execute":"query-name","id":2}{"execute":"query-uu"#);
    before.process().unwrap();
    let mut after = builder().resume(through_text(before)).unwrap();
    pending.lock().unwrap().pop().unwrap().reply(Ok(()));
    client.send(r#"id","id":3}"#);
    after.process().unwrap();
    let refused = r#""error": {"class": "GenericError", "desc": "The command was interrupted by an update of the monitor"}}"#;
    let uuid = r#"{"return": {"UUID": "00000000-0000-0000-0000-000000000000"}, "id": 3}"#;
    let expected = [format!(r#"{{"id": 1, {refused}"#), format!(r#"{{"id": 2, {refused}"#), uuid.into()];
    assert_eq!(client.lines_now(), expected);
}

#[test]
fn error_position_is_the_same_as_without_an_update() {
    let cut = "{\"execute\":\n  \"query-name\"}\n {\"execute\"; 1}";
    let ask = |update_at: Option<usize>| {
        let mut monitor = builder().build().unwrap();
        let mut client = client(&mut monitor);
        let (first, second) = cut.split_at(update_at.unwrap_or(cut.len()));
        client.send(first);
        monitor.process().unwrap();
        if update_at.is_some() {
            monitor = builder().resume(through_text(monitor)).unwrap();
        }
        client.send(second);
        monitor.process().unwrap();
        client.lines_now()
    };
    let expected = ask(None);
    assert!(expected[1].contains("JSON parse error"), "{expected:?}");
    for place in 0..cut.len() {
        // After the complaint, the rest of the message is skipped, which a successor cannot know: it is closed.
        if place <= cut.find(';').unwrap() {
            assert_eq!(ask(Some(place)), expected, "at {place}");
        }
    }
}

#[test]
fn waiting_output_is_written_by_the_successor() {
    let mut before = builder().build().unwrap();
    let mut client = client(&mut before);
    let request = r#"{"execute":"query-qmp-schema"}"#;
    client.send(request.repeat(3));
    before.process().unwrap();
    let after = builder().resume(through_text(before)).unwrap().spawn().unwrap();
    let lines: Vec<_> = (0..3).map(|_| client.line().unwrap()).collect();
    assert!(lines.iter().all(|line| line == &lines[0] && line.ends_with("]}")));
    after.stop().unwrap();
}

#[test]
fn mismatched_state_is_refused() {
    let monitor = builder().build().unwrap();
    let (text, _) = monitor.hand_over().into_parts();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let error = Handover::from_parts(&text, vec![ours.into()]).unwrap_err();
    assert_eq!(error.to_string(), "0 descriptors belong to the state, not 1");
    for text in ["", "{}", &text.replace(r#""version": 2"#, r#""version": 3"#)] {
        assert!(Handover::from_parts(text, Vec::new()).is_err(), "{text}");
    }
    assert!(Handover::inherited(&text, &[-1]).is_err());
}

#[test]
fn held_events_are_flushed_without_shutdown() {
    let mut monitor = builder().build().unwrap();
    let mut client = client(&mut monitor);
    let emitter = monitor.emitter();
    for _ in 0..2 {
        emitter.emit(&event("RTC_CHANGE", r#"{"offset": 1, "qom-path": "/rtc"}"#));
    }
    assert_eq!((emitter.flush_held(), emitter.flush_held()), (1, 0));
    monitor.process().unwrap();
    assert_eq!(client.lines_now().len(), 2);
    assert_eq!(emitter.emit(&DatalessEvent::Stop), EmitOutcome::Queued);
}

/// The successor is another process, which inherits the sockets.
#[test]
fn successor_is_another_process() {
    if let Ok(numbers) = std::env::var(NUMBERS) {
        let numbers: Vec<_> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
        let handover = Handover::inherited(&std::env::var(TEXT).unwrap(), &numbers).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let quit = Command::new("quit").run(move |NoArguments {}| {
            sender.send(()).unwrap();
            Ok(())
        });
        let thread = builder().command(quit).resume(handover).unwrap().spawn().unwrap();
        receiver.recv().unwrap();
        return thread.stop().unwrap();
    }
    let thread = builder().build().unwrap().spawn().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread.attach(theirs);
    let mut client = Client::new(ours);
    client.negotiate();
    let handover = thread.hand_over().unwrap();
    let (text, numbers) = handover.make_inheritable().unwrap();
    let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "successor_is_another_process", "--nocapture"])
        .env(NUMBERS, numbers.join(" "))
        .env(TEXT, text)
        .spawn()
        .unwrap();
    drop(handover);
    assert_eq!(client.ask(r#"{"execute":"query-name"}"#), NAME);
    assert_eq!(client.ask(r#"{"execute":"quit"}"#), r#"{"return": {}}"#);
    assert_eq!(client.line(), None);
    assert!(child.wait().unwrap().success());
}

#[test]
fn numbers_at_the_end_of_their_range_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut monitor = builder().build().unwrap();
    monitor.listen(Listener::unix(directory.path().join("vm")).unwrap()).unwrap();
    let _client = client(&mut monitor);
    let (text, descriptors) = monitor.hand_over().into_parts();
    for member in ["id", "line", "column"] {
        let start = text.find(&format!(r#""{member}": "#)).unwrap() + member.len() + 4;
        let end = start + text[start..].find([',', '}']).unwrap();
        let text = format!("{}{}{}", &text[..start], u64::MAX, &text[end..]);
        let copies = descriptors.iter().map(|descriptor| descriptor.try_clone().unwrap()).collect();
        assert!(Handover::from_parts(&text, copies).is_err(), "{text}");
    }
}

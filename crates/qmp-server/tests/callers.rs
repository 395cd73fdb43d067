//! Identity of a client, its descriptors, and commands added and removed at run time.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{
    io::{IoSlice, Read, Write},
    mem::MaybeUninit,
    net::TcpStream,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Mutex},
};

use qmp_server::{
    Caller, Command, DescriptorStore, Listener, ListenerId, Monitor, MonitorBuilder, NoArguments,
    PendingCommand, Refusal, Type,
};
use qmp_wire::dialect::Value;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use support::{
    client::Client,
    machine::{client, unnegotiated_client},
};

fn monitor(describe: impl FnOnce(MonitorBuilder) -> MonitorBuilder) -> Monitor {
    describe(Monitor::builder(11, 1, 3)).build().unwrap()
}

/// The observed values, in order.
type Observations<T> = Arc<Mutex<Vec<T>>>;

#[test]
fn command_gets_its_caller() {
    let seen: Observations<Caller> = Observations::default();
    let (here, elsewhere) = (Arc::clone(&seen), Arc::clone(&seen));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vm");
    let mut monitor = monitor(|builder| {
        builder
            .command(Command::new("here").run_for(move |caller, NoArguments {}| {
                here.lock().unwrap().push(caller.clone());
                Ok(())
            }))
            .command(Command::new("elsewhere").hand_over(move |command: PendingCommand| {
                elsewhere.lock().unwrap().push(command.caller().clone());
                command.reply(Ok(()));
            }))
    });
    let unix: ListenerId = monitor.listen(Listener::unix(&path).unwrap()).unwrap();
    let (tcp, port) = Listener::tcp("127.0.0.1:0").unwrap();
    let tcp = monitor.listen(tcp).unwrap();
    let request = br#"{"execute":"qmp_capabilities"}{"execute":"here"}{"execute":"elsewhere"}"#;
    let mut attached = unnegotiated_client(&mut monitor);
    let mut local = UnixStream::connect(&path).unwrap();
    let mut remote = TcpStream::connect(port).unwrap();
    for stream in [&mut attached.stream as &mut dyn Write, &mut local, &mut remote] {
        stream.write_all(request).unwrap();
        while seen.lock().unwrap().len() < 2 {
            monitor.process().unwrap();
        }
        let callers: Vec<_> = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(callers[0].connection(), callers[1].connection());
        let caller = &callers[0];
        let own = (std::process::id(), rustix::process::geteuid().as_raw());
        let credentials =
            caller.credentials().map(|peer| (peer.pid.unwrap_or_default().unsigned_abs(), peer.uid));
        match caller.listener() {
            None => assert_eq!((credentials, caller.address()), (Some(own), None)),
            Some(id) if id == unix => assert_eq!((credentials, caller.address()), (Some(own), None)),
            Some(id) => {
                assert_eq!(id, tcp);
                assert_eq!(credentials, None);
                assert!(caller.address().unwrap().ip().is_loopback());
            }
        }
    }
}

#[test]
fn on_connect_admits_clients_and_on_disconnect_is_called() {
    let (asked, closed): (Observations<_>, Observations<_>) = Default::default();
    let (ask, close) = (Arc::clone(&asked), Arc::clone(&closed));
    let mut monitor = monitor(|builder| {
        builder
            .on_connect(move |caller| {
                ask.lock().unwrap().push(caller.connection());
                let number = ask.lock().unwrap().len();
                // The second client is refused, and the third meets a panic.
                assert_ne!(number, 3);
                number != 2
            })
            .on_disconnect(move |caller| close.lock().unwrap().push(caller.connection()))
    });
    let (mut first, mut second, mut third) = (
        unnegotiated_client(&mut monitor),
        unnegotiated_client(&mut monitor),
        unnegotiated_client(&mut monitor),
    );
    assert_eq!((second.line(), third.line()), (None, None), "closed without a greeting");
    assert_eq!(first.lines_now().len(), 1);
    let stats = monitor.stats();
    assert_eq!((stats.connections, stats.connected, stats.refused, stats.panics), (1, 1, 2, 1));
    let asked = asked.lock().unwrap().clone();
    assert!(asked.is_sorted() && asked.len() == 3);
    assert!(closed.lock().unwrap().is_empty());
    drop(first);
    monitor.process().unwrap();
    assert_eq!(*closed.lock().unwrap(), asked[..1]);
    let last = unnegotiated_client(&mut monitor);
    monitor.shutdown();
    assert_eq!(closed.lock().unwrap().len(), 2, "also of those that a shutdown closes");
    drop(last);
}

#[test]
fn connection_is_closed_by_its_id() {
    let ids: Observations<_> = Observations::default();
    let opened = Arc::clone(&ids);
    let mut monitor = monitor(|builder| {
        builder.on_connect(move |caller| {
            opened.lock().unwrap().push(caller.connection());
            true
        })
    });
    let (mut one, mut other) = (client(&mut monitor), client(&mut monitor));
    let id = ids.lock().unwrap()[0];
    assert!(monitor.disconnect(id) && !monitor.disconnect(id));
    assert!(one.is_closed() && !other.is_closed());
}

/// Sends a request with descriptors.
fn send_with(client: &Client, request: &str, descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    let bytes = [IoSlice::new(request.as_bytes())];
    sendmsg(&client.stream, &bytes, &mut control, SendFlags::empty()).unwrap();
}

#[test]
fn command_takes_the_descriptors_sent_with_it() {
    let taken: Observations<OwnedFd> = Observations::default();
    let take = Arc::clone(&taken);
    let take = Command::new("take").returns(Type::Bool).run_for(move |caller, NoArguments {}| {
        let descriptor = caller.take_descriptor();
        let is_some = descriptor.is_some();
        take.lock().unwrap().extend(descriptor);
        Ok::<_, Refusal>(is_some)
    });
    let mut monitor = monitor(|builder| builder.command(take));
    let mut client = client(&mut monitor);
    let request = r#"{"execute":"take"}"#;
    let mut ask = |monitor: &mut Monitor, descriptors: &[BorrowedFd<'_>]| {
        if descriptors.is_empty() {
            client.send(request);
        } else {
            send_with(&client, request, descriptors);
        }
        monitor.process().unwrap();
        client.lines_now()
    };
    let pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().unwrap()).collect();
    let sent = |place: usize| pairs[place].0.as_fd();
    assert_eq!(ask(&mut monitor, &[]), [r#"{"return": false}"#]);
    assert_eq!(ask(&mut monitor, &[sent(0), sent(1)]), [r#"{"return": true}"#]);
    // The second descriptor is closed when another one arrives.
    assert_eq!(ask(&mut monitor, &[sent(2)]), [r#"{"return": true}"#]);
    assert_eq!(ask(&mut monitor, &[]), [r#"{"return": false}"#]);
    let taken = std::mem::take(&mut *taken.lock().unwrap());
    let mut streams = taken.into_iter().map(UnixStream::from);
    for place in [0, 2] {
        let mut byte = [0];
        streams.next().unwrap().write_all(b"x").unwrap();
        (&pairs[place].1).read_exact(&mut byte).unwrap();
    }
    assert!(streams.next().is_none());
}

/// The replies of a QEMU 7.2 to the same requests; its descriptors have other numbers.
#[test]
fn descriptor_store_replies_as_qemu() {
    let store = DescriptorStore::new();
    let mut monitor = monitor(|builder| builder.descriptors(&store));
    let mut client = client(&mut monitor);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let rows = [
        // command       arguments                       descriptors   reply
        ("getfd", r#"{"fdname":"a"}"#, 0, "No file descriptor supplied via SCM_RIGHTS"),
        ("getfd", r#"{"fdname":"1a"}"#, 1, "Parameter 'fdname' expects a name not starting with a digit"),
        ("getfd", r#"{"fdname":"1a"}"#, 0, "No file descriptor supplied via SCM_RIGHTS"),
        ("getfd", r#"{"fdname":"a"}"#, 1, "{}"),
        ("getfd", r#"{"fdname":"a"}"#, 1, "{}"),
        ("closefd", r#"{"fdname":"a"}"#, 0, "{}"),
        ("closefd", r#"{"fdname":"a"}"#, 0, "File descriptor named 'a' not found"),
        ("getfd", r#"{"fdname":""}"#, 1, "{}"),
        ("add-fd", "{}", 0, "No file descriptor supplied via SCM_RIGHTS"),
        ("add-fd", "{}", 1, r#"{"fd": N, "fdset-id": 0}"#),
        ("add-fd", r#"{"fdset-id":1,"opaque":"x"}"#, 1, r#"{"fd": N, "fdset-id": 1}"#),
        ("add-fd", r#"{"fdset-id":-1}"#, 1, "Parameter 'fdset-id' expects a non-negative value"),
        ("add-fd", "{}", 1, r#"{"fd": N, "fdset-id": 2}"#),
        (
            "query-fdsets",
            "{}",
            0,
            r#"[{"fds": [{"fd": N}], "fdset-id": 2}, {"fds": [{"fd": N, "opaque": "x"}], "fdset-id": 1}, {"fds": [{"fd": N}], "fdset-id": 0}]"#,
        ),
        ("remove-fd", r#"{"fdset-id":9}"#, 0, "File descriptor named 'fdset-id:9' not found"),
        (
            "remove-fd",
            r#"{"fdset-id":1,"fd":9999}"#,
            0,
            "File descriptor named 'fdset-id:1, fd:9999' not found",
        ),
        ("remove-fd", r#"{"fdset-id":1}"#, 0, "{}"),
        ("remove-fd", r#"{"fdset-id":0}"#, 0, "{}"),
        ("query-fdsets", "{}", 0, r#"[{"fds": [{"fd": N}], "fdset-id": 2}]"#),
        ("add-fd", r#"{"opaque":"x"}"#, 1, r#"{"fd": N, "fdset-id": 0}"#),
    ];
    for (command, arguments, count, expected) in rows {
        let request = format!(r#"{{"execute":"{command}","arguments":{arguments}}}"#);
        if count == 0 {
            client.send(&request);
        } else {
            send_with(&client, &request, &[ours.as_fd()]);
        }
        monitor.process().unwrap();
        let reply: serde_json::Value = serde_json::from_str(&client.lines_now()[0]).unwrap();
        let actual = match reply["error"]["desc"].as_str() {
            Some(desc) => desc.to_owned(),
            None => without_numbers(&reply["return"]),
        };
        assert_eq!(actual, expected, "{request}");
    }
    assert!(store.take("").is_some() && store.take("").is_none());
    assert!(store.open_set(2, |_| true).is_ok() && store.open_set(1, |_| true).is_err());
}

/// Returns a value as a monitor prints it, with N for the numbers of descriptors.
fn without_numbers(value: &serde_json::Value) -> String {
    let mut out = Vec::new();
    Value::read(value.to_string().as_bytes()).print(false, &mut out);
    let text = String::from_utf8(out).unwrap();
    let mut pieces = text.split(r#""fd": "#);
    let first = pieces.next().unwrap().to_owned();
    pieces.fold(first, |text, piece| {
        format!(r#"{text}"fd": N{}"#, piece.trim_start_matches(|digit: char| digit.is_ascii_digit()))
    })
}

#[test]
fn commands_are_added_and_removed_while_the_monitor_serves() {
    let mut monitor = monitor(|builder| builder);
    let mut client = client(&mut monitor);
    let mut listed = |monitor: &mut Monitor| {
        let mut has = |command: &str, name: &str| {
            client.send(format!(r#"{{"execute":"{command}"}}"#));
            monitor.process().unwrap();
            client.lines_now()[0].contains(&format!(r#""name": "{name}""#))
        };
        (
            has("query-commands", "late"),
            has("query-qmp-schema", "late"),
            has("query-commands", "query-commands"),
        )
    };
    assert_eq!(listed(&mut monitor), (false, false, true));
    monitor.add_command(Command::new("late").run(|NoArguments {}| Ok(())));
    assert_eq!(listed(&mut monitor), (true, true, true));
    assert!(monitor.remove_command("late") && !monitor.remove_command("late"));
    assert_eq!(listed(&mut monitor), (false, false, true));
}

#[test]
fn commands_are_added_to_a_running_thread() {
    let thread = monitor(|builder| builder).spawn().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread.attach(theirs);
    let mut client = Client::new(ours);
    client.negotiate();
    thread.add_command(Command::new("late").returns(Type::Int).run(|NoArguments {}| Ok(7)));
    assert_eq!(client.ask(r#"{"execute":"late"}"#), r#"{"return": 7}"#);
    thread.remove_command("late");
    assert!(client.ask(r#"{"execute":"late"}"#).contains("CommandNotFound"));
    thread.stop().unwrap();
}

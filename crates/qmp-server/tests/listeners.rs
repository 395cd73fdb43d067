//! Listeners: how each serves its clients, and how they are made, added and removed.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{
    io::ErrorKind,
    os::{
        fd::{IntoRawFd, OwnedFd},
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::PathBuf,
    time::Duration,
};

use qmp_events::DatalessEvent;
use qmp_server::{
    EVENTS_DROPPED, InheritedError, Listener, Monitor, MonitorBuilder, SlowReader, SocketOptions,
};
use rustix::io::{FdFlags, fcntl_setfd};
use support::client::Client;

fn monitor(describe: impl FnOnce(MonitorBuilder) -> MonitorBuilder) -> Monitor {
    describe(Monitor::builder(11, 1, 3)).build().unwrap()
}

/// The directory of one test for its sockets.
struct Sockets(tempfile::TempDir);

impl Sockets {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn connect(&self, name: &str) -> Client {
        Client::new(UnixStream::connect(self.path(name)).unwrap())
    }

    /// Connects without a thread, and negotiates.
    fn client(&self, name: &str, monitor: &mut Monitor) -> Client {
        let mut client = self.connect(name);
        client.send(r#"{"execute":"qmp_capabilities"}"#);
        // One turn accepts, the next reads.
        monitor.process().unwrap();
        monitor.process().unwrap();
        client.lines_now();
        client
    }
}

#[test]
fn clients_beyond_the_limit_of_a_listener_wait_in_its_backlog() {
    let sockets = Sockets::new();
    let mut monitor = monitor(|builder| builder);
    monitor.listen(Listener::unix(sockets.path("one")).unwrap().connections_max(1)).unwrap();
    monitor.listen(Listener::unix(sockets.path("many")).unwrap()).unwrap();
    let first = sockets.connect("one");
    let mut second = sockets.connect("one");
    let mut others = [sockets.connect("many"), sockets.connect("many")];
    monitor.process().unwrap();
    assert_eq!(second.lines_now().len(), 0);
    assert!(others.iter_mut().all(|other| other.lines_now().len() == 1));
    assert_eq!(monitor.stats().connections, 3);
    drop(first);
    // One turn closes the first connection, the next accepts.
    monitor.process().unwrap();
    monitor.process().unwrap();
    assert_eq!(second.lines_now().len(), 1);
}

#[test]
fn each_listener_has_its_own_form_and_capabilities() {
    let sockets = Sockets::new();
    let mut monitor = monitor(|builder| builder);
    let pretty = Listener::unix(sockets.path("pretty")).unwrap().pretty(true).out_of_band(false);
    monitor.listen(pretty).unwrap();
    monitor.listen(Listener::unix(sockets.path("plain")).unwrap()).unwrap();
    let (mut pretty, mut plain) = (sockets.connect("pretty"), sockets.connect("plain"));
    for client in [&mut pretty, &mut plain] {
        client.send(r#"{"execute":"qmp_capabilities"}"#);
    }
    monitor.process().unwrap();
    monitor.process().unwrap();
    let (greeting, plain_greeting) = (pretty.lines_now().concat(), plain.lines_now()[0].clone());
    assert!(greeting.contains(r#""capabilities": [        ]"#), "{greeting}");
    assert!(plain_greeting.contains(r#""capabilities": ["oob"]"#), "{plain_greeting}");
    monitor.emitter().emit(&DatalessEvent::Stop);
    monitor.emitter().emit(&DatalessEvent::Resume);
    monitor.process().unwrap();
    let (pretty, plain) = (pretty.lines_now(), plain.lines_now());
    assert_eq!((pretty.len(), plain.len()), (14, 2));
    let squeezed = |lines: &[String]| lines.concat().replace(' ', "");
    assert_eq!(squeezed(&pretty), squeezed(&plain), "the same events");
}

#[test]
fn each_listener_has_its_own_policy_for_slow_readers() {
    let sockets = Sockets::new();
    let mut monitor = monitor(|builder| builder.output_max_bytes(4096));
    let drops = Listener::unix(sockets.path("drops")).unwrap().slow_reader(SlowReader::DropOldest);
    monitor.listen(drops).unwrap();
    monitor.listen(Listener::unix(sockets.path("closes")).unwrap()).unwrap();
    let mut drops = sockets.client("drops", &mut monitor);
    let mut closes = sockets.client("closes", &mut monitor);
    while monitor.stats().closed_slow == 0 || monitor.stats().dropped == 0 {
        for _ in 0..100 {
            monitor.emitter().emit(&DatalessEvent::Stop);
        }
        monitor.process().unwrap();
    }
    assert!(closes.is_closed() && !drops.is_closed());
    let mut client = sockets.client("drops", &mut monitor);
    client.send(r#"{"execute":"query-qmp-schema"}"#);
    monitor.process().unwrap();
    monitor.process().unwrap();
    assert!(client.line().unwrap().contains(EVENTS_DROPPED), "the event is in the schema");
}

#[test]
fn socket_file_has_the_given_mode() {
    let sockets = Sockets::new();
    for mode in [0o600, 0o660, 0o666, 0o777] {
        let path = sockets.path("mode");
        let listener = Listener::unix_with_mode(&path, mode).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode, "{mode:o}");
        drop(listener);
        assert!(!path.exists());
    }
}

#[test]
fn listeners_are_added_and_removed_while_the_thread_runs() {
    let sockets = Sockets::new();
    let thread = monitor(|builder| builder).spawn().unwrap();
    let first = thread.listen(Listener::unix(sockets.path("first")).unwrap());
    let mut client = sockets.connect("first");
    client.negotiate();
    let second = thread.listen(Listener::unix(sockets.path("second")).unwrap());
    assert_ne!(first, second);
    thread.remove_listener(first);
    // Orders are executed in sequence: the reply to a client of the second listener follows the removal.
    let mut other = sockets.connect("second");
    other.negotiate();
    assert!(!sockets.path("first").exists());
    let refused = UnixStream::connect(sockets.path("first")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert_eq!(client.ask(r#"{"execute":"query-name"}"#), r#"{"return": {}}"#, "connections stay");
    thread.stop().unwrap();
}

#[test]
fn removed_listener_can_be_added_again() {
    let sockets = Sockets::new();
    let mut monitor = monitor(|builder| builder);
    let id = monitor.listen(Listener::unix(sockets.path("vm")).unwrap()).unwrap();
    let listener = monitor.remove_listener(id).unwrap();
    assert!(monitor.remove_listener(id).is_none());
    let mut client = sockets.connect("vm");
    monitor.process().unwrap();
    assert_eq!(client.lines_now().len(), 0);
    monitor.listen(listener).unwrap();
    monitor.process().unwrap();
    assert_eq!(client.lines_now().len(), 1);
}

#[test]
fn file_of_another_listener_is_not_removed() {
    let sockets = Sockets::new();
    let listener = Listener::unix(sockets.path("vm")).unwrap();
    std::fs::remove_file(sockets.path("vm")).unwrap();
    let _successor = UnixListener::bind(sockets.path("vm")).unwrap();
    drop(listener);
    assert!(sockets.path("vm").exists());
}

/// The number of a descriptor as an exec would have left it.
fn inheritable(descriptor: impl Into<OwnedFd>) -> i32 {
    let descriptor = descriptor.into();
    fcntl_setfd(&descriptor, FdFlags::empty()).unwrap();
    descriptor.into_raw_fd()
}

#[test]
fn inherited_number_becomes_a_listener_without_unsafe() {
    let sockets = Sockets::new();
    let number = inheritable(UnixListener::bind(sockets.path("vm")).unwrap());
    let mut monitor = monitor(|builder| builder);
    monitor.listen(Listener::inherited(number).unwrap()).unwrap();
    let mut client = sockets.connect("vm");
    monitor.process().unwrap();
    assert_eq!(client.lines_now().len(), 1);
    assert_eq!(Listener::inherited(number).unwrap_err(), InheritedError::NotInherited, "already taken");
    let connected = inheritable(UnixStream::pair().unwrap().0);
    assert_eq!(Listener::inherited(connected).unwrap_err(), InheritedError::Connected);
}

#[test]
fn listener_is_opened_by_the_option_string_of_qemu() {
    let sockets = Sockets::new();
    let options = |text: &str| text.parse::<SocketOptions>().unwrap();
    let unix = format!("unix:{},server=on,wait=off", sockets.path("vm").display());
    let number = inheritable(UnixListener::bind(sockets.path("inherited")).unwrap());
    let mut monitor = monitor(|builder| builder);
    for text in [unix.as_str(), &format!("fd={number},server=on")] {
        monitor.listen(Listener::open(&options(text)).unwrap()).unwrap();
    }
    let mut clients = [sockets.connect("vm"), sockets.connect("inherited")];
    monitor.process().unwrap();
    assert!(clients.iter_mut().all(|client| client.lines_now().len() == 1));
    let error = Listener::open(&options("unix:/run/vm.sock")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "unix:/run/vm.sock does not listen: server=on is missing");
}

#[test]
fn wait_for_client_returns_when_one_connected_to_that_listener() {
    let sockets = Sockets::new();
    let mut monitor = monitor(|builder| builder);
    let awaited = monitor.listen(Listener::unix(sockets.path("awaited")).unwrap()).unwrap();
    monitor.listen(Listener::unix(sockets.path("other")).unwrap()).unwrap();
    let waiting = std::thread::spawn(move || {
        monitor.wait_for_client(awaited).unwrap();
        monitor.wait_for_client(awaited).unwrap();
        monitor
    });
    let mut other = sockets.connect("other");
    other.negotiate();
    assert!(!waiting.is_finished(), "a client of another listener is served, and not what is waited for");
    let mut client = sockets.connect("awaited");
    assert!(client.line().unwrap().starts_with(r#"{"QMP""#));
    let mut monitor = waiting.join().unwrap();
    monitor.remove_listener(awaited);
    assert_eq!(monitor.wait_for_client(awaited).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn descriptor_of_the_monitor_becomes_readable_at_deadlines() {
    let mut monitor = monitor(|builder| builder);
    let mut client = support::machine::client(&mut monitor);
    let event = support::machine::event("RTC_CHANGE", r#"{"offset": 1, "qom-path": "/rtc"}"#);
    monitor.emitter().emit(&event);
    monitor.emitter().emit(&event);
    monitor.process().unwrap();
    assert_eq!(client.lines_now().len(), 1, "the second is held for a second");
    let before = std::time::Instant::now();
    let mut lines = Vec::new();
    while lines.is_empty() {
        // On Linux no timeout: only the descriptor wakes the loop.
        let timeout = if cfg!(all(target_os = "linux", not(feature = "portable"))) {
            None
        } else {
            monitor.next_timeout().map(|timeout| timeout.try_into().unwrap())
        };
        let mut descriptors = [rustix::event::PollFd::new(&monitor, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut descriptors, timeout.as_ref()).unwrap();
        monitor.process().unwrap();
        lines = client.lines_now();
    }
    assert!(before.elapsed() < Duration::from_secs(60));
}

#[test]
fn wait_for_client_of_a_running_monitor_returns_when_one_connected() {
    let sockets = Sockets::new();
    let thread = std::sync::Arc::new(monitor(|builder| builder).spawn().unwrap());
    let id = thread.listen(Listener::unix(sockets.path("vm")).unwrap());
    let error = thread.wait_for_client_timeout(id, Duration::from_millis(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let waits = std::sync::Arc::clone(&thread);
    let waiting = std::thread::spawn(move || waits.wait_for_client(id));
    let mut client = sockets.connect("vm");
    waiting.join().unwrap().unwrap();
    drop(client.line());
    thread.wait_for_client_timeout(id, Duration::ZERO).unwrap();
    let other = thread.listen(Listener::unix(sockets.path("other")).unwrap());
    let waits = std::sync::Arc::clone(&thread);
    let waiting = std::thread::spawn(move || waits.wait_for_client(other));
    thread.remove_listener(other);
    assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn wait_for_client_fails_when_the_monitor_ends() {
    let sockets = Sockets::new();
    let fails = || Err(std::io::Error::other("on purpose"));
    let thread = monitor(|builder| builder).spawn_with("ends", fails).unwrap();
    let id = thread.listen(Listener::unix(sockets.path("vm")).unwrap());
    assert_eq!(thread.wait_for_client(id).unwrap_err().kind(), ErrorKind::NotFound);
    let late = thread.listen(Listener::unix(sockets.path("late")).unwrap());
    assert_eq!(thread.wait_for_client(late).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn wait_for_client_of_an_own_loop_ends_at_its_timeout() {
    let sockets = Sockets::new();
    let mut monitor = monitor(|builder| builder);
    let id = monitor.listen(Listener::unix(sockets.path("vm")).unwrap()).unwrap();
    let error = monitor.wait_for_client_timeout(id, Duration::from_millis(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let _client = sockets.connect("vm");
    monitor.wait_for_client_timeout(id, Duration::from_secs(600)).unwrap();
}

#[test]
fn wait_for_client_does_not_count_a_refused_client() {
    let sockets = Sockets::new();
    let mut monitor = monitor(|builder| builder.on_connect(|_| false));
    let id = monitor.listen(Listener::unix(sockets.path("vm")).unwrap()).unwrap();
    let mut refused = sockets.connect("vm");
    let error = monitor.wait_for_client_timeout(id, Duration::from_millis(50)).unwrap_err();
    assert_eq!((error.kind(), monitor.stats().refused), (ErrorKind::TimedOut, 1));
    assert!(refused.is_closed());
}

#[test]
fn socket_that_does_not_listen_is_refused() {
    let (connected, _open) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(Listener::from_fd(connected.into()).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn listener_that_is_shut_down_is_removed() {
    let sockets = Sockets::new();
    let unix = std::os::unix::net::UnixListener::bind(sockets.path("vm")).unwrap();
    let tcp = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (same_unix, same_tcp) = (unix.try_clone().unwrap(), tcp.try_clone().unwrap());
    let mut monitor = monitor(|builder| builder);
    // The first one has as many connections as it may have, so it does not accept.
    let ids = [
        monitor.listen(Listener::from(unix).connections_max(1)).unwrap(),
        monitor.listen(Listener::from(tcp)).unwrap(),
    ];
    let _served = sockets.client("vm", &mut monitor);
    for socket in [OwnedFd::from(same_unix), OwnedFd::from(same_tcp)] {
        rustix::net::shutdown(&socket, rustix::net::Shutdown::Both).unwrap();
    }
    monitor.process().unwrap();
    assert_eq!((monitor.stats().listeners_failed, monitor.stats().connections), (2, 1));
    for id in ids {
        assert!(monitor.remove_listener(id).is_none());
    }
}

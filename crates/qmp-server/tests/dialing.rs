//! A monitor that connects to clients which listen: QEMU's `server=off`.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{
    io::ErrorKind,
    net::TcpListener,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Child, Command as Process, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use qmp_server::{Command, Dialer, Handover, Monitor, MonitorThread, NoArguments, SlowReader, SocketOptions};
use support::{client::Client, qemu};

const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_secs(3_600);

/// The directory of one test, and the path at which its client listens.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("client")
    }

    fn listen(&self) -> UnixListener {
        let _ = std::fs::remove_file(self.path());
        UnixListener::bind(self.path()).unwrap()
    }
}

fn monitor() -> Monitor {
    Monitor::builder(7, 2, 22).name("vm").build().unwrap()
}

fn accept(listener: &UnixListener) -> Client {
    Client::new(listener.accept().unwrap().0)
}

fn dialing(path: &Path, delay: Duration) -> MonitorThread {
    let mut monitor = monitor();
    monitor.dial(Dialer::unix(path).unwrap().reconnect(delay)).unwrap();
    monitor.spawn().unwrap()
}

#[test]
fn dialer_tries_until_the_client_listens() {
    let place = Place::new();
    let thread = dialing(&place.path(), SOON);
    while thread.stats().dials_failed < 3 {
        std::thread::yield_now();
    }
    let listener = place.listen();
    accept(&listener).negotiate();
    thread.stop().unwrap();
}

#[test]
fn client_gets_a_greeting_and_negotiates_anew_after_each_loss() {
    let place = Place::new();
    let listener = place.listen();
    let thread = dialing(&place.path(), SOON);
    for _ in 0..3 {
        let mut client = accept(&listener);
        assert!(client.line().unwrap().starts_with(r#"{"QMP": "#));
        assert!(client.ask(r#"{"execute":"query-name"}"#).contains("CommandNotFound"));
        assert_eq!(client.ask(r#"{"execute":"qmp_capabilities"}"#), r#"{"return": {}}"#);
        assert_eq!(thread.stats().connections, 1, "one connection at a time");
    }
    assert_eq!(thread.stats().dials_failed, 0);
    thread.stop().unwrap();
}

#[test]
fn delay_passes_after_a_loss_and_is_part_of_the_timeout() {
    let place = Place::new();
    let listener = place.listen();
    let mut monitor = monitor();
    let id = monitor.dial(Dialer::unix(place.path()).unwrap().reconnect(LATER)).unwrap();
    let client = accept(&listener);
    assert_eq!((monitor.stats().connections, monitor.next_timeout()), (1, None));
    drop(client);
    monitor.process().unwrap();
    assert_eq!(monitor.stats().connections, 0);
    let timeout = monitor.next_timeout().unwrap();
    assert!(timeout > LATER / 2 && timeout <= LATER, "{timeout:?}");
    assert!(monitor.remove_dialer(id));
    assert_eq!((monitor.next_timeout(), monitor.remove_dialer(id)), (None, false));
}

#[test]
fn descriptor_becomes_readable_when_an_attempt_is_due() {
    let place = Place::new();
    let mut monitor = monitor();
    monitor.dial(Dialer::unix(place.path()).unwrap().reconnect(SOON)).unwrap();
    assert_eq!(monitor.stats().dials_failed, 1, "the first attempt is made at once");
    let listener = place.listen();
    monitor.process().unwrap();
    while monitor.stats().connections == 0 {
        // On Linux no timeout is needed: the deadline is part of the descriptor.
        let timeout = if cfg!(all(target_os = "linux", not(feature = "portable"))) {
            None
        } else {
            monitor.next_timeout().map(|timeout| timeout.try_into().unwrap())
        };
        let mut descriptors = [rustix::event::PollFd::new(&monitor, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut descriptors, timeout.as_ref()).unwrap();
        monitor.process().unwrap();
    }
    assert!(accept(&listener).line().unwrap().starts_with(r#"{"QMP""#));
}

#[test]
fn dialer_without_reconnect_connects_once() {
    let place = Place::new();
    let mut monitor = monitor();
    let once = Dialer::unix(place.path()).unwrap();
    assert_eq!(monitor.dial(once.clone()).unwrap_err().kind(), ErrorKind::NotFound);
    let listener = place.listen();
    let id = monitor.dial(once.clone()).unwrap();
    drop(accept(&listener));
    monitor.process().unwrap();
    assert_eq!((monitor.stats().connections, monitor.next_timeout()), (0, None));
    assert!(!monitor.remove_dialer(id), "it makes no further attempt");
    let thread = monitor.spawn().unwrap();
    drop(listener);
    assert_eq!(thread.dial(once).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    thread.stop().unwrap();
}

#[test]
fn tcp_client_is_connected_to_after_a_refusal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let options: SocketOptions = format!("tcp:{address},reconnect-ms=1").parse().unwrap();
    let thread = monitor().spawn().unwrap();
    thread.dial(Dialer::open(&options).unwrap()).unwrap();
    while thread.stats().dials_failed == 0 {
        std::thread::yield_now();
    }
    let listener = TcpListener::bind(address).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut greeting = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stream), &mut greeting).unwrap();
    assert!(greeting.starts_with(r#"{"QMP""#), "{greeting}");
    thread.stop().unwrap();
}

#[test]
fn command_knows_the_dialer_of_its_caller() {
    let place = Place::new();
    let listener = place.listen();
    let seen = Arc::new(Mutex::new(None));
    let sees = Arc::clone(&seen);
    let command = Command::new("x-caller").run_for(move |caller, NoArguments {}| {
        *sees.lock().unwrap() = Some((caller.dialer(), caller.listener()));
        Ok(())
    });
    let thread = Monitor::builder(7, 2, 22).command(command).build().unwrap().spawn().unwrap();
    let dialer = Dialer::unix(place.path()).unwrap().reconnect(LATER).slow_reader(SlowReader::DropOldest);
    let id = thread.dial(dialer).unwrap();
    let mut client = accept(&listener);
    client.negotiate();
    client.ask(r#"{"execute":"x-caller"}"#);
    assert_eq!(*seen.lock().unwrap(), Some((Some(id), None)));
    thread.remove_dialer(id);
    assert_eq!(client.ask(r#"{"execute":"query-name"}"#), r#"{"return": {}}"#, "the connection stays");
    thread.stop().unwrap();
}

#[test]
fn successor_connects_again_after_a_loss() {
    let (place, absent) = (Place::new(), Place::new());
    let listener = place.listen();
    let mut before = monitor();
    let id = before.dial(Dialer::unix(place.path()).unwrap().reconnect(SOON)).unwrap();
    before.dial(Dialer::unix(absent.path()).unwrap().reconnect(LATER)).unwrap();
    let mut client = accept(&listener);
    client.send(r#"{"execute":"qmp_capabilities"}"#);
    before.process().unwrap();
    assert_eq!(client.lines_now().len(), 2);
    let (text, descriptors) = before.hand_over().into_parts();
    let handover = Handover::from_parts(&text, descriptors).unwrap();
    let mut after = Monitor::builder(7, 2, 22).name("vm").resume(handover).unwrap();
    assert!(after.next_timeout().unwrap() > LATER / 2, "the other one waits on");
    client.send(r#"{"execute":"query-name"}"#);
    after.process().unwrap();
    assert_eq!(client.lines_now(), [r#"{"return": {"name": "vm"}}"#]);
    drop(client);
    let thread = after.spawn().unwrap();
    accept(&listener).negotiate();
    thread.remove_dialer(id);
    thread.stop().unwrap();
}

#[test]
fn connection_that_cannot_be_continued_is_a_loss() {
    let place = Place::new();
    let listener = place.listen();
    let mut before = monitor();
    before.dial(Dialer::unix(place.path()).unwrap().reconnect(SOON)).unwrap();
    let mut client = accept(&listener);
    // More of an incomplete message than is kept for a successor.
    client.send(format!("[\"{}", "x".repeat(65 << 10)));
    before.process().unwrap();
    before.process().unwrap();
    let handover = before.hand_over();
    assert_eq!(handover.connections(), 0);
    let thread = Monitor::builder(7, 2, 22).resume(handover).unwrap().spawn().unwrap();
    accept(&listener).negotiate();
    thread.stop().unwrap();
}

#[test]
fn options_of_a_listening_socket_are_refused() {
    for text in ["unix:/run/vm.sock,server=on", "fd=3"] {
        let options: SocketOptions = text.parse().unwrap();
        assert_eq!(Dialer::open(&options).unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
    }
    let long = "x".repeat(200);
    assert_eq!(Dialer::unix(long).unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// A QEMU that connects to the client; dropping it kills the process.
struct Qemu(Child);

impl Qemu {
    fn start(program: &str, path: &Path, options: &str) -> Self {
        let process = Process::new(program)
            .args(["-nodefaults", "-display", "none", "-S", "-machine", "none", "-name", "vm"])
            .args(["-mon", "chardev=m,mode=control", "-chardev"])
            .arg(format!("socket,id=m,path={},server=off{options}", path.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(process.unwrap())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the behaviour of a side that connects again a second after a loss.
fn behaviour(listener: &UnixListener, path: &Path) -> Vec<String> {
    let second = Duration::from_secs(1);
    let mut seen = Vec::new();
    let mut client = accept(listener);
    seen.push(client.line().unwrap()[..8].to_owned());
    seen.push(client.ask(r#"{"execute":"qmp_capabilities"}"#));
    listener.set_nonblocking(true).unwrap();
    seen.push(format!("second connection: {}", listener.accept().is_ok()));
    listener.set_nonblocking(false).unwrap();
    let lost = Instant::now();
    drop(client);
    let mut client = accept(listener);
    seen.push(format!("after the delay: {}", lost.elapsed() >= second));
    seen.push(client.line().unwrap()[..8].to_owned());
    seen.push(client.ask(r#"{"execute":"query-name"}"#));
    seen.push(client.ask(r#"{"execute":"qmp_capabilities"}"#));
    seen.push(client.ask(r#"{"execute":"query-name"}"#));
    // The end of its input is a loss, too.
    let lost = Instant::now();
    client.finish();
    seen.push(format!("{:?}", client.line()));
    std::fs::remove_file(path).unwrap();
    let listener = UnixListener::bind(path).unwrap();
    seen.push(accept(&listener).line().unwrap()[..8].to_owned());
    seen.push(format!("after the delay: {}", lost.elapsed() >= second));
    seen
}

#[test]
fn dialer_behaves_as_the_real_qemu() {
    let Some(program) = qemu::program() else { return };
    let place = Place::new();
    let theirs = {
        let listener = place.listen();
        let _qemu = Qemu::start(&program, &place.path(), ",reconnect=1");
        behaviour(&listener, &place.path())
    };
    let ours = {
        let listener = place.listen();
        let thread = monitor().spawn().unwrap();
        let options = format!("unix:{},server=off,reconnect=1", place.path().display());
        thread.dial(Dialer::open(&options.parse().unwrap()).unwrap()).unwrap();
        behaviour(&listener, &place.path())
    };
    assert_eq!(ours, theirs);
}

#[test]
fn real_qemu_without_reconnect_ends_if_no_client_listens() {
    let Some(program) = qemu::program() else { return };
    let place = Place::new();
    let mut qemu = Qemu::start(&program, &place.path(), "");
    assert!(!qemu.0.wait().unwrap().success(), "`Monitor::dial` returns an error in that case");
}

#[test]
fn delay_beyond_the_range_of_the_clock_never_passes() {
    let place = Place::new();
    let mut monitor = monitor();
    monitor.dial(Dialer::unix(place.path()).unwrap().reconnect(Duration::MAX)).unwrap();
    assert_eq!((monitor.stats().dials_failed, monitor.next_timeout()), (1, None));
    let (text, descriptors) = monitor.hand_over().into_parts();
    let handover = Handover::from_parts(&text, descriptors).unwrap();
    let mut successor = Monitor::builder(11, 1, 3).resume(handover).unwrap();
    successor.process().unwrap();
    assert_eq!(successor.stats().dials_failed, 0);
}

//! Orders of other threads to a running monitor: their sequence, and any number of them.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{
    os::unix::net::{UnixListener, UnixStream},
    sync::mpsc,
    time::Duration,
};

use qmp_server::{Command, Dialer, Monitor, NoArguments};
use support::client::Client;

#[test]
fn order_during_an_order_is_executed_after_those_before_it() {
    // Each call of `on_connect` reports itself and waits.
    let (entered, entries) = mpsc::channel();
    let (release, releases) = mpsc::channel::<()>();
    let builder = Monitor::builder(9, 2, 0).on_connect(move |_| {
        entered.send(()).unwrap();
        releases.recv().is_ok()
    });
    let thread = builder.build().unwrap().spawn().unwrap();
    let (first, served) = UnixStream::pair().unwrap();
    thread.attach(first);
    entries.recv().unwrap();
    let (second, _open) = UnixStream::pair().unwrap();
    thread.attach(second);
    thread.add_command(Command::new("added").run(|NoArguments {}| Ok(())));
    release.send(()).unwrap();
    entries.recv().unwrap();
    thread.remove_command("added");
    release.send(()).unwrap();

    let mut client = Client::new(served);
    client.negotiate();
    let reply = client.ask(r#"{"execute":"added"}"#);
    assert!(reply.contains("CommandNotFound"), "{reply}");
}

/// Makes `count` connections by orders that arrive while each one before is executed.
fn assert_connects(count: u64, order: impl Fn(&qmp_server::MonitorThread)) {
    let (entered, entries) = mpsc::channel();
    let (release, releases) = mpsc::channel::<()>();
    let builder = Monitor::builder(9, 2, 0).connections_max(usize::MAX).on_connect(move |_| {
        entered.send(()).unwrap();
        releases.recv().is_ok()
    });
    let thread = builder.build().unwrap().spawn().unwrap();
    order(&thread);
    for connected in 0..count {
        entries.recv_timeout(Duration::from_secs(60)).unwrap();
        if connected + 1 < count {
            order(&thread);
        }
        release.send(()).unwrap();
    }
    let emitter = thread.emitter();
    thread.stop().unwrap();
    assert_eq!(emitter.stats().connected, count);
}

#[test]
fn attach_orders_during_orders_need_no_further_stack() {
    assert_connects(3000, |thread| {
        let (theirs, _) = UnixStream::pair().unwrap();
        thread.attach(theirs);
    });
}

#[test]
fn dial_orders_during_orders_need_no_further_stack() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("client");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || while listener.accept().is_ok() {});
    assert_connects(3000, |thread| {
        thread.dial(Dialer::unix(&path).unwrap().reconnect(Duration::from_secs(3600))).unwrap();
    });
}

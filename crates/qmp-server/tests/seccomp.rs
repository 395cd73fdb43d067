//! The monitor's thread makes exactly the system calls that `docs/embedding.md` lists.
#![cfg(all(target_os = "linux", not(feature = "portable")))]
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    process::Command as Process,
};

use qmp_events::DatalessEvent;
use qmp_server::{
    Command, Dialer, Listener, Monitor, MonitorThread, NoArguments, PendingCommand, SlowReader, Type,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use support::{client::Client, machine::event};

/// Set for the process that has the filter.
const FILTERED: &str = "QMP_SERVER_TEST_FILTERED";

const PAGE: &str = include_str!("../../../docs/embedding.md");

/// The number of a system call.
fn number(name: &str) -> i64 {
    match name {
        "epoll_pwait" => libc::SYS_epoll_pwait,
        "epoll_ctl" => libc::SYS_epoll_ctl,
        "read" => libc::SYS_read,
        "accept4" => libc::SYS_accept4,
        "getsockopt" => libc::SYS_getsockopt,
        "getpeername" => libc::SYS_getpeername,
        "setsockopt" => libc::SYS_setsockopt,
        "recvmsg" => libc::SYS_recvmsg,
        "recvfrom" => libc::SYS_recvfrom,
        "socket" => libc::SYS_socket,
        "connect" => libc::SYS_connect,
        "sendto" => libc::SYS_sendto,
        "close" => libc::SYS_close,
        "futex" => libc::SYS_futex,
        "sched_yield" => libc::SYS_sched_yield,
        "timerfd_settime" => libc::SYS_timerfd_settime,
        "mmap" => libc::SYS_mmap,
        "munmap" => libc::SYS_munmap,
        "mremap" => libc::SYS_mremap,
        "madvise" => libc::SYS_madvise,
        "brk" => libc::SYS_brk,
        "mprotect" => libc::SYS_mprotect,
        "unlink" => libc::SYS_unlink,
        "openat" => libc::SYS_openat,
        "statx" => libc::SYS_statx,
        "sigaltstack" => libc::SYS_sigaltstack,
        "rt_sigprocmask" => libc::SYS_rt_sigprocmask,
        "exit" => libc::SYS_exit,
        "fcntl" => libc::SYS_fcntl,
        "clock_gettime" => libc::SYS_clock_gettime,
        other => panic!("{other} is no system call that this test knows"),
    }
}

/// Returns the names in the paragraph of the page about the running thread.
fn listed() -> Vec<&'static str> {
    let section = PAGE.split("## System calls").nth(1).expect("the page has the section");
    let begin = section.find("`epoll_pwait`").expect("the list begins so");
    let end = section.find("Threads that emit").expect("the list ends so");
    let names = section[begin..end].split('`').skip(1).step_by(2).filter(|name| !name.starts_with('/'));
    // As the page states below the list.
    names.chain(cfg!(debug_assertions).then_some("fcntl")).collect()
}

/// Allows the calling thread only the listed calls; any other one kills the process.
fn install_filter() -> io::Result<()> {
    let rules: BTreeMap<i64, _> = listed().into_iter().map(|name| (number(name), Vec::new())).collect();
    let architecture = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, architecture);
    let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

/// Exercises a monitor's thread: all kinds of clients, commands and events.
fn live() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor");
    let (tcp, address) = Listener::tcp("127.0.0.1:0").unwrap();
    let mut monitor = Monitor::builder(11, 1, 3)
        .slow_reader(SlowReader::DropOldest)
        .on_connect(|caller| caller.credentials().is_some() || caller.address().is_some())
        .command(Command::new("here").run(|NoArguments {}| Ok(())))
        .command(Command::new("panics").run(|NoArguments {}| -> Result<(), _> {
            // Without the hook, which writes to the standard error stream.
            std::panic::resume_unwind(Box::new("on purpose"))
        }))
        .command(Command::new("elsewhere").returns(Type::Int).hand_over(|command: PendingCommand| {
            command.reply(Ok(1));
        }))
        .build()
        .unwrap();
    monitor.listen(Listener::unix(&path).unwrap()).unwrap();
    monitor.listen(tcp).unwrap();
    let thread = monitor.spawn_with("filtered", install_filter).unwrap();
    let removed = thread.listen(Listener::unix(directory.path().join("removed")).unwrap());
    thread.remove_listener(removed);
    local_client(&thread, &path);
    let mut remote = TcpStream::connect(address).unwrap();
    remote.write_all(br#"{"execute":"qmp_capabilities"}{"execute":"query-qmp-schema"}"#).unwrap();
    remote.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(io::read_to_string(remote).unwrap().len() > 1000);
    listening_clients(&thread, directory.path());
    thread.stop().unwrap();
}

/// Lets the monitor connect to clients that listen: one after a failure and after a loss.
fn listening_clients(thread: &MonitorThread, directory: &std::path::Path) {
    let path = directory.join("client");
    let delay = std::time::Duration::from_millis(1);
    thread.dial(Dialer::unix(&path).unwrap().reconnect(delay)).unwrap();
    while thread.stats().dials_failed == 0 {
        std::thread::yield_now();
    }
    let unix = UnixListener::bind(&path).unwrap();
    for _ in 0..2 {
        Client::new(unix.accept().unwrap().0).negotiate();
    }
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    thread.dial(Dialer::tcp(tcp.local_addr().unwrap()).unwrap().reconnect(delay)).unwrap();
    let mut greeting = [0];
    io::Read::read_exact(&mut tcp.accept().unwrap().0, &mut greeting).unwrap();
}

fn local_client(thread: &MonitorThread, path: &std::path::Path) {
    let mut client = Client::new(UnixStream::connect(path).unwrap());
    client.negotiate();
    for command in ["here", "panics", "elsewhere", "query-commands"] {
        client.ask(&format!(r#"{{"execute":"{command}"}}"#));
    }
    thread.add_command(Command::new("late"));
    client.ask(r#"{"execute":"query-qmp-schema"}"#);
    // The second event waits until its rate limit allows it.
    let emitter = thread.emitter();
    for _ in 0..2 {
        emitter.emit(&event("RTC_CHANGE", r#"{"offset": 1, "qom-path": "/rtc"}"#));
    }
    client.line().unwrap();
    client.line().unwrap();
    // More than the client reads, until some are dropped.
    while emitter.stats().dropped == 0 {
        emitter.emit(&DatalessEvent::Stop);
    }
}

#[test]
fn thread_survives_a_filter_of_the_listed_system_calls() {
    if std::env::var_os(FILTERED).is_some() {
        return live();
    }
    let name = "thread_survives_a_filter_of_the_listed_system_calls";
    let status = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(FILTERED, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{status}: SIGSYS (31) is for a call that the page does not list");
}

#[test]
fn listed_system_calls_are_known() {
    let names = listed();
    assert!(names.len() > 15, "{names:?}");
    assert!(names.iter().all(|name| number(name) >= 0));
}

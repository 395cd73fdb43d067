//! Shared code of the benchmarks of attaching, latency and fan-out: emulated VMs, a minimal reader, and processes.
//!
//! Every part is a process, started from the benchmark's program; each line on its standard input is an order,
//! each line on its standard output a message.

#![allow(dead_code, reason = "each benchmark uses some of it")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::SystemTime;

use rustix::event::epoll;
use rustix::process::{Resource, getrlimit, setrlimit};

pub(crate) mod vms;

/// Bytes in one read of the minimal reader.
const READ_BYTES: usize = 64 << 10;

/// Ticks of processor time in a second, as `/proc` counts them. Source: proc(5), Linux on every usual machine.
const USER_HZ: f64 = 100.0;

/// A part of a benchmark in a separate process. The process is killed on drop.
pub(crate) struct Part {
    child: Child,
    orders: ChildStdin,
    messages: BufReader<ChildStdout>,
}

impl Part {
    /// Starts this program again with `arguments`, and waits until it is ready.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let (orders, messages) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut part = Self { child, orders, messages: BufReader::new(messages) };
        assert_eq!(part.receive(), "ready", "{arguments:?}");
        part
    }

    pub(crate) fn send(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("the part runs");
    }

    pub(crate) fn receive(&mut self) -> String {
        let mut line = String::new();
        self.messages.read_line(&mut line).expect("the part runs");
        line.trim_end().to_owned()
    }

    /// Seconds of processor time of the process so far, of all its threads.
    pub(crate) fn processor_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the part runs");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number")).sum();
        ticks / USER_HZ
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next order of the parent process; `None` after its end.
pub(crate) fn order() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).expect("reads");
    (read > 0).then(|| line.trim_end().to_owned())
}

/// Sends a line to the parent process.
pub(crate) fn report(line: &str) {
    println!("{line}");
}

/// Nanoseconds since the Unix epoch, by the clock common to all processes.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_nanos()).expect("before 2262")
}

/// An event of typical size that carries `sent_ns`; the crate `qapi` decodes it as well.
pub(crate) fn event(sent_ns: i64) -> String {
    let (seconds, microseconds) = (sent_ns / 1_000_000_000, sent_ns / 1_000 % 1_000_000);
    format!(
        "{{\"timestamp\": {{\"seconds\": {seconds}, \"microseconds\": {microseconds}}}, \"event\": \"RTC_CHANGE\", \
         \"data\": {{\"offset\": {sent_ns}, \"qom-path\": \"/machine/unattached/device[17]/rtc\"}}}}\r\n"
    )
}

/// The send time of the event in these bytes.
pub(crate) fn sent_ns(line: &[u8]) -> Option<i64> {
    let at = memchr::memmem::find(line, b"\"offset\": ")? + 10;
    let digits = line[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&line[at..at + digits]).ok()?.parse().ok()
}

/// The socket of a VM's monitor, or with another `ending` of its relay.
pub(crate) fn socket(home: &Path, vm: usize, ending: &str) -> PathBuf {
    home.join(format!("{vm}.{ending}"))
}

/// Connects to a monitor and negotiates, without the client crate.
pub(crate) fn negotiated(path: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    read_line(&mut stream);
    stream.write_all(b"{\"execute\": \"qmp_capabilities\"}\r\n").expect("writes");
    read_line(&mut stream);
    stream
}

fn read_line(stream: &mut UnixStream) {
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte).expect("a line");
    }
}

/// Waits for all sockets at once and passes the bytes of each read to `take`, until `take` returns true.
pub(crate) fn read_all(streams: &[UnixStream], mut take: impl FnMut(usize, &[u8]) -> bool) {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    for (n, stream) in streams.iter().enumerate() {
        stream.set_nonblocking(true).expect("sets");
        epoll::add(&epoll, stream, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN).expect("adds");
    }
    let mut buffer = vec![0; READ_BYTES];
    let mut ready = [MaybeUninit::<epoll::Event>::uninit(); 256];
    loop {
        let (ready, _) = epoll::wait(&epoll, &mut ready, None).expect("waits");
        for event in ready {
            let n = usize::try_from(event.data.u64()).expect("an index of `streams`");
            match (&streams[n]).read(&mut buffer) {
                Ok(0) => panic!("stream {n} ended"),
                Ok(read) if take(n, &buffer[..read]) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("stream {n}: {error}"),
            }
        }
    }
}

/// Each VM has two descriptors, a relay two more.
pub(crate) fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the hard limit is allowed");
}

/// Runs on two threads, as on a small host.
pub(crate) fn run(work: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime").block_on(work);
}

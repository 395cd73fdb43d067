//! The time to attach to N idle monitors, and the memory of each afterwards.
//!
//! `cargo bench -p qmp-daemon --bench attach -- [N]` (default 1,000; the hub is designed for 10,000). The
//! monitors are unix sockets served by separate processes; each contestant runs in a fresh process, on two
//! threads, and attaches to all of them at once:
//!
//! - `raw`: connect, read the greeting, negotiate. Only the socket is kept: the limit.
//! - `qapi`: the same through the crate of that name.
//! - `qmp-client`: the same through `Connection`.
//! - `hub`: from `Daemon::start` until the state of every VM has been queried (some ten queries each) and every
//!   `attached` record is committed. Findings are on: the correlators know every VM.
//! - `hub, relays`: the same with a relay for each VM, without clients.
//! - `hub, probes`: `hub`, measured while it probes each of its monitors once: a round of 30 s that begins 30 s after
//!   attaching, with the default `silent-after`.
//!
//! For each contestant: also the memory of an idle monitor, and the processor time of 5 idle seconds (of
//! `hub, probes`: of the round). The memory that does not depend on the number of monitors is shown separately: it is
//! the memory with a tenth of them, less their share.
//!
//! Budgets: `qmp-client` ≥ 0.7 × raw; hub ≤ 4 KiB for each idle VM; probing 10,000 VMs ≤ 1 % of a core.

mod load;

use std::any::Any;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use qmp_client::{Address, ConnectConfig, Connection};
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_hub::SILENT_AFTER_DEFAULT;
use qmp_hub::relay::RelayConfig;
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// Monitors in one process, each with a listener and a connection: fewer than the usual hard limit of open files permits.
const MONITORS_A_PROCESS: usize = 4_000;

/// The time until a process is idle: the hub's findings lag behind its journal for a moment.
const SETTLE: Duration = Duration::from_secs(2);

/// How long an idle process is measured.
const IDLE: Duration = Duration::from_secs(5);

/// How long a probing hub is measured: one probe of each monitor.
const PROBE_ROUND: Duration = SILENT_AFTER_DEFAULT;

fn main() {
    raise_open_files();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["monitors", home, first, end] => run(serve_monitors(home, number(first), number(end))),
        ["contestant", name, home, monitors] => run(run_contestant(name, Path::new(home), number(monitors))),
        [] => compare(1_000),
        [monitors] => compare(number(monitors)),
        _ => panic!("usage: attach [NUMBER OF MONITORS]"),
    }
}

fn compare(monitors: usize) {
    let home = tempfile::tempdir().expect("a directory");
    let own = std::env::current_exe().expect("this program");
    let path = home.path().to_str().expect("UTF-8");
    let mut servers = Vec::new();
    for first in (0..monitors).step_by(MONITORS_A_PROCESS) {
        let end = (first + MONITORS_A_PROCESS).min(monitors);
        let mut server = Command::new(&own)
            .args(["monitors", path, &first.to_string(), &end.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut ready = String::new();
        BufReader::new(server.stdout.take().expect("piped")).read_line(&mut ready).expect("a line");
        servers.push(server);
    }
    println!("{monitors} idle monitors");
    for contestant in ["raw", "qapi", "qmp-client", "hub", "hub, probes", "hub, relays"] {
        // Two for each VM, its monitor and the relay's listener, and the files that every program has open.
        let files = 2 * monitors as u64 + 100;
        if contestant == "hub, relays" && getrlimit(Resource::Nofile).maximum.is_some_and(|max| max < files) {
            println!("{contestant:<12} skipped: {files} open files exceed the limit (ulimit -Hn)");
            continue;
        }
        let few = Measurement::of(&own, contestant, path, monitors / 10);
        let all = Measurement::of(&own, contestant, path, monitors);
        all.show(contestant, monitors, &few);
    }
    for mut server in servers {
        server.kill().expect("runs");
        server.wait().expect("ends");
    }
}

/// The measurements of one run of a contestant.
struct Measurement {
    monitors: f64,
    attach_ms: f64,
    kib: f64,
    idle_ms: f64,
}

impl Measurement {
    fn of(own: &Path, contestant: &str, home: &str, monitors: usize) -> Self {
        let output = Command::new(own)
            .args(["contestant", contestant, home, &monitors.to_string()])
            .stderr(Stdio::inherit())
            .output()
            .expect("starts");
        assert!(output.status.success(), "{contestant} failed");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let values: Vec<f64> = text.split_whitespace().map(|text| text.parse().expect("a number")).collect();
        let [attach_ms, kib, idle_ms] = values[..] else { panic!("three values: {text}") };
        Self { monitors: monitors as f64, attach_ms, kib, idle_ms }
    }

    fn show(&self, contestant: &str, monitors: usize, few: &Self) {
        let each = (self.kib - few.kib) / (self.monitors - few.monitors);
        println!(
            "{contestant:<12}{:>8.0} ms {:>8.0}/s {each:>8.2} KiB each and {:>6.0} once {:>8.2} ms of processor time in \
             an idle second",
            self.attach_ms,
            monitors as f64 / self.attach_ms * 1e3,
            self.kib - each * self.monitors,
            self.idle_ms,
        );
    }
}

async fn run_contestant(contestant: &str, home: &Path, monitors: usize) {
    let paths: Vec<PathBuf> = (0..monitors).map(|n| socket(home, n)).collect();
    let before_kib = resident_kib();
    let start = Instant::now();
    // The attached clients are kept until the memory has been measured.
    let kept: Box<dyn Any> = match contestant {
        "raw" => Box::new(all(paths, raw).await),
        "qapi" => Box::new(all(paths, qapi).await),
        "qmp-client" => Box::new(all(paths, client).await),
        "hub" | "hub, probes" => Box::new(hub(home, &paths, false).await),
        "hub, relays" => Box::new(hub(home, &paths, true).await),
        _ => panic!("no contestant {contestant}"),
    };
    let seconds = start.elapsed().as_secs_f64();
    let probes = contestant == "hub, probes";
    let (settle, watched) = if probes { (SILENT_AFTER_DEFAULT, PROBE_ROUND) } else { (SETTLE, IDLE) };
    // Counted from the start, so that the round is complete after an attach of any length.
    tokio::time::sleep_until((start + settle.max(start.elapsed() + SETTLE)).into()).await;
    let idle_before = processor_time();
    let kib_before = resident_kib();
    tokio::time::sleep(watched).await;
    let idle = processor_time() - idle_before;
    let kib = if probes { resident_kib() } else { kib_before }.saturating_sub(before_kib);
    drop(kept);
    println!("{} {kib} {}", seconds * 1e3, idle.as_secs_f64() * 1e3 / watched.as_secs_f64());
}

/// Attaches to all monitors at once, a task for each.
async fn all<T, F>(paths: Vec<PathBuf>, attach: fn(PathBuf) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: JoinSet<T> = paths.into_iter().map(attach).collect();
    tasks.join_all().await
}

async fn raw(path: PathBuf) -> UnixStream {
    let mut stream = UnixStream::connect(path).await.expect("connects");
    let mut bytes = [0; 512];
    let greeting_bytes = stream.read(&mut bytes).await.expect("a greeting");
    assert!(bytes[..greeting_bytes].ends_with(b"\r\n"));
    stream.write_all(b"{\"execute\": \"qmp_capabilities\"}\r\n").await.expect("writes");
    let reply_bytes = stream.read(&mut bytes).await.expect("a reply");
    assert!(bytes[..reply_bytes].ends_with(b"\r\n"));
    stream
}

async fn qapi(path: PathBuf) -> impl Any + Send {
    let negotiation = qapi::futures::QmpStreamTokio::open_uds(path).await.expect("connects");
    negotiation.negotiate().await.expect("negotiates")
}

async fn client(path: PathBuf) -> Connection {
    let address = Address::Unix { path, listen: false };
    let mut connection = Connection::open(&address, &ConnectConfig::default()).await.expect("connects");
    connection.negotiate(|_| ()).await.expect("negotiates");
    connection
}

async fn hub(home: &Path, paths: &[PathBuf], relays: bool) -> Daemon {
    // Each run has its own journal.
    let journal = home.join(format!("{}.db", std::process::id()));
    let mut config = DaemonConfig::new(journal);
    for (n, path) in paths.iter().enumerate() {
        let name: qmp_hub::VmName = format!("vm{n}").parse().expect("a name");
        config.attach.push((name.clone(), Address::Unix { path: path.clone(), listen: false }));
        if relays {
            config.relays.push((name, RelayConfig::new(path.with_extension("qmp"))));
        }
    }
    let hub = Daemon::start(config).await.expect("starts");
    let mut head = hub.journal().watch_head();
    head.wait_for(|head| head.0 >= paths.len() as u64).await.expect("an open journal");
    hub
}

async fn serve_monitors(home: &str, first: usize, end: usize) {
    let mut monitors = JoinSet::new();
    for n in first..end {
        let listener = UnixListener::bind(socket(Path::new(home), n)).expect("binds");
        monitors.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a client");
                // The client closes when its process ends.
                let _ = load::vms::answer(stream).await;
            }
        });
    }
    println!("ready");
    monitors.join_all().await;
}

fn socket(home: &Path, n: usize) -> PathBuf {
    home.join(format!("{n}.sock"))
}

fn number(text: &str) -> usize {
    text.parse().expect("a number of monitors")
}

fn run(work: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime").block_on(work);
}

/// Resident memory of this process, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Processor time of this process and all its threads since its start.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("positive")
}

/// Each monitor needs a socket here, and two in the process that emulates it.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the hard limit is allowed");
}

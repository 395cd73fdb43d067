//! Domains that are followed through libvirt, by a scripted daemon.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use crate::support::client::{execute, get_json};
use crate::support::{Watcher, config, fill, short};
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_hub::discovery::{DiscoveryRule, Source};
use qmp_journal::{Globs, Query};
use qmp_testing::{LibvirtDaemon, LibvirtDomain, LibvirtSocket, Monitor, QEMU, REMOTE, poll_until};
use qmp_wire::{Body, DetachReason, Record};
use rusqlite::Connection;
use serde_json::{Value, json};

/// Numbers of lifecycle events.
const STARTED: u32 = 2;
const STOPPED: u32 = 5;

/// A hub that follows a daemon, in one directory.
struct Host {
    home: tempfile::TempDir,
    hub: Daemon,
    journal: Watcher,
}

impl Host {
    async fn start(change: impl FnOnce(&mut DaemonConfig, &mut DiscoveryRule)) -> Self {
        Self::start_with(Vec::new(), change).await
    }

    /// As [`start`](Self::start), with more rules.
    async fn start_with(
        mut rules: Vec<DiscoveryRule>,
        change: impl FnOnce(&mut DaemonConfig, &mut DiscoveryRule),
    ) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let daemon = format!("unix:{}", home.path().join("libvirt-sock").display());
        let mut rule = DiscoveryRule::new(Source::Libvirt(daemon.parse().expect("a source")));
        let mut config = config(home.path(), &[]);
        change(&mut config, &mut rule);
        rules.push(rule);
        config.discover = rules;
        let hub = Daemon::start(config).await.expect("starts");
        let journal = Watcher::new(&hub);
        Self { home, hub, journal }
    }

    /// Stops the hub, and starts another one with the same journal.
    async fn restart(self) -> Self {
        self.hub.stop().await.expect("stops");
        let home = self.home;
        let daemon = format!("unix:{}", home.path().join("libvirt-sock").display());
        let mut config = config(home.path(), &[]);
        config.discover = vec![DiscoveryRule::new(Source::Libvirt(daemon.parse().expect("a source")))];
        let hub = Daemon::start(config).await.expect("starts");
        let journal = Watcher::new(&hub);
        Self { home, hub, journal }
    }

    /// Reloads with another rule for the daemon.
    async fn reload(&self, change: impl FnOnce(&mut DiscoveryRule)) {
        let daemon = format!("unix:{}", self.socket().display());
        let mut rule = DiscoveryRule::new(Source::Libvirt(daemon.parse().expect("a source")));
        change(&mut rule);
        let mut config = config(self.home.path(), &[]);
        config.discover = vec![rule];
        assert!(self.hub.reload(config).await.discovery);
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("libvirt-sock")
    }

    /// Starts the daemon.
    fn libvirt(&self, domains: Vec<LibvirtDomain>) -> LibvirtSocket {
        LibvirtSocket::bind(&self.socket(), LibvirtDaemon::new(domains))
    }

    /// Waits until the hub's VMs are these, each with its state.
    async fn vms(&self, expected: &[(&str, &str)]) {
        let path = self.home.path();
        poll_until(&format!("{expected:?}"), async || {
            let (_, list) = get_json(path, "/v1/vms").await;
            let list = list.as_array()?.iter();
            let found: Vec<_> = list.map(|vm| (vm["vm"].as_str(), vm["state"].as_str())).collect();
            let expected: Vec<_> = expected.iter().map(|(vm, state)| (Some(*vm), Some(*state))).collect();
            (found == expected).then_some(())
        })
        .await;
    }
}

fn vm(name: &str, number: u8, id: i32) -> LibvirtDomain {
    LibvirtDomain::running(name, [number; 16], id)
}

fn snapshot(record: &Record<'_>) -> Value {
    let Body::Attached { snapshot } = &record.body else { panic!("{record:?}") };
    serde_json::from_str(snapshot).expect("JSON")
}

/// Reason and detail of a record that closes an epoch.
fn detached<'r>(record: &'r Record<'_>) -> (&'r DetachReason, &'r str) {
    let Body::Detached { reason, detail, .. } = &record.body else { panic!("{record:?}") };
    (reason, detail.as_deref().unwrap_or_default())
}

#[tokio::test]
async fn run_of_a_domain_is_an_epoch() {
    let mut host = Host::start(|_, _| {}).await;
    let libvirt = host.libvirt(vec![vm("web1", 1, 4)]);
    let attached = host.journal.next().await;
    assert_eq!(short(&attached), "web1 1.0 attached");
    let snapshot = snapshot(&attached);
    let socket = host.socket().display().to_string();
    assert_eq!(snapshot["address"], format!("libvirt:unix:{socket}"));
    let expected = json!({
        "socket": socket, "version": "9.0.0", "began": "found", "state": "running", "reason": "booted",
        "domain": {"name": "web1", "uuid": "01010101-0101-0101-0101-010101010101", "id": 4},
    });
    assert_eq!(snapshot["libvirt"], expected);
    host.vms(&[("web1", "attached")]).await;

    libvirt.with(|daemon| {
        daemon.emit("web1", "STOP", None);
        daemon.emit("web1", "RESET", Some(r#"{"guest":false}"#));
        daemon.domain("web1").id = -1;
        daemon.emit_lifecycle("web1", STOPPED, 4);
    });
    assert_eq!(host.journal.take(2).await, ["web1 1.1 STOP", r#"web1 1.2 RESET {"guest":false}"#]);
    assert_eq!(detached(&host.journal.next().await), (&DetachReason::PeerClosed, "libvirt: saved"));
    host.vms(&[("web1", "detached")]).await;

    libvirt.with(|daemon| {
        (daemon.domain("web1").id, daemon.domain("web1").state) = (5, (1, 3));
        daemon.emit("web1", "RESUME", None);
        daemon.emit_lifecycle("web1", STARTED, 2);
    });
    let attached = host.journal.next().await;
    let snapshot = self::snapshot(&attached);
    let words = ["began", "started", "reason"].map(|member| snapshot["libvirt"][member].clone());
    assert_eq!(words, ["started", "restored", "restored"]);
    assert_eq!(host.journal.take(1).await, ["web1 2.1 RESUME"]);
    host.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn loss_of_libvirt_closes_every_epoch_with_its_own_reason() {
    let mut host = Host::start(|_, _| {}).await;
    let libvirt = host.libvirt(vec![vm("web1", 1, 1), vm("web2", 2, 2)]);
    let mut attached = host.journal.take(2).await;
    attached.sort();
    assert_eq!(attached, ["web1 1.0 attached", "web2 1.0 attached"]);
    drop(libvirt);
    for _ in 0..2 {
        let record = host.journal.next().await;
        assert_eq!(detached(&record), (&DetachReason::SourceLost, "libvirt closed the connection"));
    }
    host.vms(&[("web1", "detached"), ("web2", "detached")]).await;
    // web2 ended, and was undefined meanwhile.
    let _libvirt = host.libvirt(vec![vm("web1", 1, 1)]);
    assert_eq!(host.journal.take(1).await, ["web1 2.0 attached"]);
    host.vms(&[("web1", "attached")]).await;
    host.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn lost_monitor_is_a_protocol_error() {
    let mut host = Host::start(|_, _| {}).await;
    let libvirt = host.libvirt(vec![vm("web1", 1, 1)]);
    host.journal.next().await;
    libvirt.with(|daemon| daemon.emit_control_error("web1"));
    let record = host.journal.next().await;
    let (reason, detail) = detached(&record);
    assert_eq!(*reason, DetachReason::ProtocolError);
    assert!(detail.contains("restart libvirtd"), "{detail}");
    host.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn domain_that_is_gone_leaves_the_hub() {
    let mut host = Host::start(|_, _| {}).await;
    let libvirt = host.libvirt(vec![vm("web1", 1, 1)]);
    host.journal.next().await;
    libvirt.with(|daemon| {
        daemon.emit_lifecycle("web1", STOPPED, 1);
        daemon.domains.clear();
    });
    assert_eq!(host.journal.take(1).await, ["web1 1.1 detached PeerClosed"]);
    host.vms(&[]).await;
    host.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn names_are_made_and_chosen_by_the_rule() {
    let mut host = Host::start(|_, rule| {
        rule.name = "{host}.{name}".parse().expect("a template");
        rule.exclude = Some(Globs::parse(["*.test-*"]).expect("globs"));
    })
    .await;
    let _libvirt = host.libvirt(vec![vm("test-1", 1, 1), vm("web1", 2, 2)]);
    assert_eq!(host.journal.take(1).await, ["host1.web1 1.0 attached"]);
    host.vms(&[("host1.web1", "attached")]).await;
    host.hub.stop().await.expect("stops");
}

/// As `changed_rule_ends_only_epochs_of_vms_that_it_does_not_select_or_renames`, for domains.
#[tokio::test]
async fn changed_rule_leaves_the_epochs_of_other_domains() {
    let mut host = Host::start(|_, _| {}).await;
    let libvirt = host.libvirt(vec![vm("web1", 1, 1), vm("web2", 2, 2)]);
    host.journal.take(2).await;
    host.vms(&[("web1", "attached"), ("web2", "attached")]).await;
    host.reload(|rule| rule.exclude = Some(Globs::parse(["web2"]).expect("globs"))).await;
    host.vms(&[("web1", "attached")]).await;
    assert_eq!(host.journal.take(1).await, ["web2 1.1 detached Removed"]);
    libvirt.with(|daemon| daemon.emit("web1", "STOP", None));
    assert_eq!(host.journal.take(1).await, ["web1 1.1 STOP"]);

    host.reload(|_| {}).await;
    let attached = host.journal.next().await;
    assert_eq!(
        (&*short(&attached), &snapshot(&attached)["libvirt"]["began"]),
        ("web2 2.0 attached", &json!("reopened"))
    );
    libvirt.with(|daemon| daemon.emit("web1", "RESUME", None));
    assert_eq!(host.journal.take(1).await, ["web1 1.2 RESUME"]);

    // libvirtd is away.
    drop(libvirt);
    let mut lost = host.journal.take(2).await;
    lost.sort();
    assert_eq!(lost, ["web1 1.3 detached SourceLost", "web2 2.1 detached SourceLost"]);
    host.reload(|rule| rule.name = "{host}.{name}".parse().expect("a template")).await;
    host.vms(&[]).await;
    let _libvirt = host.libvirt(vec![vm("web1", 1, 1)]);
    assert_eq!(host.journal.take(1).await, ["host1.web1 1.0 attached"]);
    host.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn command_is_refused_with_the_way_out() {
    let mut host = Host::start(|_, _| {}).await;
    let _libvirt = host.libvirt(vec![vm("web1", 1, 1)]);
    host.journal.next().await;
    let (status, body) = execute(host.home.path(), "web1", r#"{"execute": "query-status"}"#).await;
    assert_eq!(status, 409, "{body}");
    assert!(body.to_string().contains("virsh qemu-monitor-command web1"), "{body}");
    host.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn command_passes_through_libvirt_if_the_rule_allows_it() {
    let mut host = Host::start(|_, rule| rule.commands = true).await;
    let libvirt = host.libvirt(vec![vm("web1", 1, 1)]);
    host.journal.next().await;
    let command = r#"{"execute": "stop", "arguments": {}}"#;
    let (status, body) = execute(host.home.path(), "web1", command).await;
    assert_eq!((status, &body["return"]), (200, &json!({})), "{body}");
    let record = host.journal.next().await;
    let Body::Finding { finding, summary, .. } = &record.body else { panic!("{record:?}") };
    assert!(finding == "command" && summary.contains("stop"), "{summary}");

    // libvirt refuses, as without the permission domain.write.
    libvirt.with(|daemon| {
        daemon.refusals.insert((QEMU, 1), (88, "access denied".to_owned()));
    });
    let (status, body) = execute(host.home.path(), "web1", r#"{"execute": "query-status"}"#).await;
    assert_eq!((status, &body["error"]["class"]), (200, &json!("LibvirtError")), "{body}");

    // The reply is lost together with libvirtd.
    libvirt.with(|daemon| {
        daemon.refusals.clear();
        daemon.unanswered.push((QEMU, 1));
    });
    let path = host.home.path().to_owned();
    let waiting = tokio::spawn(async move { execute(&path, "web1", r#"{"execute": "query-status"}"#).await });
    poll_until("the command", async || libvirt.with(|daemon| daemon.unreplied_calls() > 0).then_some(()))
        .await;
    drop(libvirt);
    let (status, body) = waiting.await.expect("no panic");
    assert_eq!((status, &body["error"]["class"]), (503, &json!("VmGone")), "{body}");
    host.hub.stop().await.expect("stops");
}

/// Waits until that many commands have no reply.
async fn unreplied(libvirt: &LibvirtSocket, count: usize) {
    let reached = || libvirt.with(|daemon| daemon.unreplied_calls() == count).then_some(());
    poll_until(&format!("{count} commands"), async || reached()).await;
}

#[tokio::test]
async fn domains_that_hang_delay_no_command_and_no_attachment_of_others() {
    let mut host = Host::start(|_, rule| rule.commands = true).await;
    let hung = ["hung1", "hung2", "hung3", "hung4", "hung5"];
    let domain = |(name, number)| vm(name, number, i32::from(number));
    let libvirt = host.libvirt(hung.into_iter().chain(["web1"]).zip(1..).map(domain).collect());
    host.journal.take(6).await;
    libvirt.with(|daemon| daemon.hung = hung.map(str::to_owned).into());
    let path = host.home.path().to_owned();
    let query = |name: &'static str| {
        let path = path.clone();
        tokio::spawn(async move { execute(&path, name, r#"{"execute": "query-status"}"#).await })
    };
    let mut waiting: Vec<_> = hung[..3].iter().map(|name| query(name)).collect();
    unreplied(&libvirt, 3).await;
    waiting.extend(hung[3..].iter().map(|name| query(name)));
    let (status, body) = query("web1").await.expect("no panic");
    assert_eq!((status, &body["return"]), (200, &json!({})), "{body}");
    unreplied(&libvirt, 5).await;
    // A domain that starts meanwhile is attached.
    libvirt.with(|daemon| {
        daemon.domains.push(vm("web2", 9, 9));
        daemon.emit_lifecycle("web2", STARTED, 0);
    });
    host.journal.until("web2 1.0 attached").await;

    // The replies arrive when the QEMUs go on.
    libvirt.with(|daemon| hung.iter().for_each(|name| daemon.revive(name)));
    for waiting in waiting {
        let (status, body) = waiting.await.expect("no panic");
        assert_eq!((status, &body["return"]), (200, &json!({})), "{body}");
    }
    host.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn domain_is_left_to_its_own_monitor_before_that_is_attached() {
    let mut processes = DiscoveryRule::new(Source::Processes);
    processes.only = Globs::parse(["claimed-*"]).expect("globs");
    let mut host = Host::start_with(vec![processes], |_, _| {}).await;
    // A process with the command line of a QEMU, whose monitor does not listen yet.
    let monitor = format!("unix:{}/claimed.sock,server=on", host.home.path().display());
    let uuid = "01010101-0101-0101-0101-010101010101";
    let mut qemu = std::process::Command::new("sh")
        .arg0("qemu-kvm")
        .args(["-c", "read line", "sh", "-name", "claimed-1", "-uuid", uuid, "-qmp", &monitor])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    host.vms(&[("claimed-1", "connecting")]).await;
    let libvirt = host.libvirt(vec![vm("web1", 1, 1)]);
    let asked = |daemon: &mut LibvirtDaemon| daemon.calls().contains(&(REMOTE, 212)).then_some(());
    poll_until("the domain's state", async || libvirt.with(asked)).await;
    host.vms(&[("claimed-1", "connecting")]).await;
    let monitor = Monitor::bind(host.home.path(), "claimed");
    let _session = monitor.accept().await;
    assert_eq!(host.journal.take(1).await, ["claimed-1 1.0 attached"]);
    host.hub.stop().await.expect("stops");
    drop(qemu.stdin.take());
    qemu.wait().expect("ends");
}

/// Numbers of lifecycle events with the detail `renamed`.
const DEFINED: (u32, u32) = (0, 2);
const UNDEFINED: (u32, u32) = (1, 1);

#[tokio::test]
async fn domain_that_is_started_ended_and_renamed_in_a_loop_leaves_no_other_vm() {
    const ROUNDS: i32 = 300;
    let mut host = Host::start(|_, _| {}).await;
    let mut off = vm("web", 1, -1);
    off.state = (5, 0);
    let libvirt = host.libvirt(vec![off]);
    poll_until("the list", async || {
        libvirt.with(|daemon| daemon.calls().contains(&(REMOTE, 273)).then_some(()))
    })
    .await;
    let names = ["web", "db"];
    libvirt.with(|daemon| {
        for (round, name) in (1..=ROUNDS).zip(names.into_iter().cycle()) {
            (daemon.domain(name).id, daemon.domain(name).state) = (round, (1, 1));
            daemon.emit(name, "RESUME", None);
            daemon.emit_lifecycle(name, STARTED, 0);
            daemon.domain(name).id = -1;
            daemon.emit_lifecycle(name, STOPPED, 1);
            daemon.domain(name).state = (5, 2);
            daemon.emit_lifecycle(name, UNDEFINED.0, UNDEFINED.1);
            let other = names[usize::from(name == "web")];
            daemon.domain(name).name = other.to_owned();
            daemon.emit_lifecycle(other, DEFINED.0, DEFINED.1);
        }
        // An even number of times it was renamed.
        (daemon.domain("web").id, daemon.domain("web").state) = (ROUNDS + 1, (1, 1));
        daemon.emit_lifecycle("web", STARTED, 0);
        daemon.emit("web", "STOP", None);
    });
    host.vms(&[("web", "attached")]).await;
    let last = loop {
        let record = short(&host.journal.next().await);
        if record.ends_with("STOP") {
            break record;
        }
    };
    assert!(last.starts_with("web ") && last.ends_with(".1 STOP"), "{last}");
    host.hub.stop().await.expect("stops");
}

/// Resident memory of this process, in MiB.
fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_domains_are_attached_in_seconds() {
    const DOMAINS: u16 = 5_000;
    let host = Host::start(|_, _| {}).await;
    let domain = |number: u16| {
        let mut uuid = [0; 16];
        uuid[..2].copy_from_slice(&number.to_be_bytes());
        LibvirtDomain::running(&format!("vm{number}"), uuid, i32::from(number) + 1)
    };
    let before = memory_mib();
    let (libvirt, began) = (host.libvirt((0..DOMAINS).map(domain).collect()), std::time::Instant::now());
    poll_until("all domains", async || (host.hub.attached().0 == usize::from(DOMAINS)).then_some(())).await;
    let (took, after) = (began.elapsed(), memory_mib());
    println!("{DOMAINS} domains: {took:?}, {before} MiB before, {after} MiB after");
    libvirt.with(|daemon| daemon.emit("vm4999", "STOP", None));
    let reader = host.hub.journal().reader();
    let stopped = async || {
        let found =
            reader.last(&Query { event: Globs::parse(["STOP"]).ok()?, ..Query::default() }, 1).ok()?;
        (!found.records.is_empty()).then_some(())
    };
    poll_until("the event", stopped).await;
    assert!(after < before + 200, "{before} MiB before, {after} MiB after");
    host.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn overrun_is_counted_and_ends_with_the_state_of_now() {
    let mut host = Host::start(|config, _| config.journal_options.queue_max_bytes = 32 << 10).await;
    let libvirt = host.libvirt(vec![vm("web1", 1, 1)]);
    host.journal.next().await;
    // As a stalled disk, with a full queue.
    let stalled = Connection::open(host.home.path().join("journal.db")).expect("opens");
    stalled.execute_batch("BEGIN IMMEDIATE").expect("no other writer");
    fill(&host.hub);
    let total = 5_000;
    libvirt.with(|daemon| {
        for _ in 0..total {
            daemon.emit("web1", "STOP", None);
        }
        daemon.domain("web1").state = (3, 1);
    });
    let web1 = host.hub.registry().vms().get("web1").expect("a VM");
    poll_until("all events are read", async || {
        let read: u64 = web1.counts.events().map(|(_, count)| count).sum();
        (read == total).then_some(())
    })
    .await;
    // The writer may have taken records out of the queue after it was filled.
    let discarded = web1.counts.events_discarded.get();
    assert!(discarded > total / 2, "{discarded}");

    stalled.execute_batch("ROLLBACK").expect("ends");
    let closed = loop {
        let record = host.journal.next().await;
        if matches!(record.body, Body::Detached { .. }) {
            break record;
        }
    };
    let detail = format!("the journal had no room; {discarded} events were thrown away");
    assert_eq!(detached(&closed), (&DetachReason::Overrun, &*detail));
    let attached = host.journal.next().await;
    let words = ["began", "state", "reason"].map(|member| snapshot(&attached)["libvirt"][member].clone());
    assert_eq!(words, ["reopened", "paused", "user"]);
    libvirt.with(|daemon| daemon.emit("web1", "RESUME", None));
    assert_eq!(host.journal.take(1).await, ["web1 2.1 RESUME"]);
    host.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn reason_of_a_pause_is_asked_of_libvirt() {
    let mut host = Host::start(|config, _| config.findings = true).await;
    let libvirt = host.libvirt(vec![vm("web1", 1, 1)]);
    host.journal.until("web1 1.0 attached").await;
    libvirt.with(|daemon| {
        daemon.domain("web1").state = (3, 1);
        daemon.emit("web1", "STOP", None);
    });
    let (summary, causes, data) = host.journal.finding("query").await;
    assert_eq!((&*summary, &*causes), ("virDomainGetState: paused (user)", &[(1, 1)][..]));
    let answer = json!({"execute": "virDomainGetState", "return": {"state": "paused", "reason": "user"}});
    assert_eq!(data, answer);
    let (summary, _, data) = host.journal.finding("why-paused").await;
    assert_eq!((&*summary, &data["cause"]), ("It was paused through libvirt.", &json!("host-stop")));
    assert!(libvirt.with(|daemon| !daemon.calls().contains(&(QEMU, 1))), "no command, which would taint it");
    host.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn domain_that_is_off_stays_in_the_list_over_a_restart() {
    let mut host = Host::start(|_, _| {}).await;
    let mut defined = vm("never-ran", 2, -1);
    defined.state = (5, 0);
    let libvirt = host.libvirt(vec![vm("web1", 1, 1), defined]);
    host.journal.until("web1 1.0 attached").await;
    libvirt.with(|daemon| {
        (daemon.domain("web1").id, daemon.domain("web1").state) = (-1, (5, 6));
        daemon.emit_lifecycle("web1", STOPPED, 5);
    });
    host.journal.until("web1 1.1 detached PeerClosed").await;
    let mut host = host.restart().await;
    host.vms(&[("web1", "detached")]).await;
    let (_, web1) = get_json(host.home.path(), "/v1/vms/web1").await;
    assert_eq!(
        (&web1["run_state"], &web1["error"]),
        (&json!("gone"), &json!("libvirt has the domain, and it does not run"))
    );
    // It runs again, under its name.
    libvirt.with(|daemon| {
        (daemon.domain("web1").id, daemon.domain("web1").state) = (2, (1, 1));
        daemon.emit_lifecycle("web1", STARTED, 0);
    });
    host.journal.until("web1 2.0 attached").await;
    host.vms(&[("web1", "attached")]).await;
    let mut host = host.restart().await;
    host.journal.until("web1 3.0 attached").await;
    // Another domain has its name: the records are not its own.
    libvirt.with(|daemon| daemon.domains = vec![vm("web1", 3, -1)]);
    let host = host.restart().await;
    poll_until("the list", async || {
        libvirt.with(|daemon| daemon.calls().contains(&(REMOTE, 273)).then_some(()))
    })
    .await;
    host.vms(&[]).await;
    host.hub.stop().await.expect("stops");
}

#[tokio::test]
async fn absence_of_libvirt_is_the_error_of_its_domains() {
    let mut host = Host::start(|_, _| {}).await;
    let libvirt = host.libvirt(vec![vm("web1", 1, 1)]);
    host.journal.until("web1 1.0 attached").await;
    drop(libvirt);
    let path = host.home.path();
    poll_until("the next step", async || {
        let (_, web1) = get_json(path, "/v1/vms/web1").await;
        web1["error"].as_str()?.contains("start libvirtd").then_some(())
    })
    .await;
    host.hub.stop().await.expect("stops");
}

//! Discovery with real QEMUs: by process, by path, by dialling in, and with the monitor in use by another client.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::client::get_json;
use crate::support::qemu::{PROGRAM, is_missing};
use crate::support::qmp::RawClient;
use crate::support::{Watcher, config};
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_hub::discovery::{DiscoveryRule, Source};
use qmp_journal::Globs;
use qmp_testing::poll_until;

/// The longest wait of a test; only a failure takes that long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A QEMU that is killed with the test.
struct Qemu(Child);

impl Qemu {
    fn start(home: &Path, arguments: &[&str]) -> Self {
        let child = Command::new(PROGRAM)
            .args(["-M", "none", "-display", "none", "-nodefaults"])
            .args(arguments)
            .current_dir(home)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("starts"))
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hub(home: &Path, rule: DiscoveryRule) -> DaemonConfig {
    DaemonConfig { discover: vec![rule], ..config(home, &[]) }
}

/// Discovers by process; `prefix` selects the QEMUs of this test, since others may run.
fn processes(prefix: &str) -> DiscoveryRule {
    let only = Globs::parse([format!("{prefix}*")]).expect("a glob");
    DiscoveryRule { only, ..DiscoveryRule::new(Source::Processes) }
}

async fn until(hub: &Daemon, expected: &[&str]) {
    let names = || hub.registry().list().iter().map(|vm| vm.name.to_string()).collect::<Vec<_>>();
    poll_until(&format!("the VMs {expected:?}"), async || (names() == expected).then_some(())).await;
}

async fn next(journal: &mut Watcher) -> String {
    let record = tokio::time::timeout(TIMEOUT, journal.next()).await.expect("a record");
    crate::support::short(&record)
}

#[tokio::test]
async fn process_is_found_and_removed_after_its_exit() {
    if is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let prefix = format!("find-{}", std::process::id());
    let hub = Daemon::start(hub(home.path(), processes(&prefix))).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    // A relative path, a comma in it, and a name with a blank.
    let name = format!("{prefix} a");
    let qemu = Qemu::start(home.path(), &["-name", &name, "-qmp", "unix:a,,b.sock,server=on,wait=off"]);
    assert_eq!(next(&mut journal).await, format!("{prefix}-a 1.0 attached"));
    // The long form, beside a monitor without a connectable socket.
    let second = format!("{prefix}-b");
    let guest = format!("guest={second},debug-threads=on");
    let arguments = [
        "-name",
        &guest,
        "-qmp",
        "null",
        "-chardev",
        "socket,id=c,path=c.sock,server,nowait",
        "-mon",
        "chardev=c,mode=control,pretty=on",
    ];
    let _other = Qemu::start(home.path(), &arguments);
    assert_eq!(next(&mut journal).await, format!("{second} 1.0 attached"));
    drop(qemu);
    assert_eq!(next(&mut journal).await, format!("{prefix}-a 1.1 detached PeerClosed"));
    until(&hub, &[&second]).await;
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn free_monitor_of_two_is_followed() {
    if is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let name = format!("two-{}", std::process::id());
    let arguments = [
        "-name",
        &name,
        "-qmp",
        "unix:one.sock,server=on,wait=off",
        "-qmp",
        "unix:two.sock,server=on,wait=off",
    ];
    let _qemu = Qemu::start(home.path(), &arguments);
    let _holder = hold(&home.path().join("one.sock")).await;
    let hub = Daemon::start(hub(home.path(), processes(&name))).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    assert_eq!(next(&mut journal).await, format!("{name} 1.0 attached"));
    assert!(hub.registry().list()[0].address.to_string().ends_with("two.sock"));
    hub.stop().await.expect("stops");
}

/// A client that occupies a monitor.
async fn hold(path: &Path) -> RawClient {
    poll_until("a socket of QEMU", async || path.exists().then_some(())).await;
    RawClient::open(path).await.0
}

#[tokio::test]
async fn monitor_in_use_is_attached_when_its_client_leaves() {
    if is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let _qemu = Qemu::start(home.path(), &["-qmp", "unix:vm.sock,server=on,wait=off"]);
    let mut holder = hold(&home.path().join("vm.sock")).await;
    let source = format!("{}/v*.sock", home.path().display()).parse().expect("a source");
    let hub = Daemon::start(hub(home.path(), DiscoveryRule::new(source))).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    let in_use = poll_until("the VM to be in use", async || {
        let (_, vm) = get_json(home.path(), "/v1/vms/vm").await;
        Some(vm).filter(|vm| vm["state"] == "in-use")
    });
    let in_use = in_use.await;
    // The other client is in the process of the hub.
    assert!(
        in_use["error"].as_str().expect("advice").contains("which is this hub, is connected"),
        "{in_use}"
    );
    // The client of the monitor was not disturbed.
    assert_eq!(holder.ask(r#""execute": "query-status""#).await[0]["return"]["status"], "running");
    drop(holder);
    assert_eq!(next(&mut journal).await, "vm 1.0 attached");
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn changed_rule_leaves_the_epochs_of_other_qemus_that_dialled_in() {
    if is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let rule = |only: &str, name: &str| {
        let source = format!("unix:{}/dial.sock,server=on", home.path().display()).parse().expect("a source");
        let mut rule = DiscoveryRule::new(source);
        rule.only = Globs::parse([only]).expect("globs");
        rule.name = name.parse().expect("a template");
        hub(home.path(), rule)
    };
    let started = Daemon::start(rule("*", "{name}")).await.expect("starts");
    let mut journal = Watcher::new(&started);
    let dial = ["-chardev", "socket,id=c,path=dial.sock,reconnect=1", "-mon", "chardev=c,mode=control"];
    let mut qemus = Vec::new();
    for name in ["web", "db"] {
        qemus.push(Qemu::start(home.path(), &["-name", name].into_iter().chain(dial).collect::<Vec<_>>()));
        assert_eq!(next(&mut journal).await, format!("{name} 1.0 attached"));
    }
    started.reload(rule("web", "{name}")).await;
    until(&started, &["web"]).await;
    assert_eq!(next(&mut journal).await, "db 1.1 detached Removed");
    started.reload(rule("x-*", "x-{name}")).await;
    let mut records = vec![next(&mut journal).await, next(&mut journal).await, next(&mut journal).await];
    records.sort();
    assert_eq!(records, ["web 1.1 detached Removed", "x-db 1.0 attached", "x-web 1.0 attached"]);
    started.stop().await.expect("stops");
}

#[tokio::test]
async fn qemus_dial_in_again_after_restarts() {
    if is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let source = format!("unix:{}/dial.sock,server=on", home.path().display()).parse().expect("a source");
    let started = Daemon::start(hub(home.path(), DiscoveryRule::new(source))).await.expect("starts");
    let mut journal = Watcher::new(&started);
    let dial = ["-chardev", "socket,id=c,path=dial.sock,reconnect=1", "-mon", "chardev=c,mode=control"];
    let named: Vec<&str> = ["-name", "web"].into_iter().chain(dial).collect();
    let web = Qemu::start(home.path(), &named);
    assert_eq!(next(&mut journal).await, "web 1.0 attached");
    let uuid = "5f0c2a52-0000-4000-8000-000000000001";
    let _by_uuid = Qemu::start(home.path(), &["-uuid", uuid].into_iter().chain(dial).collect::<Vec<_>>());
    assert_eq!(next(&mut journal).await, format!("{uuid} 1.0 attached"));
    let nameless = Qemu::start(home.path(), &dial);
    let pid = nameless.0.id();
    assert_eq!(next(&mut journal).await, format!("pid-{pid} 1.0 attached"));
    until(&started, &["web", uuid, &format!("pid-{pid}")]).await;

    // Another process of the same VM continues its name.
    drop(web);
    let records = tokio::time::timeout(TIMEOUT, journal.until("web 1.1 detached PeerClosed")).await;
    records.expect("the end of the first");
    let _web = Qemu::start(home.path(), &named);
    assert_eq!(next(&mut journal).await, "web 2.0 attached");
    until(&started, &["web", uuid, &format!("pid-{pid}")]).await;
    started.stop().await.expect("stops");

    // Running QEMUs dial in to a restarted hub.
    let source = format!("unix:{}/dial.sock,server=on", home.path().display()).parse().expect("a source");
    let again = Daemon::start(hub(home.path(), DiscoveryRule::new(source))).await.expect("starts");
    let mut journal = Watcher::new(&again);
    let records = tokio::time::timeout(TIMEOUT, journal.until("web 3.0 attached")).await;
    records.expect("a further connection");
    again.stop().await.expect("stops");
}

//! Discovered VMs: sockets that appear and vanish, layouts of other programs, monitors in use by another client.

use std::path::Path;

use crate::support::client::get_json;
use crate::support::{Watcher, config};
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_hub::discovery::{DiscoveryRule, PathPattern, Source};
use qmp_hub::relay::RelayConfig;
use qmp_journal::Globs;
use qmp_testing::{Monitor, poll_until};
use serde_json::Value;

fn glob(home: &Path, pattern: &str) -> DiscoveryRule {
    let pattern: PathPattern = format!("{}/{pattern}", home.display()).parse().expect("a pattern");
    DiscoveryRule::new(Source::Paths(pattern))
}

fn layout(name: &str, root: &Path) -> DiscoveryRule {
    DiscoveryRule::new(Source::Layout {
        layout: name.parse().expect("a layout"),
        root: Some(root.to_owned()),
    })
}

fn discovery_config(home: &Path, vms: &[&str], rules: Vec<DiscoveryRule>) -> DaemonConfig {
    DaemonConfig { discover: rules, ..config(home, vms) }
}

/// The names of the hub's VMs, each with its origin.
fn names(hub: &Daemon) -> Vec<String> {
    hub.registry().list().iter().map(|vm| format!("{} {}", vm.name, vm.origin)).collect()
}

/// Waits until the hub's VMs are `expected`.
async fn until(hub: &Daemon, expected: &[&str]) {
    let names = || hub.registry().list().iter().map(|vm| vm.name.to_string()).collect::<Vec<_>>();
    poll_until(&format!("the VMs {expected:?}"), async || (names() == expected).then_some(())).await;
}

/// Waits until the VM is in `state`; returns its description.
async fn until_state(home: &Path, vm: &str, state: &str) -> Value {
    poll_until(state, async || {
        let (_, found) = get_json(home, &format!("/v1/vms/{vm}")).await;
        Some(found).filter(|found| found["state"] == state)
    })
    .await
}

#[tokio::test]
async fn vms_are_added_and_removed_with_their_sockets() {
    let home = tempfile::tempdir().expect("a directory");
    let mut rule = glob(home.path(), "run/*/qmp-*.sock");
    rule.name = "{directory}.{name}".parse().expect("a template");
    rule.exclude = Some(Globs::parse(["*-test"]).expect("globs"));
    // The directory does not exist yet.
    let hub = Daemon::start(discovery_config(home.path(), &[], vec![rule])).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    let host = home.path().join("run/host a");
    std::fs::create_dir_all(&host).expect("made");
    let (one, _other) = (Monitor::bind(&host, "qmp-1"), Monitor::bind(&host, "other"));
    let session = one.accept().await;
    assert_eq!(journal.take(1).await, ["host-a.qmp-1 1.0 attached"]);
    let origin = format!("[[discover]] glob = \"{}/run/*/qmp-*.sock\"", home.path().display());
    assert_eq!(names(&hub), [format!("host-a.qmp-1 {origin}")]);

    let _excluded = Monitor::bind(&host, "qmp-2-test");
    let two = Monitor::bind(&host, "qmp-2");
    let second = two.accept().await;
    assert_eq!(journal.take(1).await, ["host-a.qmp-2 1.0 attached"]);
    until(&hub, &["host-a.qmp-1", "host-a.qmp-2"]).await;

    // Deleting the socket of a running VM does not end it.
    drop(two);
    std::fs::write(host.join("qmp-hint.sock"), "no socket").expect("written");
    second.emit("STOP", "");
    assert_eq!(journal.take(1).await, ["host-a.qmp-2 1.1 STOP"]);
    until(&hub, &["host-a.qmp-1", "host-a.qmp-2"]).await;
    second.close().await;
    assert_eq!(journal.take(1).await, ["host-a.qmp-2 1.2 detached PeerClosed"]);
    until(&hub, &["host-a.qmp-1"]).await;

    // A detached VM is retried while its socket exists.
    session.close().await;
    assert_eq!(journal.take(1).await, ["host-a.qmp-1 1.1 detached PeerClosed"]);
    let _session = one.accept().await;
    assert_eq!(journal.take(1).await, ["host-a.qmp-1 2.0 attached"]);
    hub.stop().await.expect("stops");
}

/// A discovered VM that quits leaves the hub at once; the explanation of its end stays available.
#[tokio::test]
async fn vm_that_left_hub_is_listed_on_request() {
    let home = tempfile::tempdir().expect("a directory");
    let hub = Daemon::start(discovery_config(home.path(), &[], vec![glob(home.path(), "vm*.sock")]))
        .await
        .expect("starts");
    let mut journal = Watcher::new(&hub);
    let (one, two) = (Monitor::bind(home.path(), "vm1"), Monitor::bind(home.path(), "vm2"));
    let (first, second) = (one.accept().await, two.accept().await);
    journal.take(2).await;
    first.emit("SHUTDOWN", r#"{"guest": true, "reason": "guest-shutdown"}"#);
    drop((one, two));
    first.close().await;
    until(&hub, &["vm2"]).await;
    second.close().await;
    until(&hub, &[]).await;
    let (_, list) = get_json(home.path(), "/v1/vms").await;
    assert_eq!(list, serde_json::json!([]), "without the parameter, only followed VMs");
    let (status, list) = get_json(home.path(), "/v1/vms?left=3600").await;
    let short: Vec<_> = list
        .as_array()
        .expect("a list")
        .iter()
        .map(|vm| {
            assert!(vm["address"].as_str().is_some_and(|address| address.ends_with(".sock")), "{vm}");
            [&vm["vm"], &vm["state"], &vm["run_state"], &vm["why"]["cause"]]
                .map(|member| member.as_str().unwrap_or("-").to_owned())
        })
        .collect();
    assert_eq!(status, 200);
    assert_eq!(
        short,
        [["vm2", "left", "gone", "gone"], ["vm1", "left", "ended", "guest-shutdown"]],
        "the latest first"
    );
    let (_, list) = get_json(home.path(), "/v1/vms?left=0").await;
    assert_eq!(list, serde_json::json!([]), "none ended within 0 s");

    // A VM that returns is followed, and listed once.
    let one = Monitor::bind(home.path(), "vm1");
    let _session = one.accept().await;
    until_state(home.path(), "vm1", "attached").await;
    let (_, list) = get_json(home.path(), "/v1/vms?left=3600").await;
    let names: Vec<_> = list.as_array().expect("a list").iter().map(|vm| [&vm["vm"], &vm["state"]]).collect();
    assert_eq!(names, [["vm1", "attached"], ["vm2", "left"]]);
    hub.stop().await.expect("stops");
}

/// The epochs of VMs that a rule still selects under the same names go on over a reload that changes the rule.
#[tokio::test]
async fn changed_rule_ends_only_epochs_of_vms_that_it_does_not_select_or_renames() {
    let home = tempfile::tempdir().expect("a directory");
    let run = home.path().join("run");
    std::fs::create_dir(&run).expect("made");
    let rule = |change: &dyn Fn(&mut DiscoveryRule)| {
        let mut rule = glob(&run, "*.sock");
        change(&mut rule);
        discovery_config(home.path(), &[], vec![rule])
    };
    let globs = |pattern| Globs::parse([pattern]).expect("globs");
    let monitors = ["vm1", "vm2", "vm3"].map(|vm| Monitor::bind(&run, vm));
    let hub = Daemon::start(rule(&|_| {})).await.expect("starts");
    let mut sessions = Vec::new();
    for monitor in &monitors {
        sessions.push(monitor.accept().await);
    }
    let mut journal = Watcher::new(&hub);
    let mut attached = journal.take(3).await;
    attached.sort();
    assert_eq!(attached, ["vm1 1.0 attached", "vm2 1.0 attached", "vm3 1.0 attached"]);
    let now = || hub.registry().list().iter().map(|vm| vm.name.to_string()).collect::<Vec<_>>();

    let relay = home.path().join("{name}.qmp");
    let done = hub
        .reload(rule(&|rule| {
            rule.exclude = Some(globs("vm2"));
            rule.relays = vec![RelayConfig::new(&relay)];
        }))
        .await;
    assert!(done.discovery && done.refused.is_empty(), "{done:?}");
    assert_eq!(now(), ["vm1", "vm3"], "once the reload is done");
    assert!(home.path().join("vm1.qmp").exists());
    assert_eq!(journal.take(1).await, ["vm2 1.1 detached Removed"]);
    sessions[0].emit("STOP", "");
    assert_eq!(journal.take(1).await, ["vm1 1.1 STOP"]);

    hub.reload(rule(&|rule| rule.only = globs("vm[12]"))).await;
    assert!(!home.path().join("vm1.qmp").exists());
    let _vm2 = monitors[1].accept().await;
    let mut both = journal.take(2).await;
    both.sort();
    assert_eq!(both, ["vm2 2.0 attached", "vm3 1.1 detached Removed"]);
    until(&hub, &["vm1", "vm2"]).await;

    hub.reload(rule(&|rule| {
        rule.only = globs("*1");
        rule.name = "pve-{name}".parse().expect("a template");
    }))
    .await;
    assert_eq!(now(), ["pve-vm1"]);
    let _vm1 = monitors[0].accept().await;
    let mut all = journal.take(3).await;
    all.sort();
    assert_eq!(all, ["pve-vm1 1.0 attached", "vm1 1.2 detached Removed", "vm2 2.1 detached Removed"]);
    hub.stop().await.expect("stops");
}

/// A socket that is configured explicitly, under any path, is not followed a second time.
#[tokio::test]
async fn configured_socket_is_not_discovered_again() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "mine");
    let other = Monitor::bind(home.path(), "other");
    std::os::unix::fs::symlink(home.path(), home.path().join("link")).expect("linked");
    let rules = vec![glob(home.path(), "link/[mo]*.sock"), glob(home.path(), "[mo]*.sock")];
    let hub = Daemon::start(discovery_config(home.path(), &["mine"], rules)).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    let (_mine, _other) = (monitor.accept().await, other.accept().await);
    let mut attached = journal.take(2).await;
    attached.sort();
    assert_eq!(attached, ["mine 1.0 attached", "other 1.0 attached"]);
    until(&hub, &["mine", "other"]).await;

    // A later explicit configuration takes it over.
    let address = format!("unix:{}", home.path().join("other.sock").display()).parse().expect("an address");
    let name = "explicit".parse().expect("a name");
    hub.registry().add(name, address, Vec::new(), qmp_hub::VmOrigin::Configuration).await.expect("added");
    let _hint = Monitor::bind(home.path(), "hint");
    until(&hub, &["mine", "explicit"]).await;
    assert_eq!(journal.take(1).await, ["other 1.1 detached Removed"]);
    let _handed_over = other.accept().await;
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn vms_of_the_same_name_get_distinct_names_and_relays() {
    let home = tempfile::tempdir().expect("a directory");
    let mut monitors = Vec::new();
    for directory in ["a", "b", "c"] {
        std::fs::create_dir(home.path().join(directory)).expect("made");
        monitors.push(Monitor::bind(&home.path().join(directory), "vm"));
    }
    std::fs::write(home.path().join("vm-3.qmp"), "not a socket").expect("written");
    let mut rule = glob(home.path(), "?/vm.sock");
    rule.relays = vec![RelayConfig::new(home.path().join("{name}.qmp"))];
    let hub = Daemon::start(discovery_config(home.path(), &[], vec![rule])).await.expect("starts");
    let mut sessions = Vec::new();
    for monitor in &monitors {
        sessions.push(monitor.accept().await);
    }
    until(&hub, &["vm", "vm-2", "vm-3"]).await;
    let relays: Vec<_> =
        hub.relays().iter().map(|relay| (relay.vm.to_string(), relay.error.is_some())).collect();
    let expected = [("vm", false), ("vm-2", false), ("vm-3", true)].map(|(vm, fails)| (vm.to_owned(), fails));
    assert_eq!(relays, expected, "the third is followed in any case");
    let (mut client, _) = crate::support::qmp::RawClient::open(&home.path().join("vm-2.qmp")).await;
    sessions[1].emit("STOP", "");
    assert_eq!(client.value().await["event"], "STOP");
    hub.stop().await.expect("stops");
}

/// The layouts of other programs, below directories of the test.
#[tokio::test]
async fn vms_in_layouts_of_other_programs_are_found() {
    let home = tempfile::tempdir().expect("a directory");
    let long = "p".repeat(60);
    //  layout      sockets                                                                      names
    let cases: [(&str, &[&str], &[&str]); 5] = [
        (
            "libvirt",
            &["domain-1-web/monitor.sock", "domain-2-a-b/monitor.sock", "x/monitor.sock"],
            &["web", "a-b"],
        ),
        ("proxmox", &["100.qmp", "101.qmp", "100.qga", "qsd-100.qmp"], &["100", "101"]),
        ("incus", &["prod_web/qemu.monitor", "web/qemu.monitor", "web/qemu.spice"], &["prod_web", "web"]),
        ("ganeti", &["web.example.org.qmp", "web.example.org.kvmd"], &["web.example.org"]),
        ("kata", &["4f1c/qmp.sock", "4f1c/console.sock"], &["4f1c"]),
    ];
    for (name, sockets, expected) in cases {
        let root = home.path().join(name);
        let mut bound = Vec::new();
        for socket in sockets {
            let path = root.join(socket);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            bound.push(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        }
        let config = discovery_config(home.path(), &[], vec![layout(name, &root)]);
        let hub = Daemon::start(config).await.expect("starts");
        until(&hub, expected).await;
        hub.stop().await.expect("stops");
    }

    // A path longer than the limit of a socket address is followed as well.
    let root = home.path().join("deep").join(&long);
    let directory = root.join(format!("prod_{long}"));
    std::fs::create_dir_all(&directory).expect("made");
    let short = home.path().join("s");
    std::os::unix::fs::symlink(&directory, &short).expect("linked");
    let monitor = Monitor::bind(&short, "qemu");
    std::fs::rename(short.join("qemu.sock"), short.join("qemu.monitor")).expect("renamed");
    let hub = Daemon::start(discovery_config(home.path(), &[], vec![layout("incus", &root)]))
        .await
        .expect("starts");
    let mut journal = Watcher::new(&hub);
    let _session = monitor.accept().await;
    let name = &format!("prod_{long}")[..64];
    assert_eq!(journal.take(1).await, [format!("{name} 1.0 attached")]);
    hub.stop().await.expect("stops");
}

/// A monitor that accepts without a greeting is in use by another client; it is attached after its greeting.
#[tokio::test]
async fn monitor_in_use_is_reported_and_attached_when_free() {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().join("qemu");
    let directory = root.join("domain-1-web");
    std::fs::create_dir_all(&directory).expect("made");
    let monitor = Monitor::bind(&directory, "monitor");
    let hub = Daemon::start(discovery_config(home.path(), &[], vec![layout("libvirt", &root)]))
        .await
        .expect("starts");
    let waiting = monitor.accept_raw().await;
    let in_use = until_state(home.path(), "web", "in-use").await;
    assert!(in_use["error"].as_str().expect("advice").contains("--discover libvirt"), "{in_use}");
    drop(waiting);
    let mut journal = Watcher::new(&hub);
    let _session = monitor.accept().await;
    assert_eq!(journal.take(1).await, ["web 1.0 attached"]);
    until_state(home.path(), "web", "attached").await;
    hub.stop().await.expect("stops");
}

/// Replaced rules: a rule that stays keeps its VMs and their epochs.
#[tokio::test]
async fn replaced_rules_keep_vms_of_unchanged_ones() {
    let home = tempfile::tempdir().expect("a directory");
    let (a, b) = (Monitor::bind(home.path(), "a1"), Monitor::bind(home.path(), "b1"));
    let rules = vec![glob(home.path(), "a*.sock"), glob(home.path(), "b*.sock")];
    let hub = Daemon::start(discovery_config(home.path(), &[], rules)).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    let (_a, _b) = (a.accept().await, b.accept().await);
    journal.take(2).await;
    let mut renamed = glob(home.path(), "b*.sock");
    renamed.name = "x-{name}".parse().expect("a template");
    hub.discover(vec![renamed, glob(home.path(), "a*.sock")]).await;
    assert_eq!(journal.take(1).await, ["b1 1.1 detached Removed"]);
    let _again = b.accept().await;
    assert_eq!(journal.take(1).await, ["x-b1 1.0 attached"]);
    until(&hub, &["a1", "x-b1"]).await;
    hub.discover(Vec::new()).await;
    until(&hub, &[]).await;
    // The VMs of the unchanged rule stayed attached until now.
    let mut last = journal.take(2).await;
    last.sort();
    assert_eq!(last, ["a1 1.1 detached Removed", "x-b1 1.1 detached Removed"]);

    // A VM that is removed although its socket exists is found again.
    hub.discover(vec![glob(home.path(), "a*.sock")]).await;
    let _second = a.accept().await;
    assert_eq!(journal.take(1).await, ["a1 2.0 attached"]);
    hub.registry().remove("a1", "by mistake").await.expect("removed");
    let _hint = Monitor::bind(home.path(), "hint");
    let _third = a.accept().await;
    assert_eq!(journal.take(2).await, ["a1 2.1 detached Removed", "a1 3.0 attached"]);
    hub.stop().await.expect("stops");
}

/// A reload with a VM that discovery found takes it over; a reload with other rules removes discovered VMs.
#[tokio::test]
async fn reload_takes_over_a_discovered_vm() {
    let home = tempfile::tempdir().expect("a directory");
    let (a, b) = (Monitor::bind(home.path(), "a"), Monitor::bind(home.path(), "b"));
    let rule = || vec![glob(home.path(), "?.sock")];
    let hub = Daemon::start(discovery_config(home.path(), &[], rule())).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    let (_a, b_session) = (a.accept().await, b.accept().await);
    journal.take(2).await;
    let mut named = discovery_config(home.path(), &["a"], rule());
    named.origins.insert("a".parse().expect("a name"), qmp_hub::VmOrigin::Configuration);
    let done = hub.reload(named.clone()).await;
    assert!(done.refused.is_empty() && !done.discovery, "{done:?}");
    let _again = a.accept().await;
    assert_eq!(journal.take(2).await, ["a 1.1 detached Removed", "a 2.0 attached"]);
    b_session.emit("STOP", "");
    assert_eq!(journal.take(1).await, ["b 1.1 STOP"]);
    let rule = format!("b [[discover]] glob = \"{}/?.sock\"", home.path().display());
    until(&hub, &["b", "a"]).await;
    assert_eq!(names(&hub), [rule, "a configuration".to_owned()]);

    named.discover.clear();
    assert!(hub.reload(named).await.discovery);
    assert_eq!(journal.take(1).await, ["b 1.2 detached Removed"]);
    until(&hub, &["a"]).await;
    hub.stop().await.expect("stops");
}

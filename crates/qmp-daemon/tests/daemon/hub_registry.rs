//! VMs that are added and removed while the hub runs.

use std::path::Path;
use std::time::Duration;

use crate::support::client::{get, get_json};
use crate::support::qmp::RawClient;
use crate::support::{Watcher, config, fill};
use qmp_daemon::Daemon;
use qmp_hub::relay::{RelayConfig, Role};
use qmp_hub::{VmOrigin, VmRegistry, VmRegistryError};
use qmp_journal::{Globs, Query, RecordKind};
use qmp_testing::{Monitor, poll_until};
use serde_json::{Value, json};

async fn add(
    registry: &VmRegistry,
    home: &Path,
    name: &str,
    relay: Option<&str>,
) -> Result<(), VmRegistryError> {
    let address = format!("unix:{}", home.join(format!("{name}.sock")).display());
    let relays = relay.map(|relay| RelayConfig::new(home.join(relay))).into_iter().collect();
    registry
        .add(name.parse().expect("a name"), address.parse().expect("an address"), relays, VmOrigin::Program)
        .await
}

fn names(registry: &VmRegistry) -> Vec<String> {
    registry.list().iter().map(|member| member.name.to_string()).collect()
}

/// The VMs as a client receives them: name, state, origin.
async fn listed(home: &Path) -> Value {
    let (status, vms) = get_json(home, "/v1/vms").await;
    assert_eq!(status, 200);
    vms.as_array().expect("a list").iter().map(|vm| json!([vm["vm"], vm["state"], vm["origin"]])).collect()
}

async fn metrics(home: &Path) -> String {
    use http_body_util::BodyExt as _;
    let bytes =
        get(home, "/metrics").await.into_body().collect().await.expect("a complete response").to_bytes();
    String::from_utf8(bytes.into()).expect("UTF-8")
}

#[tokio::test]
async fn vm_is_added_and_removed_without_effect_on_others() {
    let home = tempfile::tempdir().expect("a directory");
    let (one, two) = (Monitor::bind(home.path(), "vm1"), Monitor::bind(home.path(), "vm2"));
    let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    let first = one.accept().await;
    journal.until("vm1 1.0 attached").await;
    assert_eq!(listed(home.path()).await, json!([["vm1", "attached", "program"]]));

    add(&hub.registry(), home.path(), "vm2", None).await.expect("added");
    let second = two.accept().await;
    assert_eq!(journal.take(1).await, ["vm2 1.0 attached"]);
    let expected = json!([["vm1", "attached", "program"], ["vm2", "attached", "program"]]);
    assert_eq!(listed(home.path()).await, expected);
    second.emit("STOP", "");
    assert_eq!(journal.take(1).await, ["vm2 1.1 STOP"]);
    assert!(metrics(home.path()).await.contains(r#"qmp_events_total{vm="vm2",event="STOP"} 1"#));

    hub.registry().remove("vm2", "no longer configured").await.expect("removed");
    second.left().await;
    assert_eq!(journal.take(1).await, ["vm2 1.2 detached Removed"]);
    assert_eq!(listed(home.path()).await, json!([["vm1", "attached", "program"]]));
    assert!(!metrics(home.path()).await.contains("vm2"), "its counters are removed with it");
    assert_eq!(get(home.path(), "/v1/vms/vm2").await.status(), 404);
    let mut records =
        crate::support::client::get_lines(home.path(), "/v1/records?vm=vm2&kind=detached").await;
    let detached: Value = serde_json::from_str(&records.next().await.expect("a record")).expect("JSON");
    assert_eq!(
        (&detached["reason"], &detached["detail"]),
        (&json!("removed"), &json!("no longer configured"))
    );

    first.emit("RESUME", "");
    assert_eq!(journal.take(1).await, ["vm1 1.1 RESUME"]);
    // The name is free, and its epochs continue.
    add(&hub.registry(), home.path(), "vm2", None).await.expect("added again");
    let _again = two.accept().await;
    assert_eq!(journal.take(1).await, ["vm2 2.0 attached"]);
    hub.stop().await.expect("stops");
    let mut last = journal.take(2).await;
    last.sort();
    assert_eq!(last, ["vm1 1.2 detached HubStopped", "vm2 2.1 detached HubStopped"]);
}

#[tokio::test]
async fn invalid_change_is_refused_and_has_no_effect() {
    let home = tempfile::tempdir().expect("a directory");
    let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
    let registry = hub.registry();
    std::fs::write(home.path().join("file"), "").expect("writes");

    let refused = add(&registry, home.path(), "vm1", None).await.expect_err("a name in use");
    assert_eq!(
        refused.to_string(),
        "a VM called vm1 is here already (program); each VM needs a name of its own"
    );
    let refused = registry.remove("vm2", "").await.expect_err("an unknown VM");
    assert_eq!(refused.to_string(), "there is no VM called vm2");
    assert_eq!(names(&registry), ["vm1"]);

    // The reserved name is free again.
    add(&registry, home.path(), "vm2", Some("r.qmp")).await.expect("added");
    assert_eq!(names(&registry), ["vm1", "vm2"]);
    hub.stop().await.expect("stops");
    let refused = add(&registry, home.path(), "vm4", None).await.expect_err("a stopped hub");
    assert_eq!(refused.to_string(), "the hub stops");
}

/// A relay whose socket is in use is served as soon as possible; the hub, its VM and other relays are not affected.
#[tokio::test]
async fn relay_that_cannot_be_served_is_reported_and_retried() {
    let home = tempfile::tempdir().expect("a directory");
    let (path, file) = (home.path().join("r.qmp"), home.path().join("file"));
    let monitor = Monitor::bind(home.path(), "vm1");
    std::fs::write(&file, "").expect("writes");
    let mut config = config(home.path(), &["vm1"]);
    let relays = [&file, &path].map(RelayConfig::new);
    config.relays.extend(relays.map(|relay| ("vm1".parse().expect("a name"), relay)));
    let hub = Daemon::start(config).await.expect("starts");
    let (registry, mut journal) = (hub.registry(), Watcher::new(&hub));
    let _session = monitor.accept().await;
    journal.until("vm1 1.0 attached").await;
    add(&registry, home.path(), "vm2", Some("r.qmp"))
        .await
        .expect("added, although vm1 has the socket of the relay");

    let error = |index: usize| registry.relays()[index].error.clone().unwrap_or_default().into_string();
    assert!(error(0).ends_with("is not a socket; move it away, or serve at another address"), "{}", error(0));
    assert_eq!(error(1), "");
    assert!(error(2).starts_with("another hub is serving at"), "{}", error(2));
    let health = || async { get_json(home.path(), "/v1/health").await.1.to_string() };
    let report = health().await;
    assert!(report.contains(r#""status":"ok""#) && report.contains("RelayNotServed"), "{report}");
    let (_, greeting) = RawClient::open(&path).await;
    assert!(greeting.contains("QMP"), "{greeting}");

    std::fs::remove_file(&file).expect("removes");
    registry.remove("vm2", "gone").await.expect("removed");
    poll_until("the socket of the relay", async || file.exists().then_some(())).await;
    let (_, greeting) = RawClient::open(&file).await;
    assert!(greeting.contains("QMP"), "{greeting}");
    assert!(!health().await.contains("problems"));
    hub.stop().await.expect("stops");
}

/// A relay that is added later sends every later event, and is removed with its VM.
#[tokio::test]
async fn relay_is_added_and_removed_with_its_vm() {
    let home = tempfile::tempdir().expect("a directory");
    let (one, two) = (Monitor::bind(home.path(), "vm1"), Monitor::bind(home.path(), "vm2"));
    let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
    let registry = hub.registry();
    let mut journal = Watcher::new(&hub);
    let first = one.accept().await;
    journal.until("vm1 1.0 attached").await;
    for round in 1..=3 {
        // Records of an earlier VM of the name must not count for this one.
        add(&registry, home.path(), "vm2", Some("vm2.qmp")).await.expect("added");
        let mut second = two.accept().await;
        journal.until(&format!("vm2 {round}.0 attached")).await;
        let (mut client, _) = RawClient::open(&home.path().join("vm2.qmp")).await;
        first.emit("RESUME", "");
        second.emit("STOP", "");
        assert_eq!(client.value().await["event"], "STOP");
        assert_eq!(client.ask(r#""execute": "query-status""#).await[0]["return"]["status"], "running");
        assert_eq!(registry.relays()[0].accepted, 1);
        assert!(second.commands_so_far().is_empty());

        second.emit("RTC_CHANGE", r#"{"offset": 1}"#);
        journal.until(&format!(r#"vm2 {round}.2 RTC_CHANGE {{"offset": 1}}"#)).await;
        registry.remove("vm2", "gone").await.expect("removed");
        assert_eq!(client.value().await["event"], "RTC_CHANGE", "the last event");
        client.ended().await;
        assert!(!home.path().join("vm2.qmp").exists());
        assert!(registry.relays().is_empty());
        second.left().await;
    }
    hub.stop().await.expect("stops");
}

/// Relays are added, changed and removed while their VM emits events without a pause. The epoch continues, and each client
/// receives every event after its negotiation, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_relays_lose_no_event_while_their_vm_emits() {
    let home = tempfile::tempdir().expect("a directory");
    let (monitor, hub) = (Monitor::bind(home.path(), "vm1"), Daemon::start(config(home.path(), &["vm1"])));
    let hub = hub.await.expect("starts");
    let (registry, mut journal) = (hub.registry(), Watcher::new(&hub));
    let session = monitor.accept().await;
    journal.until("vm1 1.0 attached").await;
    let emitter = tokio::spawn(async move {
        for number in 0.. {
            session.emit("RTC_CHANGE", &format!("{{\"offset\": {number}}}"));
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
    });
    let at = |name: &str| RelayConfig::new(home.path().join(name));
    let operate = RelayConfig { role: Role::Operate { allow: Globs::default() }, ..at("a.qmp") };
    let set = |relays: &[&RelayConfig]| registry.set_relays("vm1", relays.iter().copied().cloned().collect());
    for _round in 0..20 {
        set(&[&at("a.qmp")]).await.expect("the first");
        let first = Reader::open(&home.path().join("a.qmp")).await;
        set(&[&at("a.qmp"), &at("b.qmp")]).await.expect("another");
        let mut second = Reader::open(&home.path().join("b.qmp")).await;
        second.read(20).await;
        set(&[&operate, &at("b.qmp")]).await.expect("one changes");
        first.read_to_the_end().await;
        let mut third = Reader::open(&home.path().join("a.qmp")).await;
        third.read(20).await;
        second.read(20).await;
        assert_eq!(registry.relays().iter().map(|relay| relay.accepted).collect::<Vec<_>>(), [1, 1]);
        set(&[]).await.expect("none is left");
        second.read_to_the_end().await;
        third.read_to_the_end().await;
        assert!(registry.relays().is_empty() && !home.path().join("a.qmp").exists());
    }
    emitter.abort();
    let refused = registry.set_relays("vm2", Vec::new()).await.expect_err("an unknown VM");
    assert!(matches!(refused, VmRegistryError::Unknown { .. }), "{refused}");
    let reader = hub.journal().reader();
    hub.stop().await.expect("stops");
    let epochs = Query { kind: vec![RecordKind::Attached, RecordKind::Detached], ..Query::default() };
    let epochs = reader.last(&epochs, 10).expect("readable").records;
    assert_eq!(epochs.len(), 2, "one epoch, from the first to the last: {epochs:?}");
}

/// A client that reads numbered events, one after the other.
struct Reader {
    raw: RawClient,
    last: Option<i64>,
}

impl Reader {
    async fn open(path: &Path) -> Self {
        let (mut raw, greeting) = RawClient::open(path).await;
        assert!(greeting.contains("QMP"), "{greeting}");
        // A reply is in its place among the events.
        let before = raw.ask(r#""execute": "query-status""#).await;
        let mut reader = Self { raw, last: None };
        before.iter().filter(|value| value.get("event").is_some()).for_each(|event| reader.take(event));
        reader
    }

    async fn read(&mut self, count: usize) {
        for _ in 0..count {
            let event = self.raw.value().await;
            self.take(&event);
        }
    }

    async fn read_to_the_end(mut self) {
        loop {
            let line = self.raw.line().await;
            if line.is_empty() {
                return;
            }
            self.take(&serde_json::from_str(&line).expect("a whole line"));
        }
    }

    fn take(&mut self, event: &Value) {
        let number = event["data"]["offset"].as_i64().expect("a number");
        let follows = self.last.is_none_or(|last| last + 1 == number);
        assert!(follows, "{number} after {:?}", self.last);
        self.last = Some(number);
    }
}

/// A relay that is added while the disk stalls sends its greeting once the earlier records are committed.
#[tokio::test]
async fn new_relay_waits_for_the_commit_of_earlier_records() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
    let (registry, mut journal) = (hub.registry(), Watcher::new(&hub));
    let session = monitor.accept().await;
    journal.until("vm1 1.0 attached").await;
    let lock = rusqlite::Connection::open(home.path().join("journal.db")).expect("opens");
    lock.execute_batch("BEGIN IMMEDIATE").expect("locks");
    session.emit("STOP", "");
    while !metrics(home.path()).await.contains("event=\"STOP\"") {
        tokio::task::yield_now().await;
    }
    registry.set_relays("vm1", vec![RelayConfig::new(home.path().join("r.qmp"))]).await.expect("added");
    let mut client = RawClient::connect(&home.path().join("r.qmp")).await;
    assert!(tokio::time::timeout(Duration::from_millis(50), client.line()).await.is_err(), "not yet");

    lock.execute_batch("ROLLBACK").expect("unlocks");
    assert!(client.line().await.contains("QMP"));
    client.send(r#"{"execute": "qmp_capabilities", "id": "open"}"#).await;
    assert_eq!(client.value().await["id"], "open");
    session.emit("RESUME", "");
    assert_eq!(client.value().await["event"], "RESUME", "STOP came before the greeting");
    hub.stop().await.expect("stops");
}

/// A removal that waits for the disk completes without a caller, keeps its name, and delays no other change.
#[tokio::test]
async fn removal_that_waits_for_the_disk_delays_no_other_change() {
    let home = tempfile::tempdir().expect("a directory");
    let (one, two) = (Monitor::bind(home.path(), "vm1"), Monitor::bind(home.path(), "vm2"));
    let mut config = config(home.path(), &["vm1"]);
    config.journal_options.queue_max_bytes = 4 << 10;
    let hub = Daemon::start(config).await.expect("starts");
    let registry = hub.registry();
    let mut journal = Watcher::new(&hub);
    let _first = one.accept().await;
    journal.until("vm1 1.0 attached").await;

    let lock = rusqlite::Connection::open(home.path().join("journal.db")).expect("opens");
    lock.execute_batch("BEGIN IMMEDIATE").expect("locks");
    fill(&hub);
    let removal = registry.remove("vm1", "gone");
    assert!(
        tokio::time::timeout(Duration::from_millis(50), removal).await.is_err(),
        "no room for the record"
    );
    let refused = add(&registry, home.path(), "vm1", None).await.expect_err("a removal in progress");
    assert!(matches!(refused, VmRegistryError::NameInUse { .. }), "{refused}");
    let refused = registry.remove("vm1", "gone").await.expect_err("a removal in progress");
    assert!(matches!(refused, VmRegistryError::NameInUse { .. }), "{refused}");
    add(&registry, home.path(), "vm2", None).await.expect("added");
    let _second = two.accept().await;

    lock.execute_batch("ROLLBACK").expect("unlocks");
    let records = journal.until("vm1 1.1 detached Removed").await;
    assert!(records.len() > 1, "the records that filled the journal come first");
    while names(&registry) != ["vm2"] {
        tokio::task::yield_now().await;
    }
    hub.stop().await.expect("stops");
}

/// A list that is read while VMs are added and removed is consistent: each name once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_is_consistent_while_vms_are_added_and_removed() {
    let home = tempfile::tempdir().expect("a directory");
    let hub = Daemon::start(config(home.path(), &["a"])).await.expect("starts");
    let registry = hub.registry();
    let path = home.path().to_owned();
    let changes = tokio::spawn(async move {
        for _ in 0..40 {
            for name in ["b", "c"] {
                add(&registry, &path, name, None).await.expect("added");
            }
            for name in ["b", "c"] {
                registry.remove(name, "gone").await.expect("removed");
            }
        }
    });
    while !changes.is_finished() {
        let vms = listed(home.path()).await;
        let names: Vec<&str> =
            vms.as_array().expect("a list").iter().filter_map(|vm| vm[0].as_str()).collect();
        assert!(matches!(names[..], ["a"] | ["a", "b"] | ["a", "b", "c"] | ["a", "c"]), "{names:?}");
        let metrics = metrics(home.path()).await;
        let count = |family: &str| metrics.matches(&format!("\n{family}{{")).count();
        assert_eq!(count("qmp_vm_attached"), count("qmp_epochs_total"), "{metrics}");
    }
    changes.await.expect("no panic");
    hub.stop().await.expect("stops");
}

/// Dropping the hub is a crash: its tasks end although a `VmRegistry` still exists.
#[tokio::test]
async fn fleet_of_a_dropped_hub_refuses_changes() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
    let registry = hub.registry();
    let mut journal = Watcher::new(&hub);
    let session = monitor.accept().await;
    journal.until("vm1 1.0 attached").await;
    drop(hub);
    session.left().await;
    let refused = add(&registry, home.path(), "vm2", None).await.expect_err("a dropped hub");
    assert!(matches!(refused, VmRegistryError::Stopping), "{refused}");
}

//! VMs that come and go while the hub runs.

mod support;

use std::path::Path;
use std::time::Duration;

use qmp_hub::relay::RelayConfig;
use qmp_hub::{Fleet, FleetError, Hub, ListenError, Origin};
use serde_json::{Value, json};
use support::client::{get, get_json};
use support::monitor::Monitor;
use support::qmp::Raw;
use support::{Watcher, config, fill};

async fn add(fleet: &Fleet, home: &Path, name: &str, relay: Option<&str>) -> Result<(), FleetError> {
    let address = format!("unix:{}", home.join(format!("{name}.sock")).display());
    let relays = relay.map(|relay| RelayConfig::new(home.join(relay))).into_iter().collect();
    fleet
        .add(name.parse().expect("a name"), address.parse().expect("an address"), relays, Origin::Program)
        .await
}

fn names(fleet: &Fleet) -> Vec<String> {
    fleet.list().iter().map(|member| member.name.to_string()).collect()
}

/// The VMs as a reader sees them: name, state, origin.
async fn listed(home: &Path) -> Value {
    let (status, vms) = get_json(home, "/v1/vms").await;
    assert_eq!(status, 200);
    vms.as_array().expect("a list").iter().map(|vm| json!([vm["vm"], vm["state"], vm["origin"]])).collect()
}

async fn metrics(home: &Path) -> String {
    use http_body_util::BodyExt as _;
    let bytes = get(home, "/metrics").await.into_body().collect().await.expect("a whole answer").to_bytes();
    String::from_utf8(bytes.into()).expect("UTF-8")
}

#[tokio::test]
async fn a_vm_comes_and_goes_and_others_notice_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let (one, two) = (Monitor::bind(home.path(), "vm1"), Monitor::bind(home.path(), "vm2"));
    let hub = Hub::start(config(home.path(), &["vm1"])).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    let first = one.accept().await;
    journal.until("vm1 1.0 attached").await;
    assert_eq!(listed(home.path()).await, json!([["vm1", "attached", "program"]]));

    add(&hub.fleet(), home.path(), "vm2", None).await.expect("added");
    let second = two.accept().await;
    assert_eq!(journal.take(1).await, ["vm2 1.0 attached"]);
    let expected = json!([["vm1", "attached", "program"], ["vm2", "attached", "program"]]);
    assert_eq!(listed(home.path()).await, expected);
    second.emit("STOP", "");
    assert_eq!(journal.take(1).await, ["vm2 1.1 STOP"]);
    assert!(metrics(home.path()).await.contains(r#"qmp_events_total{vm="vm2",event="STOP"} 1"#));

    hub.fleet().remove("vm2", "it left the configuration").await.expect("removed");
    second.left().await;
    assert_eq!(journal.take(1).await, ["vm2 1.2 detached Removed"]);
    assert_eq!(listed(home.path()).await, json!([["vm1", "attached", "program"]]));
    assert!(!metrics(home.path()).await.contains("vm2"), "its counters went with it");
    assert_eq!(get(home.path(), "/v1/vms/vm2").await.status(), 404);
    let mut records = support::client::get_lines(home.path(), "/v1/records?vm=vm2&kind=detached").await;
    let detached: Value = serde_json::from_str(&records.next().await.expect("a record")).expect("JSON");
    assert_eq!(
        (&detached["reason"], &detached["detail"]),
        (&json!("removed"), &json!("it left the configuration"))
    );

    first.emit("RESUME", "");
    assert_eq!(journal.take(1).await, ["vm1 1.1 RESUME"]);
    // The name is free, and its epochs are counted on.
    add(&hub.fleet(), home.path(), "vm2", None).await.expect("added again");
    let _again = two.accept().await;
    assert_eq!(journal.take(1).await, ["vm2 2.0 attached"]);
    hub.stop().await.expect("stops");
    let mut last = journal.take(2).await;
    last.sort();
    assert_eq!(last, ["vm1 1.2 detached HubStopped", "vm2 2.1 detached HubStopped"]);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let hub = Hub::start(config(home.path(), &["vm1"])).await.expect("starts");
    let fleet = hub.fleet();
    std::fs::write(home.path().join("file"), "").expect("writes");

    let refused = add(&fleet, home.path(), "vm1", None).await.expect_err("its name is taken");
    assert_eq!(
        refused.to_string(),
        "a VM called vm1 is here already (program); each VM needs a name of its own"
    );
    let refused = add(&fleet, home.path(), "vm2", Some("file")).await.expect_err("no place for a socket");
    assert!(matches!(refused, FleetError::Listen(ListenError::NotASocket { .. })), "{refused}");
    let refused = fleet.remove("vm2", "").await.expect_err("it is not there");
    assert_eq!(refused.to_string(), "there is no VM called vm2");
    assert_eq!(names(&fleet), ["vm1"]);

    // What was reserved is free again.
    add(&fleet, home.path(), "vm2", Some("r.qmp")).await.expect("added");
    let refused =
        add(&fleet, home.path(), "vm3", Some("r.qmp")).await.expect_err("the relay of vm2 is there");
    assert!(matches!(refused, FleetError::Listen(ListenError::Taken { .. })), "{refused}");
    assert_eq!(names(&fleet), ["vm1", "vm2"]);
    hub.stop().await.expect("stops");
    let refused = add(&fleet, home.path(), "vm4", None).await.expect_err("the hub is gone");
    assert_eq!(refused.to_string(), "the hub stops");
}

/// The first relay of a hub comes late, sees every event from then on, and goes with its VM.
#[tokio::test]
async fn relays_come_and_go_with_their_vms() {
    let home = tempfile::tempdir().expect("a directory");
    let (one, two) = (Monitor::bind(home.path(), "vm1"), Monitor::bind(home.path(), "vm2"));
    let hub = Hub::start(config(home.path(), &["vm1"])).await.expect("starts");
    let fleet = hub.fleet();
    let mut journal = Watcher::new(&hub);
    let first = one.accept().await;
    journal.until("vm1 1.0 attached").await;
    for round in 1..=3 {
        // An earlier VM of the name has records, which must not count for this one.
        add(&fleet, home.path(), "vm2", Some("vm2.qmp")).await.expect("added");
        let mut second = two.accept().await;
        journal.until(&format!("vm2 {round}.0 attached")).await;
        let (mut client, _) = Raw::open(&home.path().join("vm2.qmp")).await;
        first.emit("RESUME", "");
        second.emit("STOP", "");
        assert_eq!(client.value().await["event"], "STOP");
        assert_eq!(client.ask(r#""execute": "query-status""#).await[0]["return"]["status"], "running");
        assert_eq!(fleet.relays()[0].accepted, 1);
        assert!(second.commands_so_far().is_empty());

        second.emit("RTC_CHANGE", r#"{"offset": 1}"#);
        journal.until(&format!(r#"vm2 {round}.2 RTC_CHANGE {{"offset": 1}}"#)).await;
        fleet.remove("vm2", "gone").await.expect("removed");
        assert_eq!(client.value().await["event"], "RTC_CHANGE", "what was said last");
        client.ended().await;
        assert!(!home.path().join("vm2.qmp").exists());
        assert!(fleet.relays().is_empty());
        second.left().await;
    }
    hub.stop().await.expect("stops");
}

/// A removal that waits for the disk is carried on when nobody waits for it, keeps its name, and holds up nobody.
#[tokio::test]
async fn a_removal_waits_for_the_disk_alone() {
    let home = tempfile::tempdir().expect("a directory");
    let (one, two) = (Monitor::bind(home.path(), "vm1"), Monitor::bind(home.path(), "vm2"));
    let mut config = config(home.path(), &["vm1"]);
    config.journal_options.queue_max_bytes = 4 << 10;
    let hub = Hub::start(config).await.expect("starts");
    let fleet = hub.fleet();
    let mut journal = Watcher::new(&hub);
    let _first = one.accept().await;
    journal.until("vm1 1.0 attached").await;

    let lock = rusqlite::Connection::open(home.path().join("journal.db")).expect("opens");
    lock.execute_batch("BEGIN IMMEDIATE").expect("locks");
    fill(&hub);
    let removal = fleet.remove("vm1", "gone");
    assert!(
        tokio::time::timeout(Duration::from_millis(50), removal).await.is_err(),
        "no room for the record"
    );
    let refused = add(&fleet, home.path(), "vm1", None).await.expect_err("it still leaves");
    assert!(matches!(refused, FleetError::NameInUse { .. }), "{refused}");
    let refused = fleet.remove("vm1", "gone").await.expect_err("it leaves already");
    assert!(matches!(refused, FleetError::NameInUse { .. }), "{refused}");
    add(&fleet, home.path(), "vm2", None).await.expect("added");
    let _second = two.accept().await;

    lock.execute_batch("ROLLBACK").expect("unlocks");
    let records = journal.until("vm1 1.1 detached Removed").await;
    assert!(records.len() > 1, "what filled the journal came first");
    while names(&fleet) != ["vm2"] {
        tokio::task::yield_now().await;
    }
    hub.stop().await.expect("stops");
}

/// Whoever reads the list while VMs come and go gets whole answers, each name once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_whole_fleets() {
    let home = tempfile::tempdir().expect("a directory");
    let hub = Hub::start(config(home.path(), &["a"])).await.expect("starts");
    let fleet = hub.fleet();
    let path = home.path().to_owned();
    let changing = tokio::spawn(async move {
        for _ in 0..40 {
            for name in ["b", "c"] {
                add(&fleet, &path, name, None).await.expect("added");
            }
            for name in ["b", "c"] {
                fleet.remove(name, "gone").await.expect("removed");
            }
        }
    });
    while !changing.is_finished() {
        let vms = listed(home.path()).await;
        let names: Vec<&str> =
            vms.as_array().expect("a list").iter().filter_map(|vm| vm[0].as_str()).collect();
        assert!(matches!(names[..], ["a"] | ["a", "b"] | ["a", "b", "c"] | ["a", "c"]), "{names:?}");
        let metrics = metrics(home.path()).await;
        let count = |family: &str| metrics.matches(&format!("\n{family}{{")).count();
        assert_eq!(count("qmp_vm_attached"), count("qmp_epochs_total"), "{metrics}");
    }
    changing.await.expect("all of it went well");
    hub.stop().await.expect("stops");
}

/// Dropping the hub is a crash: its tasks end although somebody still holds the fleet.
#[tokio::test]
async fn a_fleet_does_not_outlive_its_hub() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Hub::start(config(home.path(), &["vm1"])).await.expect("starts");
    let fleet = hub.fleet();
    let mut journal = Watcher::new(&hub);
    let session = monitor.accept().await;
    journal.until("vm1 1.0 attached").await;
    drop(hub);
    session.left().await;
    let refused = add(&fleet, home.path(), "vm2", None).await.expect_err("nobody follows any more");
    assert!(matches!(refused, FleetError::Stopping), "{refused}");
}

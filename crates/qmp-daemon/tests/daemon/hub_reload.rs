//! A running hub applies another configuration, without effect on unchanged VMs.

use std::path::Path;

use crate::support::client::get_json;
use crate::support::qmp::RawClient;
use crate::support::{Watcher, config, rules};
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_hub::VmOrigin;
use qmp_hub::relay::RelayConfig;
use qmp_journal::{Batch, Draft, Retention};
use qmp_testing::{Monitor, poll_until};
use qmp_wire::Body;
use serde_json::json;

/// A configuration whose VMs come from a file.
fn file_config(home: &Path, vms: &[&str]) -> DaemonConfig {
    let mut config = config(home, vms);
    config.origins = config.attach.iter().map(|(name, _)| (name.clone(), VmOrigin::Configuration)).collect();
    config
}

#[tokio::test]
async fn reload_changes_only_vms_that_differ() {
    let home = tempfile::tempdir().expect("a directory");
    let monitors =
        ["same", "moves", "goes", "comes", "moved", "relayed"].map(|vm| Monitor::bind(home.path(), vm));
    let [same, moves, goes, comes, moved, relayed] = &monitors;
    let hub =
        Daemon::start(file_config(home.path(), &["same", "moves", "goes", "relayed"])).await.expect("starts");
    let mut sessions = Vec::new();
    for monitor in [same, moves, goes, relayed] {
        sessions.push(monitor.accept().await);
    }
    let mut journal = Watcher::new(&hub);
    let mut attached = journal.take(4).await;
    attached.sort();
    assert_eq!(
        attached,
        ["goes 1.0 attached", "moves 1.0 attached", "relayed 1.0 attached", "same 1.0 attached"]
    );

    let nothing = hub.reload(file_config(home.path(), &["same", "moves", "goes", "relayed"])).await;
    assert!(nothing.is_nothing(), "{nothing:?}");

    let mut changed = file_config(home.path(), &["same", "moves", "comes", "relayed"]);
    changed.attach[1].1 =
        format!("unix:{}", home.path().join("moved.sock").display()).parse().expect("an address");
    let relay = home.path().join("relay.qmp");
    changed.relays.push(("relayed".parse().expect("a name"), RelayConfig::new(&relay)));
    changed.journal_options.retention = Retention { max_age: None, max_bytes: Some(1 << 30) };
    changed.findings = !changed.findings;
    let done = hub.reload(changed.clone()).await;
    let names =
        |names: &[qmp_hub::VmName]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(names(&done.added), "comes");
    assert_eq!(names(&done.removed), "goes");
    assert_eq!(names(&done.changed), "moves");
    assert_eq!(names(&done.relayed), "relayed");
    assert!(done.refused.is_empty() && done.retention, "{done:?}");
    assert_eq!(done.unchangeable, ["findings"]);
    assert_eq!(hub.journal().retention(), changed.journal_options.retention);
    assert_eq!(hub.attached().1, 4);

    let _new = [comes.accept().await, moved.accept().await];
    sessions[0].emit("STOP", "");
    let mut seen = journal.until("same 1.1 STOP").await;
    while !["comes 1.0 attached", "moves 2.0 attached"]
        .iter()
        .all(|record| seen.iter().any(|seen| seen == record))
    {
        seen.extend(journal.take(1).await);
    }
    seen.sort();
    let expected = [
        "comes 1.0 attached",
        "goes 1.1 detached Removed",
        "moves 1.1 detached Removed",
        "moves 2.0 attached",
        "same 1.1 STOP",
    ];
    assert_eq!(seen, expected, "the epochs of unchanged VMs continue");
    let (mut client, _) = RawClient::open(&relay).await;
    sessions[3].emit("STOP", "");
    assert_eq!(client.value().await["event"], "STOP");

    assert!(hub.reload(changed).await.unchangeable == ["findings"], "reported each time");
    hub.stop().await.expect("stops");
}

/// A relay whose socket cannot be created does not prevent that its VM and other VMs are followed.
#[tokio::test]
async fn relay_that_cannot_be_served_does_not_affect_the_rest_of_a_reload() {
    let home = tempfile::tempdir().expect("a directory");
    let hub = Daemon::start(file_config(home.path(), &["vm1"])).await.expect("starts");
    std::fs::write(home.path().join("file"), "not a socket").expect("writes");
    let mut changed = file_config(home.path(), &["vm1", "vm2", "vm3"]);
    changed.relays.push(("vm2".parse().expect("a name"), RelayConfig::new(home.path().join("file"))));
    let done = hub.reload(changed).await;
    assert!(done.refused.is_empty(), "{:?}", done.refused);
    let place = home.path().join("file").display().to_string();
    let errors: Vec<_> = hub.relays().into_iter().filter_map(|relay| relay.error).collect();
    assert_eq!(
        errors,
        [format!("{place} is not a socket; move it away, or serve at another address").into()]
    );
    let names: Vec<_> = hub.registry().list().iter().map(|member| member.name.to_string()).collect();
    assert_eq!(names, ["vm1", "vm2", "vm3"]);
    hub.stop().await.expect("stops");
}

/// A hub with a VM without a monitor, with a rule on its state or without.
fn with_rule(home: &Path, has_rule: bool) -> DaemonConfig {
    let mut config = file_config(home, &["vm1"]);
    config.findings = true;
    let rule = format!(
        "[[rule]]\nname = 'held'\nstate = ['paused']\nfile = '{}'",
        home.join("delivered.jsonl").display()
    );
    config.rules = rules(if has_rule { &rule } else { "" });
    config
}

async fn attached(hub: &Daemon, state: &str) {
    let status = json!({"query-status": {"status": state, "running": state == "running"}});
    let mut batch = Batch::new();
    let body = Body::Attached { snapshot: status.to_string().into() };
    batch.push(&Draft { vm: "vm1", received: qmp_host::clock::now(), body });
    hub.journal().appender().append_when_room(&mut batch).await.expect("an open journal");
}

async fn has_alerts(home: &Path, count: usize) {
    poll_until("the alerts", async || {
        let (_, alerts) = get_json(home, "/v1/alerts").await;
        (alerts.as_array().map(Vec::len) == Some(count)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_on_states_that_returns_has_its_alerts_from_before_a_restart() {
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path();
    let hub = Daemon::start(with_rule(home, true)).await.expect("starts");
    attached(&hub, "paused").await;
    has_alerts(home, 1).await;
    let done = hub.reload(with_rule(home, false)).await;
    assert_eq!(done.rules.removed, ["held".into()]);
    hub.stop().await.expect("stops");

    let hub = Daemon::start(with_rule(home, false)).await.expect("starts");
    let done = hub.reload(with_rule(home, true)).await;
    assert_eq!(done.rules.added, ["held".into()]);
    has_alerts(home, 1).await;
    attached(&hub, "running").await;
    has_alerts(home, 0).await;
    hub.stop().await.expect("stops");
    let delivered = std::fs::read_to_string(home.join("delivered.jsonl")).expect("reads");
    let kinds: Vec<&str> =
        ["\"alert\"", "\"resolved\""].into_iter().flat_map(|kind| delivered.matches(kind)).collect();
    assert_eq!(kinds, ["\"alert\"", "\"resolved\""], "{delivered}");
}

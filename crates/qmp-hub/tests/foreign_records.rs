//! Records of VMs of other hosts in the journal of a running hub: states, and nothing of the hub's own.

use std::collections::HashMap;
use std::sync::Arc;

use qmp_hub::{Hub, HubConfig, SilentAfter};
use qmp_journal::{Batch, Draft, ForeignBatch, Journal, JournalOptions, Query, Reader};
use qmp_wire::{Body, Epoch, Offset, Record, Seq, UnixMicros};

/// A VM of another host, and one of this host with the same records.
const VMS: [&str; 2] = ["node1/web1", "web2"];

fn records() -> Vec<Body<'static>> {
    // A process that does not exist: the end of such a VM of this host would be recorded.
    let snapshot = r#"{"address": "unix:/run/vm/web.sock", "process": {"pid": 4194303, "name": "qemu-system-x86"}, "status": {"status": "running", "running": true}}"#;
    let event = |name: &'static str, data: Option<&'static str>| Body::Event {
        name: name.into(),
        sent_name: None,
        timestamp: None,
        data: data.map(Into::into),
    };
    vec![
        Body::Attached { snapshot: snapshot.into() },
        event("GUEST_PANICKED", Some(r#"{"action": "pause"}"#)),
        event("STOP", None),
    ]
}

async fn start(journal: &Journal) -> Hub {
    let config = HubConfig {
        attach: Vec::new(),
        origins: HashMap::new(),
        findings: true,
        relays: Vec::new(),
        silent_after: SilentAfter::Off,
        silent_after_of: HashMap::new(),
        state_rules: Vec::new(),
        open_alerts: Vec::new(),
        silences_changed: Arc::default(),
    };
    Hub::start(config, journal).await.expect("starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vm_of_other_host_has_a_state_and_no_finding_of_this_hub() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    let mut hub = start(&journal).await;
    let (mut foreign, mut own) = (ForeignBatch::new(), Batch::new());
    for (body, seq) in records().into_iter().zip(0..) {
        let (epoch, received) = (Epoch(3), UnixMicros(1_767_225_600_000_000 + seq));
        let seq = Seq(seq.unsigned_abs());
        own.push(&Draft { vm: VMS[1], received, body: body.clone() });
        foreign
            .push(&Record { offset: None, vm: VMS[0].into(), epoch, seq, received, body })
            .expect("in order");
    }
    let appender = journal.appender();
    let ticket = appender.append_foreign(&mut foreign).expect("room");
    appender.committed(ticket).await.expect("commits");
    let ticket = appender.append(&mut own).expect("room");
    let head = appender.committed(ticket).await.expect("commits");
    let names = VMS.map(Into::into).to_vec();
    let states = hub.vm_states().states(names, head).await;
    for (vm, state) in VMS.iter().zip(states) {
        let state = state.unwrap_or_else(|| panic!("{vm} is known"));
        assert_eq!(state.run_state.as_deref(), Some("guest-panicked"), "{vm}");
    }
    assert_eq!(hub.vm_states().addresses(VMS.into_iter()), vec![Some("unix:/run/vm/web.sock".into()); 2]);
    // Stopping records what is concluded.
    hub.stop().await;
    drop(hub);
    journal.close().expect("closes");
    let all = Reader::open(&path).expect("opens").cursor(Query::default(), Offset(0)).next_batch(100);
    let all = all.expect("reads");
    let findings = |vm: &str| {
        let of_vm = all.iter().filter(|record| record.vm == vm);
        of_vm.filter(|record| matches!(record.body, Body::Finding { .. })).count()
    };
    assert_eq!(findings(VMS[0]), 0, "{all:?}");
    assert!(findings(VMS[1]) > 0, "{all:?}");
}

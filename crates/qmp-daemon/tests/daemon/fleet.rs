//! A fleet hub over a real server: the records of two hosts, its lists, and faults in its state.

use std::path::Path;

use crate::support::client::{execute, get_json, get_lines};
use crate::support::{config, rules};
use async_nats::HeaderName;
use qmp_daemon::Daemon;
use qmp_fleet::{CloudEventAttributes, Link, Message};
use qmp_hub::{FleetSourceConfig, FleetStatus};
use qmp_journal::Query;
use qmp_testing::{Monitor, NatsServer, Session, poll_until};
use qmp_wire::{Body, Epoch, Offset, QualifiedName, Record, Seq, UnixMicros};
use tempfile::TempDir;

/// A hub of a host, with one VM whose records it publishes. All hosts of a test have one name.
struct Host {
    home: TempDir,
    hub: Daemon,
    session: Session,
}

impl Host {
    async fn start(server: &NatsServer) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let monitor = Monitor::bind(home.path(), "web1");
        let mut config = config(home.path(), &["web1"]);
        config.rules = rules(&format!("[[rule]]\nname = 'fleet'\nfrom = 'start'\nnats = '{}'", server.url()));
        let hub = Daemon::start(config).await.expect("starts");
        let session = monitor.accept().await;
        Self { home, hub, session }
    }

    fn emit(&self, numbers: std::ops::Range<u32>) {
        numbers.for_each(|number| self.session.emit(&format!("E{number}"), ""));
    }
}

async fn fleet_hub(home: &Path, source: &str) -> Daemon {
    let mut config = config(home, &[]);
    config.from = vec![source.parse::<FleetSourceConfig>().expect("a source")];
    Daemon::start(config).await.expect("starts")
}

/// Waits until the status of the source fulfils `is_reached`.
async fn status(hub: &Daemon, is_reached: impl Fn(&FleetStatus) -> bool) -> FleetStatus {
    poll_until("the status", async || hub.sources().into_iter().find(&is_reached)).await
}

/// The records of VMs of other hosts, or of this host.
fn records(hub: &Daemon, of_other_hosts: bool) -> Vec<Record<'static>> {
    let all = hub.journal().reader().cursor(Query::default(), Offset(0)).next_batch(10_000).expect("reads");
    all.into_iter().filter(|record| QualifiedName::parse(&record.vm).is_some() == of_other_hosts).collect()
}

/// The same without offset and host.
fn shared(records: Vec<Record<'static>>) -> Vec<Record<'static>> {
    let without_host = |record: Record<'static>| {
        let vm = QualifiedName::divide(&record.vm).1.to_owned().into();
        Record { offset: None, vm, ..record }
    };
    records.into_iter().map(without_host).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_hosts_are_journaled_once_and_listed() {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        let server = NatsServer::start(program, &home.path().join("nats"), "");
        let first = Host::start(&server).await;
        let hub = fleet_hub(home.path(), &server.url()).await;
        first.emit(0..20);
        status(&hub, |status| status.records == 21).await;
        // Another journal of a host of the same name is another host here.
        let second = Host::start(&server).await;
        second.emit(0..5);
        let reached = status(&hub, |status| status.records == 27 && status.lag_records == 0).await;
        assert_eq!((reached.state, reached.position, &reached.problem), ("reading", 27, &None));
        assert!(reached.server_version.is_some(), "{reached:?}");

        let all = records(&hub, true);
        let hosts: Vec<&str> =
            [0, 21].map(|at| QualifiedName::parse(&all[at].vm).expect("a host").host).into();
        assert_eq!(hosts[1], format!("{}~2", hosts[0]));
        assert_eq!(shared(all[..21].to_vec()), shared(records(&first.hub, false)));
        assert_eq!(shared(all[21..].to_vec()), shared(records(&second.hub, false)));

        let (_, vms) = get_json(home.path(), "/v1/vms").await;
        assert_eq!(vms.as_array().map(Vec::len), Some(2), "{vms}");
        for (vm, host) in vms.as_array().into_iter().flatten().zip(&hosts) {
            assert_eq!((&vm["host"], &vm["vm"]), (&(*host).into(), &"web1".into()), "{vm}");
            assert_eq!((&vm["state"], &vm["origin"]), (&"attached".into(), &"fleet".into()), "{vm}");
            assert_eq!(vm["run_state"], "running", "{vm}");
            assert!(vm["address"].as_str().is_some_and(|address| address.ends_with("web1.sock")), "{vm}");
        }
        let (_, alone) = get_json(home.path(), &format!("/v1/vms/{}%2Fweb1", hosts[1])).await;
        assert_eq!((&alone["host"], &alone["attached"]), (&hosts[1].into(), &true.into()), "{alone}");
        let (code, several) = get_json(home.path(), "/v1/vms/web1").await;
        assert!(code == 404 && several.to_string().contains("web1 is a VM of 2 hosts"), "{several}");
        let vm = format!("{}%2Fweb1", hosts[0]);
        let (code, refused) = execute(home.path(), &vm, "{\"execute\": \"stop\"}").await;
        assert_eq!((code, &refused["error"]["class"]), (409, &"VmOfOtherHost".into()), "{refused}");
        let mut lines = get_lines(home.path(), "/metrics").await;
        let mut metrics = Vec::new();
        while let Some(line) = lines.next().await {
            metrics.push(line);
        }
        for line in [
            format!("qmp_vm_run_state{{host=\"{}\",vm=\"web1\",state=\"running\"}} 1", hosts[0]),
            format!("qmp_vm_attached{{host=\"{}\",vm=\"web1\"}} 1", hosts[1]),
            format!("qmp_fleet_records_total{{source=\"{}/qmp\"}} 27", server.url()),
        ] {
            assert!(metrics.contains(&line), "{line} in {metrics:#?}");
        }
        hub.stop().await.expect("stops");

        // Everything was confirmed, and a hub that starts again continues.
        first.emit(20..30);
        let hub = fleet_hub(home.path(), &server.url()).await;
        status(&hub, |status| status.records == 10).await;
        assert_eq!(shared(records(&hub, true)).len(), 37);
        hub.stop().await.expect("stops");
        for host in [first, second] {
            host.hub.stop().await.expect("stops");
            drop(host.home);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_of_the_server_is_in_the_state_until_it_is_over() {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        let users = "authorization { users: [{ user: me, password: right }] }";
        let mut server = NatsServer::start(program, &home.path().join("nats"), users);
        let login = |login: &str| server.url().replace("nats://", &format!("nats://{login}@"));
        let (wrong, right) = (login("me:wrong"), login("me:right"));
        let failing = |part: &'static str| {
            move |status: &FleetStatus| {
                let problem = status.problem.as_deref().unwrap_or_default();
                status.state == "failing" && problem.contains(part)
            }
        };

        let hub = fleet_hub(home.path(), &wrong).await;
        status(&hub, failing("refuses the credentials")).await;
        let (_, health) = get_json(home.path(), "/v1/health").await;
        assert_eq!(health["problems"][0]["class"], "FleetSource", "{health}");
        let shown = health.to_string();
        assert!(shown.contains("credentials-file") && !shown.contains("wrong"), "{shown}");
        let (_, info) = get_json(home.path(), "/v1/hub").await;
        assert_eq!(info["from"][0]["state"], "failing", "{info}");
        hub.stop().await.expect("stops");

        let hub = fleet_hub(home.path(), &right).await;
        let missing = status(&hub, failing("the rule of a host creates the stream")).await;
        assert!(missing.server_version.is_some(), "{missing:?}");
        server.kill();
        status(&hub, |status| status.server_version.is_none()).await;
        server.configure("");
        server.restart();
        let host = Host::start(&server).await;
        status(&hub, |status| status.state == "reading" && status.records == 1).await;
        let (_, health) = get_json(home.path(), "/v1/health").await;
        assert_eq!(health["problems"], serde_json::Value::Null, "{health}");
        hub.stop().await.expect("stops");
        host.hub.stop().await.expect("stops");
    }
}

/// Publishes an event with these numbers, as the rule of the host `name` does.
async fn publish(server: &NatsServer, name: &str, (previous, offset): (u64, u64), seq: u64, is_of_all: bool) {
    let body = Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: None };
    let record = Record {
        offset: Some(Offset(offset)),
        vm: "web1".into(),
        epoch: Epoch(1),
        seq: Seq(seq),
        received: UnixMicros(0),
        body,
    };
    let attributes =
        CloudEventAttributes { id: format!("{name}{offset}"), source: "/".into(), ty: "STOP".into() };
    let link = Link { previous: Offset(previous), offset: Offset(offset) };
    let message = Message::new(&record, name, &format!("{name}5f"), link, &attributes);
    let Message { subject, headers, payload } = if is_of_all { message.of_all() } else { message };
    let headers = headers.into_iter().map(|(name, value)| (HeaderName::from_static(name), value.into()));
    let client = async_nats::connect(server.url()).await.expect("connects");
    let context = async_nats::jetstream::new(client);
    let stream = async_nats::jetstream::stream::Config {
        name: "qmp".into(),
        subjects: vec![qmp_fleet::RECORD_SUBJECTS.into()],
        ..Default::default()
    };
    context.get_or_create_stream(stream).await.expect("a stream");
    let sent =
        context.publish_with_headers(subject, headers.collect(), payload.into()).await.expect("publishes");
    sent.await.expect("an acknowledgement");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_a_host_removed_before_it_published_them_are_lost() {
    let home = tempfile::tempdir().expect("a directory");
    let program = NatsServer::programs().first().expect("Debian's nats-server");
    let server = NatsServer::start(program, &home.path().join("nats"), "");
    for (offsets, seq) in [((0, 1), 0), ((1, 2), 1), ((2, 9), 8), ((9, 10), 9)] {
        publish(&server, "node1", offsets, seq, true).await;
        // A rule that selects some records leaves out others on purpose.
        publish(&server, "node2", offsets, seq, false).await;
    }
    let hub = fleet_hub(home.path(), &server.url()).await;
    let reached = status(&hub, |status| status.records == 8).await;
    assert_eq!((reached.lost, reached.holes), (1, 0), "{reached:?}");
    assert!(reached.problem.as_deref().is_some_and(|problem| problem.contains("are lost")), "{reached:?}");
    publish(&server, "node1", (10, 20), 15, true).await;
    status(&hub, |status| status.lost == 2).await;
    hub.stop().await.expect("stops");
}

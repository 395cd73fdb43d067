//! The sink `nats` over a real server: the chain of offsets, and faults in the state of the rule.

use std::path::Path;

use crate::support::client::get_json;
use crate::support::{config, rules};
use async_nats::jetstream;
use qmp_daemon::Daemon;
use qmp_fleet::{Link, ServerConfig, StreamReader, StreamStart};
use qmp_sinks::{SinkState, SinkStatus};
use qmp_testing::{Monitor, NatsServer, Session, poll_until};

/// A hub with one VM and a rule for the events `E…`, with further lines.
async fn start(home: &Path, monitor: &Monitor, server: &NatsServer, more: &str) -> (Daemon, Session) {
    let mut config = config(home, &["vm1"]);
    let url = server.url();
    config.rules = rules(&format!("[[rule]]\nname = 'fleet'\nevent = 'E*'\nnats = '{url}'\n{more}"));
    let hub = Daemon::start(config).await.expect("starts");
    (hub, monitor.accept().await)
}

fn emit(session: &Session, numbers: std::ops::Range<u32>) {
    for number in numbers {
        session.emit("OTHER", "");
        session.emit(&format!("E{number}"), "");
    }
}

/// Waits until the status of the rule fulfils `is_reached`.
async fn status(hub: &Daemon, is_reached: impl Fn(&SinkStatus) -> bool) -> SinkStatus {
    poll_until("the status", async || hub.sinks().into_iter().find(&is_reached)).await
}

/// The links of the messages in the stream, which are `count` at least.
async fn links(server: &NatsServer, count: usize) -> Vec<Link> {
    let config = ServerConfig {
        addresses: vec![server.url().parse().expect("an address")],
        credentials_file: None,
        ca_file: None,
        certificate: None,
        name: "test".into(),
    };
    let (mut reader, mut links) =
        (StreamReader::new(config, "qmp", Vec::new(), StreamStart::After(0)), Vec::new());
    loop {
        let message = reader.next().await.expect("a message");
        let received = message.decode().expect("a record");
        assert!(received.record.vm.ends_with("/vm1"), "{}", received.record.vm);
        links.push(received.link);
        if links.len() >= count && message.pending == 0 {
            return links;
        }
    }
}

/// Each message follows the one before it in its chain.
fn assert_chained(links: &[Link]) {
    let mut previous = qmp_wire::Offset(0);
    for link in links {
        assert_eq!(link.previous, previous, "{links:?}");
        previous = link.offset;
    }
}

async fn js(server: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.expect("connects"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_hub_continues_the_chain() {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        let server = NatsServer::start(program, &home.path().join("nats"), "");
        let monitor = Monitor::bind(home.path(), "vm1");
        for round in 0..3 {
            let (hub, session) = start(home.path(), &monitor, &server, "").await;
            emit(&session, round * 10..round * 10 + 10);
            status(&hub, |status| status.delivered == 10).await;
            hub.stop().await.expect("stops");
        }
        let links = links(&server, 30).await;
        assert_eq!(links.len(), 30);
        assert_chained(&links);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_stream_gets_the_records_of_the_journal_again() {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        let server = NatsServer::start(program, &home.path().join("nats"), "");
        let monitor = Monitor::bind(home.path(), "vm1");
        let (hub, session) = start(home.path(), &monitor, &server, "").await;
        emit(&session, 0..10);
        status(&hub, |status| status.delivered == 10).await;
        js(&server).await.delete_stream("qmp").await.expect("deletes");
        emit(&session, 10..12);
        status(&hub, |status| status.delivered >= 22 && status.state == SinkState::Delivering).await;
        let links = links(&server, 12).await;
        assert_eq!(links.len(), 12);
        assert_chained(&links);
        hub.stop().await.expect("stops");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_of_the_server_is_in_the_status_until_it_is_over() {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        let mut server = NatsServer::start(program, &home.path().join("nats"), "");
        server.kill();
        let monitor = Monitor::bind(home.path(), "vm1");
        let more = format!("replicas = 1\nstream-max-age = '1h'\nmonitoring = '{}'", server.monitoring_url());
        let (hub, session) = start(home.path(), &monitor, &server, &more).await;
        emit(&session, 0..3);
        let error = |part: &'static str| {
            move |status: &SinkStatus| {
                let error = status.last_error.as_deref().unwrap_or_default();
                status.state == SinkState::Retrying && error.contains(part)
            }
        };
        status(&hub, error("cannot connect")).await;
        server.restart();
        let stream = |subject: &str| jetstream::stream::Config {
            name: "qmp".into(),
            subjects: vec![subject.into()],
            ..Default::default()
        };
        let context = js(&server).await;
        // The rule may have created its stream already.
        let _ = context.delete_stream("qmp").await;
        if context.create_stream(stream("other.>")).await.is_ok() {
            status(&hub, error("the stream qmp takes other.>")).await;
            context.update_stream(stream("qmp.>")).await.expect("updates");
            let problem = |status: &SinkStatus| {
                let problem = status.problem.as_deref().unwrap_or_default();
                status.delivered == 3 && problem.contains("max_age is 0, not 3600000000000")
            };
            status(&hub, problem).await;
            let (_, sinks) = get_json(home.path(), "/v1/sinks").await;
            let problem = sinks[0]["problem"].as_str().expect("a problem");
            assert!(problem.contains("change the rule, or the stream"), "{problem}");
        }
        hub.stop().await.expect("stops");
    }
}

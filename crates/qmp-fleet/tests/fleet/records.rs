//! Records and messages of the tests.

use std::path::Path;
use std::time::Duration;

use qmp_fleet::{
    CloudEventAttributes, Link, Message, PublishConfig, PublishDriver, PublisherState, ServerConfig,
    StreamReader, StreamRequest, StreamStart,
};
use qmp_testing::NatsServer;
use qmp_wire::{Body, Epoch, Offset, Record, Seq, UnixMicros};

pub(crate) const HOST: &str = "node1";
pub(crate) const JOURNAL: &str = "5f5f";

/// The servers at these addresses.
pub(crate) fn servers(urls: &[String]) -> ServerConfig {
    ServerConfig {
        addresses: urls.iter().map(|url| url.parse().expect("an address")).collect(),
        credentials_file: None,
        ca_file: None,
        certificate: None,
        name: "test".into(),
    }
}

pub(crate) fn config(server: ServerConfig) -> PublishConfig {
    let stream = StreamRequest { name: "qmp".into(), ..StreamRequest::default() };
    let check_every = Duration::from_millis(200);
    let sign_every = Duration::from_millis(100);
    PublishConfig {
        server,
        stream,
        host: HOST.into(),
        journal: JOURNAL.into(),
        window: 256,
        check_every,
        sign_every,
    }
}

pub(crate) fn driver(server: &NatsServer) -> PublishDriver {
    PublishDriver::new(config(servers(&[server.url()])), PublisherState::default())
}

/// The record at an offset: an event of one of two VMs.
pub(crate) fn record(offset: Offset) -> Record<'static> {
    let vm = if offset.0.is_multiple_of(2) { "web1" } else { "web.2" };
    let body = Body::Event {
        name: "STOP".into(),
        sent_name: None,
        timestamp: None,
        data: Some(r#"{"a": 1}"#.into()),
    };
    let seq = Seq(offset.0);
    Record { offset: Some(offset), vm: vm.into(), epoch: Epoch(1), seq, received: UnixMicros(0), body }
}

pub(crate) fn message(offset: Offset, link: Link) -> Message {
    let record = record(offset);
    let id = format!("{JOURNAL}:{}:1:{}", record.vm, offset.0);
    let attributes =
        CloudEventAttributes { id, source: "/host/node1".into(), ty: "org.qemu.qmp.STOP".into() };
    Message::new(&record, HOST, JOURNAL, link, &attributes)
}

/// Publishes the records at `offsets`, and retries without end.
pub(crate) async fn publish_all(driver: &mut PublishDriver, offsets: &[Offset]) {
    use qmp_fleet::PublishFailure;
    let mut next = 0;
    while next < offsets.len() {
        let rest = &offsets[next..];
        let rest = &rest[..rest.len().min(1_000)];
        let outcome = driver.publish(rest, &|index, link| message(rest[index], link)).await;
        next += outcome.published;
        match outcome.failure {
            Some(PublishFailure::Repeat(after, _)) => {
                next = offsets.iter().position(|offset| *offset > after).unwrap_or(offsets.len());
            }
            Some(PublishFailure::Fleet(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            None => {}
        }
    }
}

/// The offsets and links of the messages in the stream of `server`, in the order of the stream.
pub(crate) async fn links(server: &NatsServer, count: usize) -> Vec<Link> {
    let mut reader = StreamReader::new(servers(&[server.url()]), "qmp", Vec::new(), StreamStart::After(0));
    let mut links = Vec::new();
    loop {
        let message = tokio::time::timeout(qmp_testing::PATIENCE, reader.next()).await;
        let message = message.unwrap_or_else(|_| panic!("{} of {count} messages", links.len()));
        let Ok(message) = message else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let received = message.decode().expect("a message of this test");
        let expected = record(received.link.offset);
        assert_eq!(received.record.vm, format!("{HOST}/{}", expected.vm));
        assert_eq!(received.record.body, expected.body);
        links.push(received.link);
        if message.pending == 0 && links.len() >= count {
            return links;
        }
    }
}

/// Runs a test with each release of the server.
pub(crate) async fn with_each_server(config: &str, test: impl AsyncFn(NatsServer, &Path)) {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        let server = NatsServer::start(program, &home.path().join("nats"), config);
        eprintln!("with {}", program.display());
        test(server, home.path()).await;
    }
}

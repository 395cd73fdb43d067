//! The configurations of servers in docs/fleet.md, with real servers.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, External, Source};
use qmp_fleet::{
    Confirmation, Message, PublishConfig, PublishDriver, PublishFailure, PublisherState, StreamReader,
    StreamRequest, StreamStart,
};
use qmp_testing::{NatsServer, PATIENCE};
use qmp_wire::Offset;
use tokio::time::timeout;

use crate::records::{HOST, JOURNAL, config, message, publish_all, servers, with_each_server};

const MANUAL: &str = include_str!("../../../../docs/fleet.md");

/// The code blocks of a section.
fn blocks(section: &str) -> Vec<&'static str> {
    let text = MANUAL.split(&format!("\n## {section}\n")).nth(1).expect("the section");
    let text = text.split("\n## ").next().unwrap_or_default();
    text.split("\n```").skip(1).step_by(2).map(|block| block.split_once('\n').expect("a line").1).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permissions_of_the_manual_are_enough_and_not_more() {
    let users = blocks("Permissions")[0].replacen("users: [", "users: [ { user: admin, password: admin }", 1);
    with_each_server(&users, async |server, _| {
        let url = |login: &str| server.url().replace("nats://", &format!("nats://{login}@"));
        let publisher = |login: &str| config(servers(&[url(login)]));
        let mut admin = PublishDriver::new(publisher("admin:admin"), PublisherState::default());
        publish_all(&mut admin, &[Offset(1)]).await;
        let mut reader =
            StreamReader::new(servers(&[url("fleet:read")]), "qmp", Vec::new(), StreamStart::After(0));
        reader.create_confirmation_stream().await.expect("creates");
        assert_eq!(reader.next().await.expect("a message").sequence, 1);
        let confirmation = Confirmation { journal: JOURNAL.into(), offset: Offset(1), again: false };
        reader.confirm(HOST, &confirmation).await.expect("confirms");

        let mut host = PublishDriver::new(publisher("node1:publish-1"), PublisherState::default());
        publish_all(&mut host, &[Offset(2)]).await;
        assert_eq!((host.health().problems.len(), host.state().confirmed), (0, Some(1)));
        let as_other = PublishConfig { host: "node2".into(), ..publisher("node1:publish-1") };
        let mut as_other = PublishDriver::new(as_other, PublisherState::default());
        let of_other = |_: usize, link| {
            let message = message(Offset(1), link);
            Message { subject: message.subject.replace(HOST, "node2"), ..message }
        };
        let outcome = as_other.publish(&[Offset(1)], &of_other).await;
        assert!(matches!(outcome.failure, Some(PublishFailure::Fleet(_))), "{outcome:?}");
    })
    .await;
}

/// The servers of the centre and of two sites; `change` is applied to the configuration of a site.
struct Sites {
    centre: NatsServer,
    sites: [NatsServer; 2],
}

impl Sites {
    fn start(program: &Path, home: &Path, change: impl Fn(&str) -> String) -> Self {
        let blocks = blocks("Sites with leaf nodes");
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let start = |name: &str, text: &str| {
            let home = home.join(name);
            let store = home.join("store").display().to_string();
            let text = text.replace("listen: \"0.0.0.0:4222\"", "").replace("/var/lib/nats", &store);
            let text = text.replace("0.0.0.0:7422", &format!("127.0.0.1:{port}"));
            let text = text.replace("nats.example.org:7422", &format!("127.0.0.1:{port}"));
            NatsServer::start(program, &home, &text)
        };
        let centre = start("hub", blocks[0]);
        let site = |name: &str| start(name, &change(&blocks[1].replace("site-a", name)));
        Self { centre, sites: [site("site-a"), site("site-b")] }
    }

    /// A publisher of a host of the site with this index.
    fn publisher(&self, site: usize) -> PublishDriver {
        let stream =
            StreamRequest { name: ["qmp-site-a", "qmp-site-b"][site].into(), ..StreamRequest::default() };
        let server = servers(&[self.sites[site].url()]);
        PublishDriver::new(PublishConfig { stream, ..config(server) }, PublisherState::default())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn centre_reads_the_stream_of_a_site_and_its_hosts_are_confirmed() {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        let sites = Sites::start(program, home.path(), str::to_owned);
        let mut hosts = [sites.publisher(0), sites.publisher(1)];
        let offsets = [1, 2, 3].map(Offset);
        for host in &mut hosts {
            publish_all(host, &offsets).await;
        }
        let centre = async_nats::connect(sites.centre.url()).await.expect("connects");
        let external = External { api_prefix: "$JS.site-a.API".into(), delivery_prefix: None };
        let source = Source { name: "qmp-site-a".into(), external: Some(external), ..Source::default() };
        let stream = Config { name: "qmp-site-a".into(), sources: Some(vec![source]), ..Config::default() };
        async_nats::jetstream::new(centre).create_stream(stream).await.expect("creates");
        let mut reader = StreamReader::new(
            servers(&[sites.centre.url()]),
            "qmp-site-a",
            Vec::new(),
            StreamStart::After(0),
        );
        for expected in offsets {
            let read = timeout(PATIENCE, reader.next()).await.expect("a message").expect("a message");
            assert_eq!(read.decode().expect("a record").link.offset, expected, "those of one site alone");
        }
        reader.create_confirmation_stream().await.expect("creates");
        let confirmation = Confirmation { journal: JOURNAL.into(), offset: Offset(3), again: false };
        reader.confirm(HOST, &confirmation).await.expect("confirms");
        let [host, _] = &mut hosts;
        while host.state().confirmed != Some(3) {
            // A confirmation is no event: the driver goes on waiting after it.
            let _ = timeout(Duration::from_millis(50), host.wait()).await;
        }
        assert_eq!(host.health().problems, []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_of_another_site_that_takes_the_records_is_a_problem() {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        let without = |text: &str| {
            let is_kept = |line: &&str| !line.contains("deny_");
            text.lines().filter(is_kept).collect::<Vec<_>>().join("\n")
        };
        let sites = Sites::start(program, home.path(), without);
        publish_all(&mut sites.publisher(1), &[Offset(1)]).await;
        let mut host = sites.publisher(0);
        let mut next = 1;
        while host.health().problems.is_empty() {
            publish_all(&mut host, &[Offset(next)]).await;
            next += 1;
            let _ = timeout(Duration::from_millis(50), host.wait()).await;
        }
        let problem = host.health().problems[0].clone();
        assert!(
            problem.starts_with("the stream qmp-site-b of the domain site-b takes the records"),
            "{problem}"
        );
    }
}

//! Faults of a server that an operator has to correct, each with what to do.

use qmp_fleet::{
    FleetError, PublishDriver, PublishFailure, PublisherState, StreamReader, StreamRequest, StreamStart,
};
use qmp_testing::NatsServer;
use qmp_wire::Offset;

use crate::records::{config, driver, links, message, publish_all, servers, with_each_server};

/// The failure of publishing the record 1.
async fn failure(driver: &mut PublishDriver) -> String {
    let offsets = [Offset(1)];
    let outcome = driver.publish(&offsets, &|index, link| message(offsets[index], link)).await;
    match outcome.failure {
        Some(PublishFailure::Fleet(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn assert_contains(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part} in {error}");
    }
}

async fn js(server: &NatsServer) -> async_nats::jetstream::Context {
    async_nats::jetstream::new(async_nats::connect(server.url()).await.expect("connects"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_server_is_reported() {
    let mut driver =
        PublishDriver::new(config(servers(&["nats://127.0.0.1:1".into()])), PublisherState::default());
    assert_contains(&failure(&mut driver).await, &["cannot connect", "refused"]);
    assert!(!driver.health().is_connected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_checked() {
    let users = "authorization { users: [{ user: me, password: \"s@crt\" }] }";
    with_each_server(users, async |server, home| {
        let url = |login: &str| server.url().replace("nats://", &format!("nats://{login}"));
        for login in ["", "me:other@", "token@"] {
            let mut driver = PublishDriver::new(config(servers(&[url(login)])), PublisherState::default());
            let error = failure(&mut driver).await;
            assert_contains(&error, &["refuses the credentials", "credentials-file"]);
        }
        let mut right = PublishDriver::new(config(servers(&[url("me:s%40crt@")])), PublisherState::default());
        publish_all(&mut right, &[Offset(1)]).await;
        assert!(right.health().is_connected && right.health().server_version.is_some());
        let mut missing = config(servers(&[server.url()]));
        missing.server.credentials_file = Some(home.join("none.creds"));
        let mut missing = PublishDriver::new(missing, PublisherState::default());
        assert_contains(&failure(&mut missing).await, &["cannot read the credentials in", "none.creds"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_permission_is_named() {
    let users = "authorization { users: [\n\
        { user: admin, password: admin }\n\
        { user: host, password: host, permissions: {\n\
            publish: [\"$JS.API.STREAM.INFO.qmp\", \"$JS.API.STREAM.INFO.qmp-confirmed\"]\n\
            subscribe: [\"_INBOX.>\", \"qmp.v1._confirmed.qmp.node1\"] } }\n\
        { user: publisher, password: publisher, permissions: {\n\
            publish: [\"qmp.v1.node1.>\", \"$JS.API.STREAM.INFO.qmp\"]\n\
            subscribe: [\"_INBOX.>\", \"qmp.v1._confirmed.qmp.node1\"] } }\n\
    ] }";
    with_each_server(users, async |server, _| {
        let user = |name: &str| {
            let url = server.url().replace("nats://", &format!("nats://{name}:{name}@"));
            PublishDriver::new(config(servers(&[url])), PublisherState::default())
        };
        publish_all(&mut user("admin"), &[Offset(1)]).await;
        let error = failure(&mut user("host")).await;
        assert_contains(&error, &["Permissions Violation for Publish to", "qmp.v1.node1", "grant it"]);
        let mut publisher = user("publisher");
        let offsets = [Offset(1)];
        let outcome = publisher.publish(&offsets, &|index, link| message(offsets[index], link)).await;
        assert!(outcome.published == 1 && outcome.failure.is_none(), "{outcome:?}");
        let problems = publisher.health().problems.join("; ");
        let violation = "Permissions Violation for Publish to \"$JS.API.STREAM.INFO.qmp-confirmed\"";
        assert_contains(&problems, &["the last confirmation cannot be read: ", violation, "grant it"]);
        // The stream was compared again meanwhile.
        tokio::time::sleep(2 * config(servers(&[server.url()])).check_every).await;
        publish_all(&mut publisher, &[Offset(2)]).await;
        assert_eq!(publisher.health().problems.join("; "), problems);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_with_other_subjects_is_not_used() {
    with_each_server("", async |server, _| {
        let stream = async_nats::jetstream::stream::Config {
            name: "qmp".into(),
            subjects: vec!["other.>".into()],
            ..Default::default()
        };
        js(&server).await.create_stream(stream).await.expect("creates");
        let error = failure(&mut driver(&server)).await;
        assert_contains(&error, &["the stream qmp takes other.>", "qmp.v1.node1.*.*.*", "add it"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_without_jetstream_is_reported() {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        // The word alone keeps the helper from adding the block.
        let server = NatsServer::start(program, home.path(), "# no jetstream");
        assert_contains(&failure(&mut driver(&server)).await, &["no JetStream", "jetstream {}"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn differing_options_are_a_problem_and_messages_are_published() {
    with_each_server("", async |server, _| {
        let stream = async_nats::jetstream::stream::Config {
            name: "qmp".into(),
            subjects: vec!["qmp.>".into()],
            max_bytes: 1 << 20,
            ..Default::default()
        };
        js(&server).await.create_stream(stream).await.expect("creates");
        let mut config = config(servers(&[server.url()]));
        config.stream = StreamRequest { max_bytes: Some(2 << 20), ..config.stream };
        let mut driver = PublishDriver::new(config, PublisherState::default());
        publish_all(&mut driver, &[Offset(1)]).await;
        let problems = driver.health().problems.join("; ");
        assert_contains(&problems, &["max_bytes is 1048576, not 2097152", "discard is \"old\", not \"new\""]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_stream_and_full_disk_refuse_and_nothing_is_lost() {
    with_each_server("", async |mut server, _| {
        let offsets: Vec<Offset> = (1..=5_000).map(Offset).collect();
        let mut limited = config(servers(&[server.url()]));
        limited.stream = StreamRequest { max_bytes: Some(1 << 20), ..limited.stream };
        let mut driver = PublishDriver::new(limited, PublisherState::default());
        let outcome = driver.publish(&offsets, &|index, link| message(offsets[index], link)).await;
        let Some(PublishFailure::Fleet(error)) = outcome.failure else { panic!("{outcome:?}") };
        assert_contains(&error.to_string(), &["raise `max_bytes`", "wait in the journal"]);
        assert!(outcome.published > 0);
        let mut stream = js(&server).await.get_stream("qmp").await.expect("a stream");
        let mut config = stream.info().await.expect("info").config.clone();
        config.max_bytes = -1;
        js(&server).await.update_stream(config).await.expect("updates");
        publish_all(&mut driver, &offsets[outcome.published..]).await;
        let found: Vec<u64> = links(&server, offsets.len()).await.iter().map(|link| link.offset.0).collect();
        let distinct: std::collections::BTreeSet<u64> = found.iter().copied().collect();
        assert_eq!(distinct.len(), offsets.len());

        server.kill();
        server.configure(&format!("jetstream {{ store_dir: {:?}, max_file_store: 1MB }}", server.store()));
        server.restart();
        let more = [Offset(6_000)];
        let outcome = driver.publish(&more, &|index, link| message(more[index], link)).await;
        eprintln!("{outcome:?}");
        assert!(outcome.failure.is_some() && outcome.published == 0, "{outcome:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_message_is_refused_after_those_before_it() {
    with_each_server("max_payload: 2KB", async |server, _| {
        let mut driver = driver(&server);
        let offsets = [1, 2, 3].map(Offset);
        let write = |index: usize, link| {
            let mut message = message(offsets[index], link);
            if index == 2 {
                message.payload.resize(4_096, b' ');
            }
            message
        };
        let outcome = driver.publish(&offsets, &write).await;
        assert_eq!(outcome.published, 2);
        let Some(PublishFailure::Fleet(error @ FleetError::TooLarge { .. })) = outcome.failure else {
            panic!("{outcome:?}")
        };
        assert!(error.is_of_message() && error.to_string().contains("max_payload"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ignored_filter_is_noticed() {
    with_each_server("", async |server, _| {
        let mut driver = driver(&server);
        publish_all(&mut driver, &[1, 2, 3].map(Offset)).await;
        let is_old =
            driver.health().server_version.as_deref().is_some_and(|version| version.starts_with("2.9."));
        let filters = vec!["qmp.v1.*.web1.*.*".into(), "qmp.v1.*.web%2E2.*.*".into()];
        let mut reader = StreamReader::new(servers(&[server.url()]), "qmp", filters, StreamStart::After(0));
        match reader.next().await {
            Err(error @ FleetError::Filter { .. }) if is_old => {
                assert_contains(&error.to_string(), &["older than 2.10"]);
            }
            Ok(message) if !is_old => assert_eq!(message.sequence, 1),
            other => panic!("{other:?}"),
        }
    })
    .await;
}

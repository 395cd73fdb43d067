//! Real servers that are killed, restarted, and lose messages.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use async_nats::jetstream;
use qmp_fleet::{Confirmation, Link, PublishEvent, RepeatCause, StreamReader, StreamStart};
use qmp_testing::{NatsServer, poll_until};
use qmp_wire::Offset;

use crate::records::{HOST, JOURNAL, driver, links, message, publish_all, servers, with_each_server};

/// Some offsets of a journal, of which the rule selects two of three.
fn offsets(count: u64) -> Vec<Offset> {
    (1..=count).filter(|offset| offset % 3 != 0).map(Offset).collect()
}

/// Each record in the stream is of the journal, has the link of its place in the journal, and each is there.
fn assert_whole(links: &[Link], offsets: &[Offset]) {
    let found: BTreeSet<Offset> = links.iter().map(|link| link.offset).collect();
    let expected: BTreeSet<Offset> = offsets.iter().copied().collect();
    assert_eq!(found, expected);
    for link in links {
        let before = offsets.iter().rev().find(|offset| **offset < link.offset);
        assert_eq!(link.previous, before.copied().unwrap_or_default(), "{link:?}");
    }
}

/// Waits until the stream has so many messages.
async fn messages_in_stream(server: &NatsServer, count: u64) {
    let client = async_nats::connect(server.url()).await.expect("connects");
    let context = jetstream::new(client);
    poll_until("messages", async || {
        let stream = context.get_stream("qmp").await.ok()?;
        (stream.cached_info().state.messages >= count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_has_each_record_once_after_kills_of_the_server() {
    with_each_server("", async |mut server, _| {
        let offsets = offsets(30_000);
        let mut driver = driver(&server);
        let publishing = offsets.clone();
        let mut publisher = tokio::spawn(async move {
            publish_all(&mut driver, &publishing).await;
            driver
        });
        // Each kill hits a server that has more messages than at the kill before.
        for kill in 1..=5_u64 {
            tokio::select! {
                () = messages_in_stream(&server, kill * 2_000) => {}
                _ = &mut publisher => panic!("all was published before the kill"),
            }
            server.kill();
            server.restart();
        }
        let driver = publisher.await.expect("publishes");
        assert_eq!(driver.state().published, offsets.last().expect("one").0);
        let links = links(&server, offsets.len()).await;
        assert_whole(&links, &offsets);
        assert_eq!(links.len(), offsets.len(), "the server recognizes retries within its window");
    })
    .await;
}

/// Messages that the server has got from all clients.
fn messages_received(server: &NatsServer) -> u64 {
    let address = server.monitoring_url().replace("http://", "");
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.write_all(b"GET /varz HTTP/1.0\r\n\r\n").expect("writes");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("reads");
    let (_, count) = reply.split_once("\"in_msgs\": ").expect("a count");
    count.split(',').next().and_then(|count| count.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn next_call_continues_with_the_messages_in_flight() {
    with_each_server("", async |server, _| {
        let offsets = offsets(2_250);
        let mut driver = driver(&server);
        let first = &offsets[..1_000];
        let outcome = driver.publish(first, &|index, link| message(first[index], link)).await;
        assert!(outcome.failure.is_none() && (700..1_000).contains(&outcome.published), "{outcome:?}");
        publish_all(&mut driver, &offsets[outcome.published..]).await;
        // Besides them, only a few requests: none of the 256 of the window was sent twice.
        let received = messages_received(&server);
        assert!((1_500..1_600).contains(&received), "{received}");
        let links = links(&server, offsets.len()).await;
        assert_whole(&links, &offsets);
        assert_eq!(links.len(), offsets.len());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_stream_is_made_anew_and_has_each_record() {
    with_each_server("", async |server, _| {
        let offsets = offsets(300);
        let mut driver = driver(&server);
        publish_all(&mut driver, &offsets).await;
        let client = async_nats::connect(server.url()).await.expect("connects");
        jetstream::new(client).delete_stream("qmp").await.expect("deletes");
        let event = poll_until("the deletion is seen", async || match driver.wait().await {
            PublishEvent::Health => None,
            repeat => Some(repeat),
        });
        assert_eq!(event.await, PublishEvent::Repeat(Offset(0), RepeatCause::StreamYounger));
        publish_all(&mut driver, &offsets).await;
        let links = links(&server, offsets.len()).await;
        assert_whole(&links, &offsets);
        assert_eq!(links.len(), offsets.len());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_copy_of_the_store_gets_what_was_not_confirmed_again() {
    with_each_server("", async |mut server, home| {
        let offsets = offsets(300);
        let (early, late) = offsets.split_at(100);
        let mut driver = driver(&server);
        publish_all(&mut driver, early).await;
        let mut hub = StreamReader::new(servers(&[server.url()]), "qmp", Vec::new(), StreamStart::After(0));
        hub.create_confirmation_stream().await.expect("creates");
        let confirmed = early[59];
        let confirmation = Confirmation { journal: JOURNAL.into(), offset: confirmed, again: false };
        hub.confirm(HOST, &confirmation).await.expect("confirms");
        server.kill();
        server.copy_store(&home.join("copy"));
        server.restart();
        publish_all(&mut driver, late).await;
        server.kill();
        server.replace_store(&home.join("copy"));
        server.restart();
        let next = [Offset(500)];
        let outcome = loop {
            let outcome = driver.publish(&next, &|index, link| message(next[index], link)).await;
            if let Some(qmp_fleet::PublishFailure::Repeat(after, cause)) = outcome.failure {
                break (after, cause);
            }
        };
        assert_eq!(outcome, (confirmed, RepeatCause::StreamShorter));
        let mut all = offsets.clone();
        all.push(next[0]);
        let rest: Vec<Offset> = all.iter().copied().filter(|offset| *offset > confirmed).collect();
        publish_all(&mut driver, &rest).await;
        let links = links(&server, all.len()).await;
        assert_whole(&links, &all);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_of_a_fleet_hub_is_heard_by_an_idle_publisher() {
    with_each_server("", async |server, _| {
        let offsets = offsets(30);
        let mut driver = driver(&server);
        publish_all(&mut driver, &offsets).await;
        let mut hub = StreamReader::new(servers(&[server.url()]), "qmp", Vec::new(), StreamStart::After(0));
        hub.create_confirmation_stream().await.expect("creates");
        let confirmation = Confirmation { journal: JOURNAL.into(), offset: offsets[4], again: true };
        let (event, confirmed) = tokio::join!(
            async {
                loop {
                    if let repeat @ PublishEvent::Repeat(..) = driver.wait().await {
                        break repeat;
                    }
                }
            },
            hub.confirm(HOST, &confirmation)
        );
        confirmed.expect("confirms");
        assert_eq!(event, PublishEvent::Repeat(offsets[4], RepeatCause::Requested));
        assert_eq!(driver.state().confirmed, Some(offsets[4].0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_continues_after_kills_of_the_server() {
    with_each_server("", async |mut server, _| {
        let offsets = offsets(3_000);
        let mut driver = driver(&server);
        publish_all(&mut driver, &offsets).await;
        let filter = qmp_fleet::filter_subject(Some(HOST), Some("web.2"), None, None);
        let mut reader =
            StreamReader::new(servers(&[server.url()]), "qmp", vec![filter], StreamStart::After(0));
        let expected: Vec<Offset> = offsets.iter().copied().filter(|offset| offset.0 % 2 == 1).collect();
        let (mut found, mut restarts) = (Vec::new(), 0);
        while found.len() < expected.len() {
            match reader.next().await {
                Ok(message) => found.push(message.decode().expect("a message").link.offset),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            if found.len() > restarts * 300 + 100 {
                restarts += 1;
                server.restart();
            }
        }
        assert_eq!(found, expected);
    })
    .await;
}

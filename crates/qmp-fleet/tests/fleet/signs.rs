//! Signs of life of a host that has nothing to publish.

use std::time::Duration;

use qmp_fleet::{HostSign, SIGN_OF_LIFE_SUBJECTS, StreamItem, StreamReader, StreamStart};
use qmp_wire::Offset;

use crate::records::{HOST, JOURNAL, driver, publish_all, servers, with_each_server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_publisher_signs_up_to_what_it_has_published() {
    with_each_server("", async |server, _| {
        let mut driver = driver(&server);
        publish_all(&mut driver, &[Offset(3), Offset(7)]).await;
        let idle = tokio::spawn(async move {
            loop {
                driver.wait().await;
            }
        });
        let mut reader =
            StreamReader::new(servers(&[server.url()]), "qmp", Vec::new(), StreamStart::After(0));
        let (mut messages, mut signs) = (0, 0);
        while messages < 2 || signs < 3 {
            let item =
                tokio::time::timeout(qmp_testing::PATIENCE, reader.next_item()).await.expect("in time");
            match item.expect("an item") {
                StreamItem::Message(_) => messages += 1,
                StreamItem::Sign(HostSign { host, sign }) => {
                    signs += 1;
                    assert_eq!((&*host, &*sign.journal, sign.offset), (HOST, JOURNAL, Offset(7)));
                    // Five seconds before it was sent.
                    let age = qmp_host::clock::now().0 - sign.upto.0;
                    assert!((4_900_000..60_000_000).contains(&age), "{age}");
                }
            }
        }
        assert!(!reader.is_deaf());
        idle.abort();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_that_may_not_listen_reads_records_and_knows() {
    let user =
        "user: me, password: p, permissions: { publish: \">\", subscribe: { deny: \"qmp.v1.*._alive\" } }";
    with_each_server(&format!("authorization {{ users: [{{ {user} }}] }}"), async |server, _| {
        let url = server.url().replace("nats://", "nats://me:p@");
        let config = crate::records::config(servers(std::slice::from_ref(&url)));
        let mut driver = qmp_fleet::PublishDriver::new(config, qmp_fleet::PublisherState::default());
        publish_all(&mut driver, &[Offset(3)]).await;
        let mut reader = StreamReader::new(servers(&[url]), "qmp", Vec::new(), StreamStart::After(0));
        let message = tokio::time::timeout(qmp_testing::PATIENCE, reader.next()).await.expect("in time");
        assert_eq!(message.expect("a message").sequence, 1);
        let deaf = async {
            while !reader.is_deaf() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(qmp_testing::PATIENCE, deaf).await.expect(SIGN_OF_LIFE_SUBJECTS);
    })
    .await;
}

//! A stream that is followed: each record once, although the stream is deleted and filters are ignored.

use qmp_fleet::{FollowItem, StreamFollow, StreamStart};
use qmp_wire::Offset;

use crate::records::{driver, publish_all, servers, with_each_server};

/// The next items until a record, in short: the offset of a record, or a word.
async fn until_record(follow: &mut StreamFollow) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    loop {
        let item = match follow.next().await {
            FollowItem::Record(received) => received.link.offset.0.to_string(),
            FollowItem::Lost(_) => "lost".into(),
            FollowItem::Back { is_other } => format!("back, another one: {is_other}"),
            FollowItem::Unfiltered { .. } => "unfiltered".into(),
            FollowItem::Invalid(error) => panic!("{error}"),
        };
        // The number of attempts is that of the clock.
        if items.last() != Some(&item) {
            items.push(item);
        }
        if items.last().is_some_and(|item| item.parse::<u64>().is_ok()) {
            return items;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_published_again_are_returned_once() {
    with_each_server("", async |server, _| {
        let offsets: Vec<Offset> = (1..=5).map(Offset).collect();
        let mut driver = driver(&server);
        publish_all(&mut driver, &offsets).await;
        let mut follow = StreamFollow::new(servers(&[server.url()]), "qmp", Vec::new(), StreamStart::End);
        assert!(follow.open().await.expect("opens").is_none());
        publish_all(&mut driver, &[Offset(6), Offset(7)]).await;
        assert_eq!(until_record(&mut follow).await, ["6"]);
        assert_eq!(until_record(&mut follow).await, ["7"]);
        let client = async_nats::connect(server.url()).await.expect("connects");
        let context = async_nats::jetstream::new(client);
        context.delete_stream("qmp").await.expect("deletes");
        let all: Vec<Offset> = (1..=8).map(Offset).collect();
        let published = async {
            // The deletion is noticed by an acknowledgement that does not come, or by the check of the stream.
            let first = driver.publish(&all[7..], &|_, link| crate::records::message(Offset(8), link)).await;
            drop(first);
            publish_all(&mut driver, &all).await;
        };
        let (items, ()) = tokio::join!(until_record(&mut follow), published);
        let expected: &[&str] = match items.len() {
            1 => &["8"],
            _ => &["lost", "back, another one: true", "8"],
        };
        assert_eq!(items, expected);
        follow.close().await;
        let mut stream = context.get_stream("qmp").await.expect("the stream");
        let consumers = stream.info().await.expect("its state").state.consumer_count;
        assert_eq!(consumers, 0, "it removes its consumer");
    })
    .await;
}

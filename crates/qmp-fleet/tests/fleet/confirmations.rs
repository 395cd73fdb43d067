//! The stream of the confirmations while publishers connect.

use qmp_fleet::{PublishDriver, PublisherState, StreamReader, StreamStart};
use qmp_wire::Offset;

use crate::records::{config, driver, publish_all, servers, with_each_server};

/// How often the stream is created.
const ROUNDS: usize = 100;

/// nats-server 2.9.10 crashes if the last message is read from a stream that is being created.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn publishers_connect_while_the_stream_is_created() {
    with_each_server("", async |mut server, _| {
        publish_all(&mut driver(&server), &[Offset(1)]).await;
        let address = servers(&[server.url()]);
        let publishers = [(); 3].map(|()| {
            let config = config(address.clone());
            tokio::spawn(async move {
                loop {
                    let mut driver = PublishDriver::new(config.clone(), PublisherState::default());
                    publish_all(&mut driver, &[Offset(1)]).await;
                }
            })
        });
        let context = async_nats::connect(server.url()).await.expect("connects");
        let context = async_nats::jetstream::new(context);
        let mut reader = StreamReader::new(address, "qmp", Vec::new(), StreamStart::After(0));
        for _ in 0..ROUNDS {
            reader.create_confirmation_stream().await.expect("a server that runs");
            context.delete_stream("qmp-confirmed").await.expect("a stream");
        }
        for publisher in publishers {
            publisher.abort();
        }
        assert!(server.is_running());
    })
    .await;
}

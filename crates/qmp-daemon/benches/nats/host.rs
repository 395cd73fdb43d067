//! A host: a journal, and the rule that publishes it.

use std::path::Path;

use qmp_daemon::ConfigFile;
use qmp_journal::Journal;
use qmp_sinks::{Rules, SinkStatus};
use qmp_testing::NatsServer;

pub(crate) const HOST: &str = "node1";

/// Starts a rule that publishes the records of `journal`; its position is beside `path`.
pub(crate) async fn publish(journal: &Journal, path: &Path, host: &str, server: &NatsServer) -> Rules {
    let text = format!("[[rule]]\nname = 'fleet'\nfrom = 'start'\nnats = '{}'", server.url());
    let rules = ConfigFile::parse(&text, Path::new("hub.toml")).expect("a rule").rules().to_vec();
    Rules::start(rules, Some(host.into()), journal, path).await.expect("starts")
}

/// The status of the rule, which has not failed.
pub(crate) fn status(rules: &Rules) -> SinkStatus {
    let status = rules.statuses().remove(0);
    assert_eq!(status.last_error, None);
    status
}

pub(crate) async fn delete_stream(server: &NatsServer, stream: &str) {
    let client = async_nats::connect(server.url()).await.expect("connects");
    async_nats::jetstream::new(client).delete_stream(stream).await.expect("deletes");
}

//! A cluster of three servers that keeps three copies: one server after the other is killed, the leader first.

use std::net::TcpListener;
use std::path::Path;

use qmp_testing::{NatsServer, wait_for};
use serde_json::Value;
use tempfile::TempDir;

use crate::hosts::{FleetHub, Host, STORM};
use crate::jetstream::{monitoring, stream};
use crate::support::directory;

struct Cluster {
    _home: TempDir,
    servers: Vec<NatsServer>,
}

impl Cluster {
    fn start(program: &Path) -> Self {
        let home = directory();
        // Bound at the same time, so that they differ.
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("binds"));
        let ports = listeners.each_ref().map(|one| one.local_addr().expect("an address").port());
        drop(listeners);
        let routes = ports.map(|port| format!("\"nats://127.0.0.1:{port}\"")).join(", ");
        let start = |port: u16| {
            let config =
                format!("cluster {{ name: site, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}");
            NatsServer::start(program, &home.path().join(port.to_string()), &config)
        };
        let cluster = Self { servers: ports.map(start).into(), _home: home };
        cluster.servers.iter().for_each(|server| {
            wait_for("a leader of the cluster", || {
                let page = monitoring(server, "/jsz");
                page["meta_cluster"]["leader"].as_str().filter(|name| !name.is_empty()).map(drop)
            });
        });
        cluster
    }

    fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// The server that leads the stream, as the servers say of which none is in `down`.
    fn leader(&self) -> usize {
        wait_for("a leader of the stream", || {
            let leader = stream(&self.servers[0])?["cluster"]["leader"].as_str()?.to_owned();
            self.servers.iter().position(|server| leader == format!("s{}", server.port()))
        })
    }

    /// Waits until all three have all messages.
    fn wait_until_whole(&self) {
        wait_for("three whole copies", || {
            let leader = self.leader();
            let stream = stream(&self.servers[leader])?;
            let replicas = stream["cluster"]["replicas"].as_array()?;
            let is_whole = |one: &Value| one["current"] == true && one["offline"] != true;
            (replicas.len() == 2 && replicas.iter().all(is_whole)).then_some(())
        });
    }
}

#[test]
fn killed_server_of_a_cluster_loses_nothing() {
    NatsServer::programs().iter().for_each(|program| lose_servers(program));
}

fn lose_servers(program: &Path) {
    let mut cluster = Cluster::start(program);
    let servers = format!("nats = {:?}", cluster.urls());
    let rule = format!("{servers}\nreplicas = 3");
    let hosts = ["node1", "node2"].map(|name| Host::start(name, &["web1"], &rule));
    let hub = FleetHub::start(&servers);
    let storm = || hosts.iter().for_each(|host| host.execute("web1", "storm"));
    storm();
    hub.wait_for_records_of(&hosts.each_ref());
    for is_of_leader in [true, false] {
        cluster.wait_until_whole();
        let leader = cluster.leader();
        let killed = if is_of_leader { leader } else { (leader + 1) % 3 };
        cluster.servers[killed].kill();
        storm();
        hub.wait_for_records_of(&hosts.each_ref());
        cluster.servers[killed].restart();
        storm();
    }
    cluster.wait_until_whole();
    let records = hub.wait_for_records_of(&hosts.each_ref());
    assert!(records.values().all(|records| records.len() as u64 > 5 * STORM), "{:?}", records.keys());
    // The server that was restarted last learns its streams one after the other.
    wait_for("three copies of both streams", || {
        let page = monitoring(&cluster.servers[0], "/jsz?accounts=true&streams=true&config=true");
        let streams = page["account_details"][0]["stream_detail"].as_array()?;
        let has_three_copies = |name: &str| {
            streams.iter().any(|stream| stream["name"] == name && stream["config"]["num_replicas"] == 3)
        };
        ["qmp", "qmp-confirmed"].into_iter().all(has_three_copies).then_some(())
    });
    // A fault that is over is not in the state any longer.
    wait_for("a state without a fault", || {
        let source = hub.get("/v1/hub")["from"][0].clone();
        (source["state"] == "reading" && source["problem"].is_null()).then_some(())
    });
}

//! Several fleet hubs of one stream: two with all hosts, and two with a share each.

use qmp_testing::NatsServer;

use crate::hosts::{FleetHub, Host};
use crate::support::directory;

#[test]
fn fleet_hubs_with_all_hosts_or_a_share_are_complete() {
    for program in NatsServer::programs() {
        let nats = directory();
        let mut server = NatsServer::start(program, nats.path(), "");
        let rule = format!("nats = '{}'", server.url());
        let from = |hosts: &str| FleetHub::start(&format!("{rule}\n{hosts}"));
        let hosts = ["a1", "a2", "b1", "b2"].map(|name| Host::start(name, &["web1"], &rule));
        let every = hosts.each_ref();
        let storm = || hosts.iter().for_each(|host| host.execute("web1", "storm"));
        storm();
        // By a pattern, and by names, which the server filters by.
        let (mut all, other, first, second) =
            (from(""), from(""), from("host = ['a*']"), from("host = ['b1', 'b2']"));
        storm();
        // One is down while the others confirm, and the server loses its connections.
        all.kill();
        storm();
        other.wait_for_records_of(&every);
        server.restart();
        all.restart();
        storm();
        all.wait_for_records_of(&every);
        other.wait_for_records_of(&every);
        first.wait_for_records_of(&every[..2]);
        second.wait_for_records_of(&every[2..]);
    }
}

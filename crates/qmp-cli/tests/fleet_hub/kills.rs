//! Servers, hubs and the fleet hub are killed at random while events arrive: the fleet hub has each record once, in order.

use std::time::{Duration, Instant, SystemTime};

use qmp_testing::NatsServer;

use crate::hosts::{FleetHub, Host, STORM};
use crate::support::{directory, run};

/// How long processes are killed, for each release of the server.
const KILLS: Duration = Duration::from_secs(8);

/// The variable with another such time, in seconds.
const SECONDS: &str = "QMP_FLEET_SECONDS";

/// The variable with the seed of an earlier run, which its output has.
const SEED: &str = "QMP_FLEET_SEED";

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    /// With the seed of the environment, or another one at each run.
    fn new() -> Self {
        let given = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
            u64::from(now.subsec_nanos()) << 20 ^ now.as_secs()
        });
        eprintln!("{SEED}={seed}");
        Self(seed | 1)
    }

    fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).expect("below a usize")
    }
}

/// What is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Server,
    FleetHub,
    Host(usize),
}

struct Fleet {
    server: NatsServer,
    hub: FleetHub,
    hosts: [Host; 3],
}

impl Fleet {
    fn kill(&mut self, victim: Victim) {
        match victim {
            Victim::Server => self.server.kill(),
            Victim::FleetHub => self.hub.kill(),
            Victim::Host(index) => self.hosts[index].kill(),
        }
    }

    fn restart(&mut self, victim: Victim) {
        match victim {
            Victim::Server => self.server.restart(),
            Victim::FleetHub => self.hub.restart(),
            Victim::Host(index) => self.hosts[index].restart(),
        }
    }

    /// A storm of a VM of a host that runs.
    fn storm(&self, random: &mut Random) {
        let running: Vec<&Host> = self.hosts.iter().filter(|host| host.is_running()).collect();
        let Some(host) = running.get(random.below(running.len().max(1))) else { return };
        host.execute(&host.vms()[random.below(host.vms().len())], "storm");
    }

    /// Storms, kills and restarts, for so long; returns how often each was killed: the server, the fleet hub, hosts' hubs.
    fn kill_for(&mut self, time: Duration, random: &mut Random) -> [u32; 3] {
        let (begin, mut kills) = (Instant::now(), [0; 3]);
        let mut down: Vec<Victim> = Vec::new();
        while begin.elapsed() < time {
            self.storm(random);
            if !down.is_empty() && random.below(2) == 0 {
                self.restart(down.swap_remove(random.below(down.len())));
                continue;
            }
            let victim = match random.below(5) {
                0 => Victim::Server,
                1 => Victim::FleetHub,
                index => Victim::Host(index - 2),
            };
            let is_down = |one: &Victim| std::mem::discriminant(one) == std::mem::discriminant(&victim);
            // One of each kind at a time: some hosts always publish.
            if down.iter().any(is_down) {
                continue;
            }
            self.kill(victim);
            kills[match victim {
                Victim::Server => 0,
                Victim::FleetHub => 1,
                Victim::Host(_) => 2,
            }] += 1;
            down.push(victim);
        }
        down.into_iter().for_each(|victim| self.restart(victim));
        kills
    }
}

#[test]
fn killed_hubs_and_servers_leave_each_record_once_and_in_order() {
    let seconds = std::env::var(SECONDS).ok().and_then(|seconds| seconds.parse().ok());
    let time = seconds.map_or(KILLS, Duration::from_secs);
    for program in NatsServer::programs() {
        let mut random = Random::new();
        let nats = directory();
        let server = NatsServer::start(program, nats.path(), "");
        let rule = format!("nats = '{}'", server.url());
        let hosts = ["node1", "node2", "node3"].map(|name| Host::start(name, &["web1", "db1"], &rule));
        let hub = FleetHub::start(&rule);
        let mut fleet = Fleet { server, hub, hosts };
        let kills = fleet.kill_for(time, &mut random);
        let Fleet { hub, hosts, .. } = &fleet;
        // A later record of each host shows what is missing before it.
        hosts.iter().for_each(|host| host.execute("web1", "storm"));
        let settled = Instant::now();
        let records = hub.wait_for_records_of(&hosts.each_ref());
        let count: usize = records.values().map(Vec::len).sum();
        eprintln!(
            "{}: {count} records, kills {kills:?}, settled in {:?}",
            program.display(),
            settled.elapsed()
        );
        assert!(count as u64 > 6 * STORM && records.len() == 6, "{count}");
        assert!(kills.iter().sum::<u32>() > 3, "{kills:?}");
        let source = hub.get("/v1/hub")["from"][0].clone();
        assert_eq!((&source["lost"], &source["refused"]), (&0.into(), &0.into()), "{source}");
        let status = hub.run(&["status", "--json"]);
        assert_eq!(status.stdout.lines().count(), 6, "{status:?}");
        let verified = run(hub.home.path(), &["journal", "verify"]);
        assert_eq!(verified.code, Some(0), "{verified:?}");
    }
}

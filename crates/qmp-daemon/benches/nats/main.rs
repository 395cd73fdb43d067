//! NATS JetStream: the sink `nats` beside bare `async-nats`, the lag from host to fleet hub, and growth with the hosts.
//!
//! `cargo bench -p qmp-daemon --bench nats [-- PART]`, with each release of nats-server on this machine. Without a part, all:
//!
//! - `ratio`: acknowledged records a second by a rule, and by the bare client with the same messages and the same window, in
//!   turn; medians. The rule reads the journal and writes the messages meanwhile; those of the bare client are written
//!   beforehand. The target is 0.9 of it.
//! - `lag`: the time from the commit of a record in the host's journal to its commit in the fleet hub's, at steady rates.
//! - `growth`: 1, 10 and 100 hosts publish what is in their journals, all at once; then a fleet hub commits it.
//!
//! Server, hosts and fleet hub share this machine, so they compete for its processors.

mod bare;
mod fleet;
mod growth;
mod host;
mod lag;
mod ratio;
mod records;

use std::time::Duration;

use qmp_testing::NatsServer;

fn main() {
    let parts: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let is_chosen = |part: &str| parts.is_empty() || parts.iter().any(|chosen| chosen == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for program in NatsServer::programs() {
        println!("{}", program.display());
        if is_chosen("ratio") {
            runtime.block_on(ratio::run(program));
        }
        if is_chosen("lag") {
            runtime.block_on(lag::run(program));
        }
        if is_chosen("growth") {
            runtime.block_on(growth::run(program));
        }
    }
}

/// The time below which so many percent of the sorted times are.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() - 1) * percent / 100]
}

fn rate(records: u64, time: Duration) -> f64 {
    records as f64 / time.as_secs_f64()
}

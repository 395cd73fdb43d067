//! The streams with records of other hosts, as metrics.

use qmp_hub::FleetStatus;

use super::exposition::{Exposition, Type};
use crate::state::ApiState;

/// Reads a figure.
type Read = fn(&FleetStatus) -> f64;

#[allow(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
const FAMILIES: [(&str, Type, &str, Read); 9] = [
    ("qmp_fleet_reading", Type::Gauge, "Whether the stream of records of other hosts is read.", |status| {
        f64::from(u8::from(status.state == "reading"))
    }),
    (
        "qmp_fleet_position",
        Type::Gauge,
        "The number of the last message of the stream that is committed.",
        |status| status.position as f64,
    ),
    ("qmp_fleet_lag_records", Type::Gauge, "Messages of the stream that were not read.", |status| {
        status.lag_records as f64
    }),
    (
        "qmp_fleet_lag_seconds",
        Type::Gauge,
        "The age of the last record that was read, while messages wait.",
        |status| status.lag_seconds,
    ),
    ("qmp_fleet_records_total", Type::Counter, "Records of other hosts that were committed.", |status| {
        status.records as f64
    }),
    (
        "qmp_fleet_holes",
        Type::Gauge,
        "Journals of hosts that lack records, which their hubs were asked for.",
        |status| status.holes as f64,
    ),
    ("qmp_fleet_lost_total", Type::Counter, "Holes that were given up: their records are lost.", |status| {
        status.lost as f64
    }),
    ("qmp_fleet_repeated_total", Type::Counter, "Messages that were read again and discarded.", |status| {
        status.repeated as f64
    }),
    (
        "qmp_fleet_refused_total",
        Type::Counter,
        "Messages that were discarded because they are no records, or because their numbers are taken.",
        |status| status.refused as f64,
    ),
];

/// Metrics for Prometheus. The label is the source as the operator's configuration has it, without logins.
pub(super) fn metrics(api: &ApiState, to: &mut Exposition) {
    let statuses = api.sources.read();
    for (name, ty, help, read) in FAMILIES {
        let mut family = to.family(name, ty, help);
        for status in &statuses {
            family.sample(&[("source", &status.source)], read(status));
        }
    }
    let help = "Findings about several hosts, or about a host, by kind.";
    let mut family = to.family("qmp_fleet_findings_total", Type::Counter, help);
    for (finding, count) in api.vm_states.findings_over_hosts() {
        family.sample(&[("finding", finding)], count);
    }
}

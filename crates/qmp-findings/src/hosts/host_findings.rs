//! The findings over hosts, with their sentences and data.

use std::time::Duration;

use qmp_wire::{QualifiedName, UnixMicros};
use serde_json::{Map, Value, json};

use crate::finding::{Finding, Id};
use crate::kinds::{MIGRATED, TWO_HOSTS, TWO_HOSTS_OVER};
use crate::limits::{MIGRATION_SIDES_MAX, TWO_HOSTS_MIN};
use crate::local_time::micros;
use crate::text;

use super::evidence::{Evidence, FindingIdentity, qualified_host};
use super::host_vm::write_uuid;
use super::migration_sides::{COMPLETED, MigrationSide};
use super::overlap::ReportedOverlap;

/// A finding with its evidence.
type FindingWithEvidence = (Finding, Vec<Evidence>);

/// The migration with these two sides, each with its `HOST/VM`; `None` if they are of different migrations.
pub(super) fn migrated(
    uuid: u128,
    (source, left): (&str, &MigrationSide),
    (destination, arrived): (&str, &MigrationSide),
) -> Option<FindingWithEvidence> {
    let is_completed = left.result == COMPLETED;
    let stopped = switchover(left);
    let begin = stopped.filter(|_| is_completed).map_or(left.at, |(_, at)| at);
    let apart = micros(MIGRATION_SIDES_MAX);
    let span = begin.0.saturating_sub(apart)..=left.at.0.saturating_add(apart);
    if is_completed != (arrived.result == COMPLETED) || !span.contains(&arrived.at.0) {
        return None;
    }
    let stop = stopped.filter(|_| is_completed);
    let evidence: Vec<Evidence> = (stop.iter().map(|(id, _)| Evidence::new(source, *id)))
        .chain([Evidence::new(source, left.id), Evidence::new(destination, arrived.id)])
        .collect();
    let took = left.began.map(|began| between(began, left.at));
    let downtime = stop.filter(|(_, at)| arrived.runs && *at <= arrived.at);
    let downtime = downtime.map(|(_, at)| between(at, arrived.at));
    let vm = text::shown(QualifiedName::divide(source).1);
    let (from, to) = (qualified_host(source), qualified_host(destination));
    let within = |word| took.map_or(String::new(), |took| format!(" {word} {}", text::span(took)));
    let summary = match (left.result, downtime) {
        (COMPLETED, None) => format!("{vm} was migrated from {from} to {to}{}.", within("within")),
        (COMPLETED, Some(downtime)) => format!(
            "{vm} was migrated from {from} to {to}{}, and stood still for {}.",
            within("within"),
            text::span(downtime)
        ),
        ("cancelled", _) => {
            format!("The migration of {vm} from {from} to {to} was cancelled{}.", within("after"))
        }
        _ => format!("The migration of {vm} from {from} to {to} failed{}.", within("after")),
    };
    let mut data = data(uuid, &[source, destination], &evidence);
    data.insert("result".into(), left.result.into());
    data.extend(took.map(|took| ("duration_seconds".into(), text::seconds(took).into())));
    data.extend(downtime.map(|downtime| ("downtime_seconds".into(), text::seconds(downtime).into())));
    Some(finding(MIGRATED, source, (summary, data), left.at.max(arrived.at), evidence))
}

/// The stop for the switchover of a migration, or at least shortly before its end.
fn switchover(left: &MigrationSide) -> Option<(Id, UnixMicros)> {
    let earliest = left.began.unwrap_or(UnixMicros(left.at.0.saturating_sub(micros(MIGRATION_SIDES_MAX))));
    left.stopped.filter(|(_, at)| *at >= earliest)
}

/// The finding that the VM runs on both hosts of the pair.
pub(super) fn two_hosts(uuid: u128, pair: &[Box<str>; 2], overlap: &ReportedOverlap) -> FindingWithEvidence {
    let (vm, [one, other]) = names(pair);
    let summary = format!(
        "{vm} has been running on {one} and on {other} at once for more than {}: two QEMUs may write to its disks.",
        text::span(TWO_HOSTS_MIN)
    );
    let evidence = evidence(pair, overlap);
    let data = overlap_data(uuid, pair, overlap);
    let at = UnixMicros(overlap.since.0.saturating_add(micros(TWO_HOSTS_MIN)));
    finding(TWO_HOSTS, &pair[0], (summary, data), at, evidence)
}

/// The finding that the VM does not run on both hosts of the pair any more, but on the hosts `running`. It ended on one of them
/// at `latest`; the other one may not have been heard that far.
pub(super) fn over(
    uuid: u128,
    pair: &[Box<str>; 2],
    overlap: &ReportedOverlap,
    latest: UnixMicros,
    running: &[Box<str>],
) -> FindingWithEvidence {
    let (vm, [one, other]) = names(pair);
    let least = UnixMicros(overlap.since.0.saturating_add(micros(TWO_HOSTS_MIN)));
    let certain = overlap.until.max(least);
    let (at, span) = (certain.max(latest), between(overlap.since, certain));
    let after = if at == certain { text::span(span) } else { format!("at least {}", text::span(span)) };
    let summary = match running {
        [host] => format!("{vm} runs on {host} alone, after {after} on {one} and on {other} at once."),
        [] => format!("{vm} runs neither on {one} nor on {other}, after {after} on both at once."),
        _ => format!("{vm} was started again on {one} or on {other}, after {after} on both at once."),
    };
    let evidence = evidence(pair, overlap);
    let mut data = overlap_data(uuid, pair, overlap);
    data.insert("running".into(), running.iter().map(|host| Value::from(&**host)).collect());
    data.insert("seconds".into(), text::seconds(span).into());
    if at > certain {
        data.insert("seconds_max".into(), text::seconds(between(overlap.since, at)).into());
    }
    finding(TWO_HOSTS_OVER, &pair[0], (summary, data), at, evidence)
}

/// The names of the VM on both hosts, and the overlap, in a recorded finding about an overlap; `None` for other findings.
pub(super) fn restored_overlap(
    (kind, evidence): &FindingIdentity,
    data: &Map<String, Value>,
) -> Option<([Box<str>; 2], ReportedOverlap)> {
    let ([one, other], TWO_HOSTS | TWO_HOSTS_OVER) = (evidence.as_slice(), &**kind) else { return None };
    let since: UnixMicros = data.get("since")?.as_str()?.parse().ok()?;
    let pair = [one.vm.clone(), other.vm.clone()];
    Some((pair, ReportedOverlap { runs: [one.id, other.id], since, until: since, is_over: false }))
}

fn overlap_data(uuid: u128, pair: &[Box<str>; 2], overlap: &ReportedOverlap) -> Map<String, Value> {
    let mut data = data(uuid, &[&pair[0], &pair[1]], &evidence(pair, overlap));
    data.insert("since".into(), overlap.since.to_string().into());
    data
}

fn evidence(pair: &[Box<str>; 2], overlap: &ReportedOverlap) -> Vec<Evidence> {
    pair.iter().zip(overlap.runs).map(|(vm, id)| Evidence::new(vm, id)).collect()
}

/// The members that all findings about a VM on several hosts have.
fn data(uuid: u128, vms: &[&str; 2], evidence: &[Evidence]) -> Map<String, Value> {
    let evidence: Vec<Value> = evidence.iter().map(Evidence::json).collect();
    let data = json!({"uuid": write_uuid(uuid), "hosts": vms.map(qualified_host), "evidence": evidence});
    match data {
        Value::Object(data) => data,
        _ => Map::new(),
    }
}

/// A name of the VM and the names of the two hosts.
fn names(pair: &[Box<str>; 2]) -> (String, [&str; 2]) {
    let vm = text::shown(QualifiedName::divide(&pair[0]).1);
    (vm, [qualified_host(&pair[0]), qualified_host(&pair[1])])
}

fn between(from: UnixMicros, until: UnixMicros) -> Duration {
    Duration::from_micros(u64::try_from(until.0.saturating_sub(from.0)).unwrap_or(0))
}

/// A finding about `vm`, `HOST/VM`. It has no causes, which are records of one VM.
fn finding(
    kind: &'static str,
    vm: &str,
    (summary, data): (String, Map<String, Value>),
    at: UnixMicros,
    evidence: Vec<Evidence>,
) -> FindingWithEvidence {
    let vm = QualifiedName::divide(vm).1.into();
    (Finding { vm, kind, summary, causes: Vec::new(), data, at }, evidence)
}

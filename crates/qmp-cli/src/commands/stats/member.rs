//! Counts by the value of a member of the records' data, which the records themselves have.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use qmp_host::clock;
use qmp_journal::Query;
use qmp_wire::{Body, Offset, Record, UnixMicros};
use serde_json::Value;

use super::counted::{Counts, Name, Other, SPARK_COLUMNS};
use crate::commands::log::source::Source;
use crate::exit::Failure;
use crate::hub::Query as HubQuery;
use crate::window::Window;

/// The values of a member, with the times of receipt of their records.
#[derive(Default)]
struct Values(HashMap<String, Vec<i64>>);

/// Counts the records that `queries` select by the value at `path`; records without one are not counted.
pub(super) async fn count(
    source: &Source,
    queries: (Query, HubQuery),
    (name, path): (&str, &[Box<str>]),
    window: Window,
    top: usize,
) -> Result<Counts, Failure> {
    let mut values = Values::default();
    let mut take = |record: Record<'_>| {
        values.take(&record, path);
        ControlFlow::Continue(())
    };
    source.each(queries, Offset(0), &mut take).await?;
    Ok(values.counts(name, window, top))
}

impl Values {
    fn take(&mut self, record: &Record<'_>, path: &[Box<str>]) {
        let (Body::Event { data, .. } | Body::Finding { data, .. }) = &record.body else { return };
        let Some(Ok(data)) = data.as_deref().map(serde_json::from_str::<Value>) else { return };
        let step = |node: Value, key: &str| match node {
            Value::Object(mut members) => members.remove(key),
            Value::Array(elements) => elements.into_iter().nth(key.parse().ok()?),
            _ => None,
        };
        let Some(value) = path.iter().map(|key| &**key).try_fold(data, step) else { return };
        let shown = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        self.0.entry(shown).or_default().push(record.received.0);
    }

    fn counts(self, by: &str, (since, until): Window, top: usize) -> Counts {
        let all = || self.0.values().flatten().copied();
        let until = until.unwrap_or_else(clock::now).0;
        let since = since.map(|UnixMicros(at)| at).or_else(|| all().min()).unwrap_or(until);
        let total = all().count() as u64;
        let mut names: Vec<Name> =
            self.0.iter().map(|(value, times)| named(value, times, since, until)).collect();
        names.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.name.cmp(&other.name)));
        let rest = names.split_off(top.min(names.len()));
        let other = Other { names: rest.len() as u64, count: rest.iter().map(|name| name.count).sum() };
        Counts {
            total,
            since,
            until,
            read_to: None,
            by: BTreeMap::from([(by.to_owned(), names)]),
            other: BTreeMap::from([(by.to_owned(), other)]),
        }
    }
}

fn named(value: &str, times: &[i64], since: i64, until: i64) -> Name {
    let columns = i64::from(SPARK_COLUMNS);
    let mut spark = vec![0; SPARK_COLUMNS as usize];
    for at in times {
        let span = i128::from(until.saturating_sub(since).max(1));
        let column = i128::from(at.saturating_sub(since)) * i128::from(columns) / span;
        let column = usize::try_from(column.clamp(0, i128::from(columns) - 1)).unwrap_or(0);
        spark[column] += 1;
    }
    Name { name: value.to_owned(), severity: None, count: times.len() as u64, spark }
}

#[cfg(test)]
mod tests {
    use qmp_wire::{Epoch, Seq};

    use super::*;

    #[test]
    fn records_are_counted_by_value() {
        let record = |at: i64, data: &'static str| Record {
            offset: None,
            vm: "vm1".into(),
            epoch: Epoch(1),
            seq: Seq(1),
            received: UnixMicros(at),
            body: Body::Event { name: "X".into(), sent_name: None, timestamp: None, data: Some(data.into()) },
        };
        let mut values = Values::default();
        for (at, data) in [
            (0, r#"{"a": {"b": "x"}}"#),
            (29, r#"{"a": {"b": "x"}}"#),
            (10, r#"{"a": {"b": 5}}"#),
            (11, r#"{"a": 1}"#),
            (12, "[]"),
        ] {
            values.take(&record(at, data), &["a".into(), "b".into()]);
        }
        let counts = values.counts("data.a.b", (Some(UnixMicros(0)), Some(UnixMicros(30))), 1);
        assert_eq!((counts.total, counts.other["data.a.b"]), (3, Other { names: 1, count: 1 }));
        let first = &counts.by["data.a.b"][0];
        assert_eq!((&*first.name, first.count, first.spark[0], first.spark[29]), ("x", 2, 1, 1));
    }
}

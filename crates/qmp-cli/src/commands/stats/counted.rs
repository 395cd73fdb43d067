//! Counts of records, from the hub or from a journal's file.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Columns of a bar.
pub(super) const SPARK_COLUMNS: u32 = 30;

/// The counts, as the hub sends them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Counts {
    pub(super) total: u64,
    pub(super) since: i64,
    pub(super) until: i64,
    #[serde(default)]
    pub(super) read_to: Option<u64>,
    pub(super) by: BTreeMap<String, Vec<Name>>,
    pub(super) other: BTreeMap<String, Other>,
}

/// The records of a name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(super) struct Name {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) severity: Option<String>,
    pub(super) count: u64,
    pub(super) spark: Vec<u64>,
}

/// The names that are not listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Other {
    pub(super) names: u64,
    pub(super) count: u64,
}

impl Counts {
    /// Adds the counts of the records after those that are counted here.
    pub(super) fn add(&mut self, more: Self) {
        self.total += more.total;
        self.read_to = more.read_to;
        for (facet, names) in more.by {
            let known = self.by.entry(facet).or_default();
            for name in names {
                match known.iter_mut().find(|known| known.name == name.name) {
                    Some(known) => {
                        known.count += name.count;
                        known.spark.iter_mut().zip(name.spark).for_each(|(sum, count)| *sum += count);
                    }
                    None => known.push(name),
                }
            }
        }
        for (facet, other) in more.other {
            let sum = self.other.entry(facet).or_default();
            (sum.names, sum.count) = (sum.names.max(other.names), sum.count + other.count);
        }
    }

    /// The length of the window.
    pub(super) fn span(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.until.saturating_sub(self.since)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str, count: u64, spark: &[u64]) -> Name {
        Name { name: name.to_owned(), severity: None, count, spark: spark.to_vec() }
    }

    #[test]
    fn partial_counts_are_added() {
        let part = |total, read_to, names: Vec<Name>| Counts {
            total,
            read_to,
            by: BTreeMap::from([("event".to_owned(), names)]),
            other: BTreeMap::from([("event".to_owned(), Other { names: 2, count: 3 })]),
            ..Counts::default()
        };
        let mut counts = part(7, Some(9), vec![name("STOP", 4, &[4, 0])]);
        counts.add(part(6, None, vec![name("STOP", 2, &[0, 2]), name("RESUME", 1, &[0, 1])]));
        assert_eq!((counts.total, counts.read_to), (13, None));
        assert_eq!(counts.by["event"], [name("STOP", 6, &[4, 2]), name("RESUME", 1, &[0, 1])]);
        assert_eq!(counts.other["event"], Other { names: 2, count: 6 });
    }
}

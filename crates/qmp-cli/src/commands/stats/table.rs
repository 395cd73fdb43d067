//! The output of `qmp stats`: a table with bars, JSON Lines, or comma-separated values.

use std::fmt::Write as _;

use serde_json::json;

use super::counted::{Counts, Name, Other, SPARK_COLUMNS};
use crate::render::spark::spark;
use crate::render::{escape, write_field};

/// Names and numbers with a bar each.
pub(super) fn text(counts: &Counts, by: &str, is_ascii: bool) -> String {
    let names = names(counts, by);
    let shown: Vec<String> = names.iter().map(|name| escape::text(&name.name).into_owned()).collect();
    let width = shown.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(by.len());
    let mut out = String::new();
    let columns = SPARK_COLUMNS as usize;
    let _ = writeln!(out, "{:<width$}  {:>9}  {:>10}", by.to_uppercase(), "RECORDS", "PER HOUR");
    for (name, shown) in names.iter().zip(shown) {
        let bar = spark(&name.spark, columns, is_ascii);
        let line = format!("{shown:<width$}  {:>9}  {:>10}  {bar}", name.count, rate(counts, name.count));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    if let Some(Other { names: more @ 1.., count }) = counts.other.get(by) {
        let _ = writeln!(out, "{:<width$}  {count:>9}  {:>10}", format!("{more} more"), rate(counts, *count));
    }
    let _ = writeln!(out, "{:<width$}  {:>9}  {:>10}", "all", counts.total, rate(counts, counts.total));
    out
}

/// One object a line.
pub(super) fn json(counts: &Counts, by: &str) -> String {
    let mut out = String::new();
    for name in names(counts, by) {
        let mut line = json!({"by": by, "per_hour": per_hour(counts, name.count)});
        if let (Some(line), Ok(serde_json::Value::Object(members))) =
            (line.as_object_mut(), serde_json::to_value(name))
        {
            line.extend(members);
        }
        let _ = writeln!(out, "{line}");
    }
    out
}

/// A line of column names, and one line a name.
pub(super) fn csv(counts: &Counts, by: &str) -> String {
    let mut out = format!("{by},records,per_hour\n");
    for name in names(counts, by) {
        let mut field = Vec::new();
        write_field(&name.name, &mut field);
        let field = String::from_utf8_lossy(&field);
        let _ = writeln!(out, "{field},{},{:.3}", name.count, per_hour(counts, name.count));
    }
    out
}

fn names<'c>(counts: &'c Counts, by: &str) -> &'c [Name] {
    counts.by.get(by).map_or(&[], Vec::as_slice)
}

fn per_hour(counts: &Counts, records: u64) -> f64 {
    let hours = counts.span().as_secs_f64() / 3_600.0;
    if hours > 0.0 { records as f64 / hours } else { 0.0 }
}

fn rate(counts: &Counts, records: u64) -> String {
    let rate = per_hour(counts, records);
    match rate {
        100.0.. => format!("{rate:.0}"),
        1.0.. => format!("{rate:.1}"),
        _ => format!("{rate:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn counts() -> Counts {
        let name = |name: &str, count, spark: &[u64]| Name {
            name: name.to_owned(),
            severity: Some("lifecycle".to_owned()),
            count,
            spark: spark.to_vec(),
        };
        Counts {
            total: 52,
            since: 0,
            until: 2 * 3_600_000_000,
            read_to: None,
            by: BTreeMap::from([(
                "event".to_owned(),
                vec![name("STOP", 40, &[1, 0, 8]), name("=\u{1b}[2J,\"", 2, &[2, 0, 0])],
            )]),
            other: BTreeMap::from([("event".to_owned(), Other { names: 3, count: 10 })]),
        }
    }

    #[test]
    fn table_has_numbers_beside_the_bars() {
        insta::assert_snapshot!(text(&counts(), "event", false), @r#"
        EVENT           RECORDS    PER HOUR
        STOP                 40        20.0  ▁ █
        =\u001b[2J,"          2         1.0  █
        3 more               10         5.0
        all                  52        26.0
        "#);
    }

    #[test]
    fn json_and_csv_have_one_line_a_name() {
        let lines = json(&counts(), "event");
        let first: serde_json::Value =
            serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
        let expected = json!({
            "by": "event", "name": "STOP", "severity": "lifecycle", "count": 40, "per_hour": 20.0, "spark": [1, 0, 8],
        });
        assert_eq!((first, lines.lines().count()), (expected, 2));
        let expected = "event,records,per_hour\nSTOP,40,20.000\n\"'=\\u001b[2J,\"\"\",2,1.000\n";
        assert_eq!(csv(&counts(), "event"), expected);
    }
}

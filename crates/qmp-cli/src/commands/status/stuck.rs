//! Rules that do not get on.

use jiff::tz::TimeZone;

use super::local;
use crate::hub::SinkInfo;
use crate::render::{Palette, escape};

/// A line for each rule that does not deliver; nothing if all do.
pub(super) fn stuck(sinks: &[SinkInfo], palette: Palette, zone: &TimeZone) -> String {
    let stuck: Vec<&SinkInfo> = sinks.iter().filter(|sink| sink.state != "delivering").collect();
    let mut text = String::new();
    for sink in stuck {
        let error = sink.last_error.as_deref().unwrap_or("it does not say why");
        let since = local(&sink.since, zone);
        text += &format!(
            "\nrule {}: {} since {since}, {} records behind: {}\n",
            palette.bold(escape::text(&sink.rule)),
            escape::text(&sink.state),
            sink.lag_records,
            escape::text(error),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_are_stuck() {
        let sinks = [("log", "delivering", None), ("hook", "retrying", Some("connection refused\u{1b}[2J"))];
        let sinks = sinks.map(|(rule, state, error)| SinkInfo {
            rule: rule.into(),
            state: state.into(),
            since: "2026-01-02T03:04:05.678901Z".into(),
            lag_records: 7,
            last_error: error.map(str::to_owned),
        });
        insta::assert_snapshot!(stuck(&sinks, Palette::new(false), &TimeZone::UTC), @r"

        rule hook: retrying since 2026-01-02 03:04:05.678, 7 records behind: connection refused\u001b[2J
        ");
        assert_eq!(stuck(&sinks[..1], Palette::new(false), &TimeZone::UTC), "");
    }
}

//! Alerts that are raised, streams of other hosts that are not read, rules that are not delivering, that have a problem or gave up records, and
//! silences.

use jiff::tz::TimeZone;

use super::vm::local;
use crate::hub::{AlertInfo, FleetSourceInfo, GivenUpInfo, SilenceInfo, SinkInfo};
use crate::render::{Palette, escape};

/// A line for each rule that is not delivering, for each problem, and for each rule that gave up records; empty if there
/// are none.
pub(super) fn stuck(sinks: &[SinkInfo], palette: Palette, zone: &TimeZone) -> String {
    let mut text = String::new();
    for sink in sinks {
        let rule = palette.bold(escape::text(&sink.rule));
        if sink.state != "delivering" {
            let error = sink.last_error.as_deref().unwrap_or("no reason given");
            let since = local(&sink.since, zone);
            text += &format!(
                "rule {rule}: {} since {since}, {} behind: {}\n",
                escape::text(&sink.state),
                records(sink.lag_records),
                escape::text(error),
            );
        }
        if let Some(problem) = &sink.problem {
            text += &format!("rule {rule}: {}\n", escape::text(problem));
        }
        if let Some(last) = &sink.last_given_up {
            text += &format!("rule {rule}: {}\n", escape::text(&given_up(sink.given_up, last, zone)));
        }
    }
    text
}

/// A line for each stream with records of other hosts that is not read or has a fault; empty if there is none.
pub(super) fn sources(sources: &[FleetSourceInfo], palette: Palette, zone: &TimeZone) -> String {
    let faulty = sources.iter().filter(|source| source.state != "reading" || source.problem.is_some());
    let line = |source: &FleetSourceInfo| {
        let FleetSourceInfo { state, lag_records, problem, .. } = source;
        let since = local(&source.since, zone);
        let problem = problem.as_deref().map(|problem| format!(": {problem}")).unwrap_or_default();
        let text = format!("{state} since {since}, {} behind{problem}", records(*lag_records));
        format!("from {}: {}\n", palette.bold(escape::text(&source.source)), escape::text(&text))
    };
    faulty.map(line).collect()
}

/// A line for each alert that is raised; empty if there is none.
pub(super) fn alerts(alerts: &[AlertInfo], palette: Palette, zone: &TimeZone) -> String {
    let line = |alert: &AlertInfo| {
        let AlertInfo { vm, rule, state, since, .. } = alert;
        let text = format!("{state} since {} (rule {rule})", local(since, zone));
        format!("alert {}: {}\n", palette.bold(escape::text(vm)), escape::text(&text))
    };
    alerts.iter().map(line).collect()
}

/// A line for each silence; empty if there is none.
pub(in crate::commands) fn silenced(silences: &[SilenceInfo], palette: Palette, zone: &TimeZone) -> String {
    let line = |silence: &SilenceInfo| {
        let rule = silence.rule.as_ref().map(|rule| format!("rule {rule}, ")).unwrap_or_default();
        let until = local(&silence.until, zone);
        let text = format!("{rule}until {until}: {} ({})", silence.reason, silence.client);
        format!("silenced {}: {}\n", palette.bold(escape::text(&silence.vms)), escape::text(&text))
    };
    silences.iter().map(line).collect()
}

fn given_up(records: u64, last: &GivenUpInfo, zone: &TimeZone) -> String {
    let at = local(&last.at, zone);
    let GivenUpInfo { offset, vm, error, .. } = last;
    match records {
        1 => format!("record {offset} of {vm} was given up at {at}: {error}"),
        records => format!("{records} records were given up, the last, {offset} of {vm}, at {at}: {error}"),
    }
}

fn records(count: u64) -> String {
    if count == 1 { "1 record".to_owned() } else { format!("{count} records") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failing_rules_are_listed() {
        let sinks = [
            ("log", "delivering", 0, None),
            ("hook", "retrying", 7, Some("connection refused\u{1b}[2J")),
            ("mail", "retrying", 1, None),
            ("fleet", "delivering", 0, None),
        ];
        let sinks = sinks.map(|(rule, state, lag_records, error)| SinkInfo {
            rule: rule.into(),
            state: state.into(),
            since: "2026-01-02T03:04:05.678901Z".into(),
            lag_records,
            last_error: error.map(str::to_owned),
            problem: (rule == "fleet").then(|| "num_replicas is 1, not 3".to_owned()),
            given_up: 0,
            last_given_up: None,
        });
        insta::assert_snapshot!(stuck(&sinks, Palette::new(false), &TimeZone::UTC), @r"
        rule hook: retrying since 2026-01-02 03:04:05.678, 7 records behind: connection refused\u001b[2J
        rule mail: retrying since 2026-01-02 03:04:05.678, 1 record behind: no reason given
        rule fleet: num_replicas is 1, not 3
        ");
        assert_eq!(stuck(&sinks[..1], Palette::new(false), &TimeZone::UTC), "");
    }

    #[test]
    fn only_streams_with_a_fault_are_listed() {
        let source = |state: &str, problem: Option<&str>| FleetSourceInfo {
            source: "nats://h:4222/qmp".into(),
            state: state.into(),
            since: "2026-01-02T03:04:05.678901Z".into(),
            lag_records: 7,
            problem: problem.map(str::to_owned),
        };
        let listed = [source("reading", None), source("failing", Some("the connection was lost"))];
        insta::assert_snapshot!(sources(&listed, Palette::new(false), &TimeZone::UTC), @r"
        from nats://h:4222/qmp: failing since 2026-01-02 03:04:05.678, 7 records behind: the connection was lost
        ");
    }

    #[test]
    fn alert_is_listed_with_its_state_and_rule() {
        let alert = AlertInfo {
            host: None,
            vm: "web1".into(),
            rule: "stopped".into(),
            state: "io-error".into(),
            since: "2026-01-02T03:04:05.678901Z".into(),
        };
        insta::assert_snapshot!(alerts(&[alert], Palette::new(false), &TimeZone::UTC), @"alert web1: io-error since 2026-01-02 03:04:05.678 (rule stopped)");
    }

    #[test]
    fn silence_is_listed_with_its_reason() {
        let silence = SilenceInfo {
            vms: "web*".into(),
            rule: Some("mail".into()),
            until: "2026-01-02T03:04:05.678901Z".into(),
            reason: "new switch".into(),
            client: "uid 0".into(),
        };
        insta::assert_snapshot!(silenced(&[silence], Palette::new(false), &TimeZone::UTC), @"silenced web*: rule mail, until 2026-01-02 03:04:05.678: new switch (uid 0)");
    }

    #[test]
    fn rule_that_gave_up_records_is_listed_with_the_last_one() {
        let last = GivenUpInfo {
            offset: 41,
            vm: "web1".into(),
            at: "2026-01-02T03:04:05.678901Z".into(),
            error: "page ended with exit status: 3".into(),
        };
        let lines = [1, 12].map(|records| given_up(records, &last, &TimeZone::UTC)).join("\n");
        insta::assert_snapshot!(lines, @r"
        record 41 of web1 was given up at 2026-01-02 03:04:05.678: page ended with exit status: 3
        12 records were given up, the last, 41 of web1, at 2026-01-02 03:04:05.678: page ended with exit status: 3
        ");
    }
}

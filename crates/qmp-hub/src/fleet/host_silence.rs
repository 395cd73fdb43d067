//! Decides when a host is silent: without I/O and clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use qmp_wire::UnixMicros;

use super::host_names::without_suffix;

/// The hosts, and which of them are silent.
///
/// Silence counts only while hosts can be heard: all streams are read up to their ends, and signs of life arrive.
#[derive(Debug)]
pub(super) struct HostSilences {
    /// By the name that the host's hub uses for itself.
    hosts: BTreeMap<Box<str>, HeardHost>,
    silent_after: Duration,
    /// Since when hosts can be heard.
    listening: Option<Instant>,
}

/// A host that was heard.
#[derive(Clone, Debug)]
struct HeardHost {
    /// Its name, by its present journal.
    name: Box<str>,
    /// The last record or sign of life, by the clock of the fleet hub.
    last: UnixMicros,
    /// When that was; `None` if it was before the start.
    at: Option<Instant>,
    /// Whether its silence is recorded.
    is_silent: bool,
}

/// A host, and when it was heard last before its silence.
pub(super) type SilentHost = (Box<str>, UnixMicros);

impl HostSilences {
    /// Hosts are silent after that time.
    pub(super) const fn new(silent_after: Duration) -> Self {
        Self { hosts: BTreeMap::new(), silent_after, listening: None }
    }

    /// Adds a host that an earlier run of the hub has heard.
    pub(super) fn restore(&mut self, host: &str, last: UnixMicros, is_silent: bool) {
        let heard = HeardHost { name: host.into(), last, at: None, is_silent };
        self.hosts.insert(without_suffix(host).into(), heard);
    }

    /// Takes a record or a sign of life of a host. Returns the recorded silence that it ends.
    pub(super) fn heard(&mut self, host: &str, (at, last): (Instant, UnixMicros)) -> Option<SilentHost> {
        let key = without_suffix(host);
        let Some(known) = self.hosts.get_mut(key) else {
            let heard = HeardHost { name: host.into(), last, at: Some(at), is_silent: false };
            self.hosts.insert(key.into(), heard);
            return None;
        };
        let ended = known.is_silent.then(|| (known.name.clone(), known.last));
        (known.last, known.at, known.is_silent) = (last, Some(at), false);
        if *known.name != *host {
            known.name = host.into();
        }
        ended
    }

    /// Takes whether hosts can be heard.
    pub(super) fn set_listening(&mut self, is_listening: bool, now: Instant) {
        self.listening = is_listening.then(|| self.listening.unwrap_or(now));
    }

    /// The hosts that are silent, without those whose silence is recorded.
    pub(super) fn due(&self, now: Instant) -> Vec<SilentHost> {
        let Some(listening) = self.listening else { return Vec::new() };
        let is_due = |heard: &HeardHost| {
            let since = heard.at.map_or(listening, |at| at.max(listening));
            !heard.is_silent && now.saturating_duration_since(since) >= self.silent_after
        };
        let due = self.hosts.values().filter(|heard| is_due(heard));
        due.map(|heard| (heard.name.clone(), heard.last)).collect()
    }

    /// The hosts whose silence is recorded and not over, each with the time at which it was heard last.
    pub(super) fn silent(&self) -> impl Iterator<Item = SilentHost> {
        let silent = self.hosts.values().filter(|heard| heard.is_silent);
        silent.map(|heard| (heard.name.clone(), heard.last))
    }

    /// Notes that the silence of a host is recorded.
    pub(super) fn set_recorded(&mut self, host: &str) {
        if let Some(heard) = self.hosts.get_mut(without_suffix(host)) {
            heard.is_silent = true;
        }
    }

    /// Looks at a host again after the same time.
    pub(super) fn postpone(&mut self, host: &str, now: Instant) {
        if let Some(heard) = self.hosts.get_mut(without_suffix(host)) {
            heard.at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(180);

    /// Steps at seconds, and which hosts are silent or heard again then.
    fn play(steps: &[(u64, &str)]) -> Vec<String> {
        let (began, mut shown) = (Instant::now(), Vec::new());
        let mut silences = HostSilences::new(AFTER);
        for (second, step) in steps {
            let now = began + Duration::from_secs(*second);
            let wall = UnixMicros(i64::try_from(*second).expect("seconds") * 1_000_000);
            match step.split_once(' ') {
                Some(("restore", host)) => silences.restore(host, UnixMicros(0), false),
                Some(("restore-silent", host)) => silences.restore(host, UnixMicros(0), true),
                Some(("heard", host)) => {
                    let again = silences.heard(host, (now, wall));
                    shown.extend(again.iter().map(|(host, _)| format!("{second} {host} again")));
                }
                Some((_, is_listening)) => silences.set_listening(is_listening == "on", now),
                None => {}
            }
            for (host, last) in silences.due(now) {
                silences.set_recorded(&host);
                shown.push(format!("{second} {host} silent since {}", last.0 / 1_000_000));
            }
        }
        shown
    }

    #[test]
    fn silence_counts_while_hosts_can_be_heard() {
        type Case<'a> = (&'a str, &'a [(u64, &'a str)], &'a [&'a str]);
        let cases: [Case<'_>; 8] = [
            (
                "silent, once, and heard again",
                &[
                    (0, "listening on"),
                    (10, "heard a"),
                    (189, ""),
                    (190, ""),
                    (500, ""),
                    (900, "heard a"),
                    (901, ""),
                ],
                &["190 a silent since 10", "900 a again"],
            ),
            ("signs", &[(0, "listening on"), (10, "heard a"), (100, "heard a"), (279, "")], &[]),
            ("not listening", &[(10, "heard a"), (500, "")], &[]),
            (
                "not listening for a while",
                &[
                    (0, "listening on"),
                    (10, "heard a"),
                    (100, "listening off"),
                    (150, "listening on"),
                    (329, ""),
                    (330, ""),
                ],
                &["330 a silent since 10"],
            ),
            (
                "heard before the start",
                &[(0, "restore a"), (50, "listening on"), (229, ""), (230, "")],
                &["230 a silent since 0"],
            ),
            (
                "silent before the start",
                &[(0, "restore-silent a"), (50, "listening on"), (900, "heard a")],
                &["900 a again"],
            ),
            (
                "a journal that was made anew",
                &[(0, "restore-silent a"), (50, "listening on"), (90, "heard a~2"), (300, "")],
                &["90 a again", "300 a~2 silent since 90"],
            ),
            (
                "two journals before the start",
                &[(0, "restore a"), (0, "restore a~2"), (50, "listening on"), (230, "")],
                &["230 a~2 silent since 0"],
            ),
        ];
        for (name, steps, expected) in cases {
            assert_eq!(play(steps), expected, "{name}");
        }
    }
}

//! The history of one emulated machine: quiet days with an incident now and then, by the script that it plays later.

use qmp_wire::DetachReason;
use serde_json::{Value, json};

use super::calendar::{Calendar, HOUR, MINUTE, SECOND};
use super::random::Random;

/// An incident keeps so much distance from another one, and from the ends of the history.
const APART: i64 = 5 * MINUTE;

/// A record of the history, before it is numbered.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) at: i64,
    pub(super) act: Act,
}

/// The content of a step.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// An epoch begins: the VM is in this run state.
    Attached,
    /// QEMU sent an event; with the run state that it leads to.
    Event { name: &'static str, data: Option<Value>, run_state: Option<&'static str> },
    /// An epoch ends.
    Detached { reason: DetachReason, detail: &'static str },
}

/// The history of a machine that plays a script.
pub(super) fn story(script: &str, seed: u64, calendar: Calendar) -> Vec<Step> {
    let mut story = Story { calendar, random: Random::new(seed), busy: Vec::new(), steps: Vec::new() };
    story.watch();
    for (ago, midnight) in calendar.days() {
        story.incidents(script, ago, midnight);
    }
    for (_, midnight) in calendar.days() {
        story.news(midnight);
    }
    // Steps of the same time keep their order.
    story.steps.sort_by_key(|step| step.at);
    story.steps
}

struct Story {
    calendar: Calendar,
    random: Random,
    /// The times of incidents and outages.
    busy: Vec<(i64, i64)>,
    steps: Vec<Step>,
}

impl Story {
    /// Epochs: one hub after another.
    fn watch(&mut self) {
        let Calendar { since, until } = self.calendar;
        self.push(since, Act::Attached);
        let stopped =
            || Act::Detached { reason: DetachReason::HubStopped, detail: "the hub was asked to stop" };
        for (from, to) in self.calendar.outages() {
            self.push(from, stopped());
            self.push(to, Act::Attached);
            self.busy.push((from, to));
        }
        self.push(until, stopped());
    }

    /// The incidents of a day; `ago` is how many days before the last it is.
    fn incidents(&mut self, script: &str, ago: i64, midnight: i64) {
        let late = self.random.below(6 * MINUTE);
        let at = |hours: i64, minutes: i64| midnight + hours * HOUR + minutes * MINUTE + late;
        match (script, ago % 7) {
            ("day", 1) => self.power_button(at(14, 5)),
            ("day", 3) => self.reboots(at(4, 0), 1),
            ("io-errors", 1) => self.disk_error(at(15, 12), 48 * MINUTE),
            ("io-errors", 0 | 4) => self.disk_error(at(2, 40), 25 * MINUTE),
            ("io-errors", 3) => self.thin_disk(at(10, 31)),
            ("watchdog-loop", 1 | 2 | 5) => self.watchdog(at(11, 20)),
            ("migration", 0 | 3) => self.failed_migration(at(1, 10)),
            ("unplug-race" | "console", _) => self.suspend(at(18, 30), 13 * HOUR),
            ("reboot-loop", 1 | 4) => self.reboots(at(9, 2), 5),
            ("panic", 0 | 1 | 4) => self.panic(at(6, 20)),
            ("jobs", 2) => self.job(at(1, 30), true),
            _ => {}
        }
        match script {
            "watchdog-loop" => self.night_off(at(20, 30), 9 * HOUR),
            "day" | "io-errors" | "jobs" => self.job(at(3, 30), false),
            _ => {}
        }
    }

    /// The events of a day without incidents: more by day than by night.
    fn news(&mut self, midnight: i64) {
        for hour in 0..24 {
            let most = if (8..19).contains(&hour) { 3 } else { 1 };
            for _ in 0..=self.random.below(most) {
                let at = midnight + hour * HOUR + self.random.below(HOUR);
                let (name, data) = match self.random.below(4) {
                    0 => (
                        "RTC_CHANGE",
                        json!({"offset": self.random.below(3) - 1, "qom-path": "/machine/unattached/device[6]"}),
                    ),
                    1 | 2 => ("BALLOON_CHANGE", json!({"actual": (6 + self.random.below(3)) << 27})),
                    _ => (
                        "NIC_RX_FILTER_CHANGED",
                        json!({"name": "net0", "path": "/machine/peripheral/net0/virtio-backend"}),
                    ),
                };
                if self.is_free(at, 0) {
                    self.event(at, name, Some(data));
                }
            }
        }
    }

    /// The guest obeys the power button, and is started again later.
    fn power_button(&mut self, at: i64) {
        if self.take(at, 35 * MINUTE) {
            self.event(at, "POWERDOWN", None);
            self.shutdown(
                at + 4 * SECOND,
                json!({"guest": true, "reason": "guest-shutdown"}),
                at + 35 * MINUTE,
            );
        }
    }

    /// A machine that is not needed at night.
    fn night_off(&mut self, at: i64, length: i64) {
        if self.take(at, length) {
            self.shutdown(at, json!({"guest": false, "reason": "host-qmp-quit"}), at + length);
        }
    }

    /// QEMU ends, and is attached again at `next`.
    fn shutdown(&mut self, at: i64, data: Value, next: i64) {
        self.event(at, "SHUTDOWN", Some(data));
        let detail = "the VM closed the connection";
        self.push(at + SECOND / 5, Act::Detached { reason: DetachReason::PeerClosed, detail });
        self.push(next, Act::Attached);
    }

    /// A write fails, QEMU stops the VM, and an operator continues it.
    fn disk_error(&mut self, at: i64, length: i64) {
        if !self.take(at, length) {
            return;
        }
        let data = json!({
            "qom-path": "/machine/peripheral/disk0/virtio-backend", "device": "", "node-name": "disk0", "operation": "write",
            "action": "stop", "nospace": true, "reason": "No space left on device",
        });
        self.event(at, "BLOCK_IO_ERROR", Some(data));
        self.change(at + 200, "STOP", "io-error");
        self.change(at + length, "RESUME", "running");
    }

    /// The image of a thin disk grows beyond its threshold.
    fn thin_disk(&mut self, at: i64) {
        if self.take(at, MINUTE) {
            let data =
                json!({"node-name": "disk0", "amount-exceeded": 4096, "write-threshold": 17_179_869_184_i64});
            self.event(at, "BLOCK_WRITE_THRESHOLD", Some(data));
        }
    }

    /// The guest hangs three times, and its watchdog resets it.
    fn watchdog(&mut self, at: i64) {
        if self.take(at, 30 * MINUTE) {
            for at in [at, at + 8 * MINUTE, at + 21 * MINUTE] {
                self.event(at, "WATCHDOG", Some(json!({"action": "reset"})));
                self.event(at + 300, "RESET", Some(json!({"guest": true, "reason": "guest-reset"})));
            }
        }
    }

    /// The guest reboots.
    fn reboots(&mut self, at: i64, times: i64) {
        if self.take(at, times * 40 * SECOND) {
            for time in 0..times {
                let data = json!({"guest": true, "reason": "guest-reset"});
                self.event(at + time * 40 * SECOND, "RESET", Some(data));
            }
        }
    }

    /// The guest panics, and an operator resets it later.
    fn panic(&mut self, at: i64) {
        if self.take(at, 70 * MINUTE) {
            self.event(at, "GUEST_PANICKED", Some(json!({"action": "pause"})));
            self.change(at + 50, "STOP", "guest-panicked");
            let reset = at + 70 * MINUTE - SECOND;
            let data = Some(json!({"guest": false, "reason": "host-qmp-system-reset"}));
            self.push(reset, Act::Event { name: "RESET", data, run_state: Some("paused") });
            self.change(at + 70 * MINUTE, "RESUME", "running");
        }
    }

    /// The guest sleeps.
    fn suspend(&mut self, at: i64, length: i64) {
        if self.take(at, length) {
            self.change(at, "SUSPEND", "suspended");
            self.change(at + length, "WAKEUP", "running");
        }
    }

    /// The VM cannot be migrated, and stays.
    fn failed_migration(&mut self, at: i64) {
        if self.take(at, 2 * MINUTE) {
            for (after, status) in [(0, "setup"), (SECOND / 5, "active"), (71 * SECOND, "failed")] {
                self.event(at + after, "MIGRATION", Some(json!({"status": status})));
            }
        }
    }

    /// A backup by night; it fails if its target is full.
    fn job(&mut self, at: i64, fails: bool) {
        let length = (9 + self.random.below(14)) * MINUTE;
        if !self.take(at, length) {
            return;
        }
        let status = |status: &str| Some(json!({"status": status, "id": "backup0"}));
        self.event(at, "JOB_STATUS_CHANGE", status("created"));
        self.event(at + 60, "JOB_STATUS_CHANGE", status("running"));
        let end = at + length;
        let done: i64 = if fails { 5 << 30 } else { 8 << 30 };
        let mut completed =
            json!({"type": "backup", "device": "backup0", "len": 8_i64 << 30, "offset": done, "speed": 0});
        if fails {
            completed["error"] = json!("No space left on device");
            let data = json!({"device": "backup0", "operation": "write", "action": "report"});
            self.event(end - 40, "BLOCK_JOB_ERROR", Some(data));
            self.event(end - 30, "JOB_STATUS_CHANGE", status("aborting"));
        } else {
            self.event(end - 40, "JOB_STATUS_CHANGE", status("waiting"));
            self.event(end - 30, "JOB_STATUS_CHANGE", status("pending"));
        }
        self.event(end, "BLOCK_JOB_COMPLETED", Some(completed));
        self.event(end + 20, "JOB_STATUS_CHANGE", status("concluded"));
        self.event(end + 30, "JOB_STATUS_CHANGE", status("null"));
    }

    /// Whether a time is within the history, and has no incident and no outage near it.
    fn is_free(&self, at: i64, length: i64) -> bool {
        let (from, to) = (at - APART, at + length + APART);
        from > self.calendar.since
            && to < self.calendar.until
            && self.busy.iter().all(|(begin, end)| to < *begin || from > *end)
    }

    /// Takes a time for an incident, if it is free.
    fn take(&mut self, at: i64, length: i64) -> bool {
        let is_free = self.is_free(at, length);
        if is_free {
            self.busy.push((at, at + length));
        }
        is_free
    }

    fn event(&mut self, at: i64, name: &'static str, data: Option<Value>) {
        self.push(at, Act::Event { name, data, run_state: None });
    }

    fn change(&mut self, at: i64, name: &'static str, run_state: &'static str) {
        self.push(at, Act::Event { name, data: None, run_state: Some(run_state) });
    }

    fn push(&mut self, at: i64, act: Act) {
        self.steps.push(Step { at, act });
    }
}

#[cfg(test)]
mod tests {
    use super::super::calendar::DAY;
    use super::*;

    #[test]
    fn every_script_has_a_history_with_ordered_steps_and_valid_events() {
        let now = 1_767_323_045_000_000;
        let calendar = Calendar::new(now - 7 * DAY, now);
        for script in qmp_machine::script::bundled::SCRIPTS {
            let steps = story(script.name, 7, calendar);
            assert!(steps.len() > 100, "{}: {} steps", script.name, steps.len());
            assert!(steps.windows(2).all(|pair| pair[0].at <= pair[1].at), "{}", script.name);
            for Step { at, act } in steps {
                assert!((calendar.since..=calendar.until).contains(&at), "{}: {act:?}", script.name);
                let Act::Event { name, data, .. } = act else { continue };
                let data = data.map(|data| data.to_string());
                let found = qmp_events::validate(name, data.as_deref(), qmp_events::Release::new(11, 1));
                assert!(found.is_empty(), "{name} {data:?}: {found:?}");
            }
        }
    }
}

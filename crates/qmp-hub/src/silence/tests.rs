//! The instructions about a monitor over time, by transcripts on a clock of their own.

use std::time::Duration;

use proptest::prelude::*;
use qmp_wire::{Epoch, Seq, UnixMicros};
use tokio::time::Instant;

use super::{Check, SilenceDetector};

const SPAN: Duration = Duration::from_secs(30);

/// This host's clock at the beginning of each transcript, in seconds.
const CLOCK_S: i64 = 1_000_000;

#[test]
fn monitor_is_probed_after_the_span_and_silent_after_another() {
    let cases = [
        (
            "quiet, and answers",
            "0 attached|29 look|30 look|30 answered|59 look|60 look",
            "wait 30|probe|wait 60|probe",
        ),
        ("no answer", "0 attached|30 look|59 look|60 look", "probe|wait 60|silent since 0"),
        ("heard in time", "0 attached|20 heard|30 look|50 look", "wait 50|probe"),
        ("no answer, but events", "0 attached|30 look|40 heard|60 look", "probe|silent since 0"),
        (
            "silent until an answer",
            "0 attached|10 heard|40 look|70 look|70 recorded|71 look|80 heard|85 answered|90 look",
            "probe|silent since 10|wait 101|answers again after 75, recorded|wait 115",
        ),
        (
            "recorded as soon as there is room",
            "0 attached|30 look|60 look|61 look|61 recorded|62 look",
            "probe|silent since 0|silent since 0|wait 92",
        ),
        (
            "answers before it is recorded",
            "0 attached|30 look|60 look|60 answered",
            "probe|silent since 0|answers again after 60",
        ),
        ("detached", "0 attached|30 look|45 detached|60 look|60 answered", "probe|wait 90"),
        (
            "another epoch on the same connection",
            "0 attached|30 look|45 attached|60 look",
            "probe|silent since 0",
        ),
        ("another connection", "0 attached|30 look|40 detached|45 attached|60 look", "probe|wait 75"),
        (
            "switched off",
            "0 attached|30 look|60 look|61 disregard|62 answered|91 look",
            "probe|silent since 0|wait 92",
        ),
        ("never attached", "5 heard|5 answered|6 look", "wait 36"),
    ];
    for (name, steps, expected) in cases {
        assert_eq!(played(steps), expected, "{name}");
    }
}

#[test]
fn status_shows_a_silence_from_its_detection_to_its_end() {
    let (silence, start) = (SilenceDetector::default(), Instant::now());
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    silence.attached(None, at(0));
    silence.look(SPAN, at(30), UnixMicros(30_000_000));
    assert_eq!(silence.since(), None, "it still has time");
    silence.look(SPAN, at(60), UnixMicros(60_000_000));
    assert_eq!(silence.since(), Some(UnixMicros(0)));
    let ended = silence.answered(at(61));
    assert_eq!((ended.map(|spell| spell.since), silence.since()), (Some(UnixMicros(0)), None));
}

proptest! {
    /// A monitor that answers each probe within the span is never silent, whatever else comes from it and when.
    #[test]
    fn monitor_that_answers_is_never_silent(steps in prop::collection::vec((0u64..29_999, any::<bool>()), 1..60)) {
        let (silence, mut now) = (SilenceDetector::default(), Instant::now());
        silence.attached(None, now);
        for (pause_ms, is_event) in steps {
            let probed = silence.look(SPAN, now, UnixMicros(0)) == Check::Probe;
            now += Duration::from_millis(pause_ms);
            if is_event {
                silence.heard(now);
            }
            let look = silence.look(SPAN, now, UnixMicros(0));
            prop_assert!(!matches!(look, Check::Record(_)));
            if probed || look == Check::Probe {
                prop_assert_eq!(silence.answered(now), None);
            }
        }
    }
}

/// Plays steps (`SECONDS WHAT`) and tells what each look and each answer led to.
fn played(steps: &str) -> String {
    let (silence, start) = (SilenceDetector::default(), Instant::now());
    let mut told = Vec::new();
    for step in steps.split('|') {
        let (seconds, what) = step.split_once(' ').expect("SECONDS WHAT");
        let seconds: u64 = seconds.parse().expect("a number");
        let now = start + Duration::from_secs(seconds);
        let clock = UnixMicros((CLOCK_S + i64::try_from(seconds).expect("small")) * 1_000_000);
        match what {
            "attached" => silence.attached(None, now),
            "detached" => silence.detached(),
            "heard" => silence.heard(now),
            "recorded" => silence.recorded(Some((Epoch(1), Seq(7)))),
            "disregard" => silence.disregard(),
            "answered" => told.extend(silence.answered(now).map(|spell| {
                let recorded = if spell.is_recorded { ", recorded" } else { "" };
                format!("answers again after {}{recorded}", (now - spell.heard_at).as_secs())
            })),
            "look" => told.push(match silence.look(SPAN, now, clock) {
                Check::Wait(until) => format!("wait {}", (until - start).as_secs()),
                Check::Probe => "probe".to_owned(),
                Check::Record(spell) => format!("silent since {}", spell.since.0 / 1_000_000 - CLOCK_S),
            }),
            _ => panic!("no step {what}"),
        }
    }
    told.join("|")
}

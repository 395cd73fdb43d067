//! Rate limits by release, written by hand: the catalogue must contain the same.

use std::time::Duration;

use qmp_events::{EventKind, RELEASES, Release, catalogue};

/// Event, release, key of its limit there; `None`: not limited.
const LIMITS: &[(&str, &str, Option<Option<&str>>)] = &[
    ("RTC_CHANGE", "1.1", None),
    ("RTC_CHANGE", "1.2", Some(None)),
    ("RTC_CHANGE", "11.1", Some(None)),
    ("BALLOON_CHANGE", "1.2", Some(None)),
    ("BALLOON_CHANGE", "11.1", Some(None)),
    ("WATCHDOG", "1.1", None),
    ("WATCHDOG", "1.2", Some(None)),
    ("WATCHDOG", "11.1", Some(None)),
    ("QUORUM_FAILURE", "2.0", Some(None)),
    ("QUORUM_FAILURE", "11.1", Some(None)),
    ("QUORUM_REPORT_BAD", "2.0", Some(None)),
    ("QUORUM_REPORT_BAD", "2.5", Some(None)),
    ("QUORUM_REPORT_BAD", "2.6", Some(Some("node-name"))),
    ("QUORUM_REPORT_BAD", "11.1", Some(Some("node-name"))),
    ("VSERPORT_CHANGE", "2.1", Some(None)),
    ("VSERPORT_CHANGE", "2.4", Some(None)),
    ("VSERPORT_CHANGE", "2.5", Some(Some("id"))),
    ("VSERPORT_CHANGE", "11.1", Some(Some("id"))),
    ("MEMORY_DEVICE_SIZE_CHANGE", "5.1", Some(None)),
    ("MEMORY_DEVICE_SIZE_CHANGE", "6.1", Some(None)),
    ("MEMORY_DEVICE_SIZE_CHANGE", "6.2", Some(Some("qom-path"))),
    ("MEMORY_DEVICE_SIZE_CHANGE", "11.1", Some(Some("qom-path"))),
    ("HV_BALLOON_STATUS_REPORT", "8.2", Some(None)),
    ("HV_BALLOON_STATUS_REPORT", "11.1", Some(None)),
    ("BLOCK_IO_ERROR", "0.13", None),
    ("BLOCK_IO_ERROR", "9.1", None),
    ("BLOCK_IO_ERROR", "9.2", Some(Some("qom-path"))),
    ("BLOCK_IO_ERROR", "11.1", Some(Some("qom-path"))),
];

/// Release, whether `BLOCK_IO_ERROR` with action stop is exempt there.
const EXEMPT: &[(&str, bool)] = &[
    ("9.2", false),
    ("9.2.4", false),
    ("10.0", false),
    ("10.0.8", false),
    ("10.0.9", true),
    ("10.0.13", true),
    ("10.1", false),
    ("10.1.9", false),
    ("10.2", false),
    ("10.2.1", false),
    ("10.2.2", true),
    ("11.0", true),
    ("11.0.1", true),
    ("11.1.3", true),
];

#[test]
fn limit_of_event_is_that_of_the_release() {
    for (event, release, expected) in LIMITS {
        let throttle = EventKind::from_name(event).unwrap().desc().throttle_at(self::release(release));
        assert_eq!(throttle.map(|throttle| throttle.key), *expected, "{event} in {release}");
        let interval = throttle.map(|throttle| throttle.interval);
        assert_eq!(interval, expected.map(|_| Duration::from_secs(1)), "{event} in {release}");
    }
}

/// Only the events of the table are limited.
#[test]
fn only_listed_events_are_limited() {
    for desc in catalogue() {
        let is_limited = RELEASES.iter().any(|release| desc.throttle_at(*release).is_some());
        assert_eq!(is_limited, LIMITS.iter().any(|(event, ..)| *event == desc.name), "{}", desc.name);
    }
}

#[test]
fn block_io_error_with_stop_is_exempt() {
    let desc = EventKind::BlockIoError.desc();
    for (release, expected) in EXEMPT {
        let exempt = desc.throttle_at(self::release(release)).unwrap().exempt;
        let exempt = exempt.map(|exempt| (exempt.member, exempt.value));
        assert_eq!(exempt, expected.then_some(("action", "stop")), "{release}");
    }
}

fn release(text: &str) -> Release {
    text.parse().expect("a release")
}

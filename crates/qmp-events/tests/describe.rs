//! The descriptions of events for users and scripts.

use qmp_events::describe::{event, event_json, history, throttle_text, when_text};
use qmp_events::{EventKind, Release};
use serde_json::json;

#[test]
fn json_of_an_event_is_complete() {
    let watchdog = event_json(EventKind::Watchdog.desc(), Some(Release::new(2, 3)));
    let expected = json!({
        "name": "WATCHDOG", "module": "run-state", "since": "0.13", "removed": null, "deprecated": null,
        "unstable": false,
        "throttle": {"interval_ms": 1000, "key": null, "exempt": null, "exempt_if": null},
        "example": {
            "timestamp": {"seconds": 1_767_323_045, "microseconds": 678_001},
            "event": "WATCHDOG", "data": {"action": "reset"},
        },
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(watchdog[key], *value, "{key}");
    }
    let action = &watchdog["members"][0];
    assert_eq!((&action["name"], &action["json_type"]), (&json!("action"), &json!("string")));
    assert_eq!((&action["optional"], &action["since"]), (&json!(false), &json!("0.13")));
    assert_eq!(action["values"], json!(["reset", "shutdown", "poweroff", "pause", "debug", "none"]));
    let sequel = &watchdog["sequels"][0];
    assert_eq!((&sequel["event"], &sequel["members"]), (&json!("RESET"), &json!({"action": ["reset"]})));
    assert!(sequel["when"].as_str().unwrap().starts_with("action is reset; without -no-reboot"));
}

#[test]
fn json_keeps_the_order_of_a_message() {
    let described = event(EventKind::BlockIoError.desc(), Some(Release::stable(10, 2, 2)));
    let text = serde_json::to_string(&described).unwrap();
    assert!(text.starts_with(r#"{"name":"BLOCK_IO_ERROR","module":"block-core","since":"0.13""#), "{text}");
    assert!(text.contains(
        r#""throttle":{"interval_ms":1000,"key":"qom-path","exempt":"action is stop","exempt_if":{"action":"stop"}}"#
    ));
    assert!(
        text.contains(r#""example":{"timestamp": {"seconds": 1767323045, "microseconds": 678001}, "event""#)
    );
}

#[test]
fn members_are_those_of_the_release() {
    let names = |kind: EventKind, release: Option<Release>| -> Vec<String> {
        let members = event(kind.desc(), release).members;
        members
            .iter()
            .map(|member| format!("{}{}", member.name, if member.optional { "?" } else { "" }))
            .collect()
    };
    let cases = [
        (EventKind::Shutdown, Some("2.9"), "-"),
        (EventKind::Shutdown, Some("2.10"), "guest"),
        (EventKind::Shutdown, None, "guest reason"),
        (EventKind::BlockIoError, Some("2.11"), "device node-name operation action nospace? reason"),
        (EventKind::BlockIoError, Some("2.12"), "device node-name? operation action nospace? reason"),
        (EventKind::GuestPanicked, Some("2.8"), "action"),
        (
            EventKind::GuestPanicked,
            Some("2.9"),
            "action info? info.type info.arg1 info.arg2 info.arg3 info.arg4 info.arg5",
        ),
        (
            EventKind::NetdevStreamConnected,
            Some("7.2"),
            "netdev-id addr addr.type addr.host addr.port addr.numeric? addr.to? addr.ipv4? addr.ipv6? \
             addr.keep-alive? addr.mptcp? addr.path addr.abstract? addr.tight? addr.cid addr.str",
        ),
    ];
    for (kind, release, expected) in cases {
        let names = names(kind, release.map(|release| release.parse().unwrap()));
        assert_eq!(
            names,
            expected.split_whitespace().filter(|name| *name != "-").collect::<Vec<_>>(),
            "{kind}"
        );
    }
    let members = event(EventKind::NetdevStreamConnected.desc(), None).members;
    let port = members.iter().find(|member| member.name == "addr.port").unwrap();
    assert_eq!(port.when.as_ref().unwrap()["addr.type"], ["inet", "vsock"]);
}

#[test]
fn limits_and_conditions_are_written_as_sentences() {
    let limit = |kind: EventKind, release: &str| {
        let throttle = kind.desc().throttle_at(release.parse().unwrap());
        throttle.map_or("none".to_owned(), |throttle| throttle_text(&throttle))
    };
    insta::assert_snapshot!(limit(EventKind::VserportChange, "2.4"), @"one per second");
    insta::assert_snapshot!(limit(EventKind::VserportChange, "2.5"), @"one per second for each id");
    insta::assert_snapshot!(
        limit(EventKind::BlockIoError, "11.1"),
        @"one per second for each qom-path, not if action is stop"
    );
    let pause = EventKind::Watchdog.desc().sequels.iter().find(|sequel| sequel.event == EventKind::Stop);
    insta::assert_snapshot!(when_text(&pause.unwrap().when), @"action is pause");
}

#[test]
fn history_lists_changes_by_release() {
    let lines = |kind: EventKind| -> String {
        let history = history(kind.desc());
        history.iter().map(|change| format!("{} {}\n", change.release, change.what)).collect()
    };
    insta::assert_snapshot!(lines(EventKind::BlockIoError), @"
    0.13 event added
    2.2 member nospace added (optional)
    2.2 member reason added
    2.8 member node-name added
    2.12 member node-name may be absent
    9.2 member qom-path added
    9.2 limited to one in 1 s
    10.0.9 not limited if action is stop
    10.2.2 not limited if action is stop
    11.0 not limited if action is stop
    ");
    insta::assert_snapshot!(lines(EventKind::MemUnplugError), @"
    2.4 event added
    6.2 event deprecated
    9.1 event removed
    ");
    insta::assert_snapshot!(lines(EventKind::Shutdown), @"
    0.12 event added
    2.10 member guest added
    4.0 member reason added
    7.2 reason value snapshot-load added
    ");
}

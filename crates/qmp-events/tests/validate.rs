//! Violations found by `validate`: one row for each kind.

use proptest::prelude::*;
use qmp_events::{EventKind, RELEASES, ViolationKind, catalogue, validate};

/// Event, data, release, lines.
type Row = (&'static str, Option<&'static str>, &'static str, &'static [&'static str]);

#[test]
fn violation_of_the_event_is_reported() {
    check(&[
        ("STOP", None, "7.2", &[]),
        ("NOPE", None, "7.2", &["NOPE: unknown event"]),
        ("__COM.EXAMPLE_NOPE", Some("{}"), "7.2", &[]),
        ("a\nb", None, "7.2", &["a\\nb: unknown event"]),
        ("RESUME", None, "0.12", &["RESUME: came with QEMU 0.13, not expected from 0.12"]),
        ("DEBUG", None, "7.2", &["DEBUG: removed in QEMU 0.13, not expected from 7.2"]),
        (
            "MEM_UNPLUG_ERROR",
            Some(r#"{"device": "a"}"#),
            "9.1.0",
            &[
                "MEM_UNPLUG_ERROR: removed in QEMU 9.1, not expected from 9.1.0",
                "MEM_UNPLUG_ERROR msg: missing, but QEMU 9.1.0 always sends it",
            ],
        ),
        (
            "MIGRATION",
            Some("{}"),
            "2.3",
            &[
                "MIGRATION: came with QEMU 2.4, not expected from 2.3",
                "MIGRATION status: missing, but QEMU 2.3 always sends it",
            ],
        ),
    ]);
}

#[test]
fn violation_of_the_data_is_reported() {
    let unexpected: &[&str] = &["STOP: has data, but QEMU 7.2 sends it without"];
    check(&[
        ("STOP", Some("{}"), "7.2", unexpected),
        ("STOP", Some("null"), "7.2", unexpected),
        ("STOP", Some(r#"{"a": 1}"#), "7.2", unexpected),
        ("SHUTDOWN", None, "2.9", &[]),
        ("SHUTDOWN", None, "2.10", &["SHUTDOWN: has no data, but QEMU 2.10 sends guest"]),
        ("SHUTDOWN", Some("null"), "7.2", &["SHUTDOWN: has no data, but QEMU 7.2 sends guest, reason"]),
        (
            "SHUTDOWN",
            Some(r#"{"guest": true}"#),
            "2.9",
            &["SHUTDOWN: has data, but QEMU 2.9 sends it without"],
        ),
        ("SHUTDOWN", Some("[]"), "7.2", &["SHUTDOWN: expected an object, found an array"]),
        (
            "SHUTDOWN",
            Some("{"),
            "7.2",
            &["SHUTDOWN: not readable: EOF while parsing an object at line 1 column 1"],
        ),
    ]);
}

#[test]
fn violation_of_a_member_is_reported() {
    check(&[
        ("SHUTDOWN", Some(r#"{"guest": true, "reason": "guest-shutdown"}"#), "7.2", &[]),
        (
            "SHUTDOWN",
            Some(r#"{"guest": true}"#),
            "7.2",
            &["SHUTDOWN reason: missing, but QEMU 7.2 always sends it"],
        ),
        (
            "SHUTDOWN",
            Some(r#"{"guest": true, "reason": "guest-shutdown"}"#),
            "3.1",
            &["SHUTDOWN reason: came with QEMU 4.0, not expected from 3.1"],
        ),
        (
            "SHUTDOWN",
            Some(r#"{"guest": 1, "reason": "guest-sleep"}"#),
            "4.0",
            &[
                "SHUTDOWN guest: expected a boolean, found an integer",
                "SHUTDOWN reason: unknown value \"guest-sleep\", QEMU 4.0 has none, host-error, host-qmp-quit, \
                 host-qmp-system-reset, host-signal, host-ui, guest-shutdown, guest-reset, guest-panic, \
                 subsystem-reset",
            ],
        ),
        (
            "SHUTDOWN",
            Some(r#"{"guest": false, "reason": "snapshot-load"}"#),
            "7.1.0",
            &["SHUTDOWN reason: value snapshot-load came with QEMU 7.2, not expected from 7.1.0"],
        ),
        (
            "RESET",
            Some(
                r#"{"a\u0000": 1, "guest": false, "guest": true, "reason": "host-ui", "__x": 1, "guest": 1}"#,
            ),
            "7.2",
            &["RESET a\\0: unknown member", "RESET guest: there more than once"],
        ),
        (
            "DEVICE_DELETED",
            Some(r#"{"device": null, "path": "\ud800"}"#),
            "7.2",
            &[
                "DEVICE_DELETED device: expected a string, found null",
                "DEVICE_DELETED path: not readable: unexpected end of hex escape at line 1 column 8",
            ],
        ),
        (
            "MIGRATION_PASS",
            Some(r#"{"pass": 1.0}"#),
            "7.2",
            &["MIGRATION_PASS pass: expected an integer, found a number with a fraction or exponent"],
        ),
        (
            "BALLOON_CHANGE",
            Some(r#"{"actual": 9223372036854775808}"#),
            "7.2",
            &["BALLOON_CHANGE actual: out of range of int: -9223372036854775808 to 9223372036854775807"],
        ),
    ]);
}

#[test]
fn violation_of_a_nested_member_is_reported() {
    check(&[
        (
            "GUEST_PANICKED",
            Some(
                r#"{"action": "pause", "info": {"arg1": 1, "type": "s390", "core": -1, "psw-mask": 0,
                "psw-addr": 18446744073709551615, "reason": "unknown", "odd": 1}}"#,
            ),
            "7.2",
            &[
                "GUEST_PANICKED info.core: out of range of uint32: 0 to 4294967295",
                "GUEST_PANICKED info.arg1: not expected here: belongs to hyper-v",
                "GUEST_PANICKED info.odd: unknown member",
            ],
        ),
        (
            "GUEST_PANICKED",
            Some(r#"{"action": "pause", "info": {"type": "tdx", "error-code": 1, "message": ""}}"#),
            "10.0",
            &["GUEST_PANICKED info.type: value tdx came with QEMU 10.1, not expected from 10.0"],
        ),
        (
            "GUEST_PANICKED",
            Some(r#"{"action": "pause", "info": {"type": "zx", "x": 1}}"#),
            "2.12",
            &["GUEST_PANICKED info.type: unknown value \"zx\", QEMU 2.12 has hyper-v, s390"],
        ),
        (
            "GUEST_PANICKED",
            Some(r#"{"action": "pause", "info": {}}"#),
            "7.2",
            &["GUEST_PANICKED info.type: missing, but QEMU 7.2 always sends it"],
        ),
        (
            "ACPI_DEVICE_OST",
            Some(r#"{"slot": "0", "info": []}"#),
            "7.2",
            &[
                "ACPI_DEVICE_OST info: expected an object, found an array",
                "ACPI_DEVICE_OST slot: unknown member",
            ],
        ),
        (
            "BLOCK_IO_ERROR",
            Some(r#"{"device": "", "operation": "read", "action": "stop", "reason": ""}"#),
            "2.11",
            &["BLOCK_IO_ERROR node-name: missing, but QEMU 2.11 always sends it"],
        ),
    ]);
}

#[test]
fn broken_rule_is_reported() {
    let cases = [
        (r#"{"guest": true, "reason": "guest-reset"}"#, 0),
        (r#"{"guest": false, "reason": "host-qmp-system-reset"}"#, 0),
        (r#"{"guest": false, "reason": "guest-reset"}"#, 1),
        (r#"{"guest": true, "reason": "host-qmp-system-reset"}"#, 1),
        (r#"{"guest": true, "reason": "of-tomorrow"}"#, 0),
    ];
    for (data, expected) in cases {
        let found = validate("RESET", Some(data), "7.2".parse().unwrap());
        let rules = found.iter().filter(|one| matches!(one.kind, ViolationKind::Inconsistent { .. }));
        assert_eq!(rules.count(), expected, "{data}: {found:?}");
    }
    let found = validate("RESET", Some(cases[2].0), "7.2".parse().unwrap());
    assert!(found[0].to_string().starts_with("RESET guest: must hold where reason is "), "{}", found[0]);
}

proptest! {
    /// Any JSON is validated, each violation in one line.
    #[test]
    fn any_json_is_validated(index in 0..catalogue().len(), data in json(), release in 0..RELEASES.len()) {
        for violation in validate(catalogue()[index].name, Some(&data), RELEASES[release]) {
            prop_assert!(!violation.to_string().contains('\n'));
        }
    }

    /// Text that is not JSON is a violation.
    #[test]
    fn invalid_json_is_a_violation(data in "\\PC*", nested in 0usize..100_000) {
        let deep = "[".repeat(nested);
        for data in [data, format!("{{\"guest\": {deep}")] {
            let is_json = serde_json::from_str::<&serde_json::value::RawValue>(&data).is_ok();
            let found = validate(EventKind::Shutdown.name(), Some(&data), RELEASES[0]);
            prop_assert!(is_json || !found.is_empty());
        }
    }
}

/// An object with members of the catalogue and others, of any JSON.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        any::<f32>().prop_map(|value| serde_json::json!(value).to_string()),
        "[a-z\\-\\\\\"\n]{0,8}".prop_map(|value| serde_json::json!(value).to_string()),
        Just("\"pause\"".to_owned()),
        Just("\"hyper-v\"".to_owned()),
        Just("\"\\ud800\"".to_owned()),
    ];
    let name = prop_oneof!["info|type|action|reason|guest|server|client|addr|family|arg1", "[a-z_\\-]{1,6}"];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec((name.clone(), inner.clone()), 0..6).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
                format!("{{{}}}", members.join(", "))
            }),
            prop::collection::vec(inner, 0..3).prop_map(|elements| format!("[{}]", elements.join(","))),
        ]
    })
}

fn check(rows: &[Row]) {
    for (event, data, release, expected) in rows {
        let found = validate(event, *data, release.parse().expect("a release"));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, *expected, "{event} {data:?} {release}");
    }
}

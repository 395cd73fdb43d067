//! Decoding loses nothing, and no input causes a panic.

use proptest::prelude::*;
use qmp_events::introspection::{Schema, SchemaError, compare};
use qmp_events::{DeviceDeleted, Event, Release, ShutdownCause, WatchdogAction, catalogue};
use serde_json::value::RawValue;

/// Event, data, encoded data.
#[test]
fn unknown_parts_are_kept() {
    let cases = [
        ("OF_TOMORROW", Some(r#"{"a": 1.10}"#), Some(r#"{"a": 1.10}"#)),
        ("OF_TOMORROW", Some("null"), Some("null")),
        ("OF_TOMORROW", None, None),
        ("STOP", Some(r#"{"a": [1,  2]}"#), Some(r#"{"a":[1,  2]}"#)),
        ("STOP", Some("null"), None),
        ("STOP", Some("{}"), None),
        ("SHUTDOWN", None, None),
        ("SHUTDOWN", Some(" null "), None),
        ("WATCHDOG", None, None),
        ("WATCHDOG", Some("null"), Some("null")),
        ("WATCHDOG", Some("{}"), Some("{}")),
        ("WATCHDOG", Some(r#"{"action": "self-destruct"}"#), Some(r#"{"action":"self-destruct"}"#)),
        ("WATCHDOG", Some(r#"{"action": 7}"#), Some(r#"{"action": 7}"#)),
        (
            "WATCHDOG",
            Some(r#"{"action":"none","action":"none"}"#),
            Some(r#"{"action":"none","action":"none"}"#),
        ),
        (
            "BALLOON_CHANGE",
            Some(r#"{"actual":9223372036854775808}"#),
            Some(r#"{"actual":9223372036854775808}"#),
        ),
        (
            "BALLOON_CHANGE",
            Some(r#"{"b":18446744073709551616,"actual":-9223372036854775808,"a":1e400,"b":null}"#),
            Some(r#"{"actual":-9223372036854775808,"b":18446744073709551616,"a":1e400,"b":null}"#),
        ),
        (
            "GUEST_PANICKED",
            Some(
                r#"{"info":{"arg1":18446744073709551615,"arg2":2,"arg3":3,"arg4":4,"arg5":5,"x":{},"type":"hyper-v"},"action":"run"}"#,
            ),
            Some(
                r#"{"action":"run","info":{"type":"hyper-v","arg1":18446744073709551615,"arg2":2,"arg3":3,"arg4":4,"arg5":5,"x":{}}}"#,
            ),
        ),
        (
            "GUEST_PANICKED",
            Some(r#"{"action":"run","info":{"a":1,"type":"zx","b":2}}"#),
            Some(r#"{"action":"run","info":{"type":"zx","a":1,"b":2}}"#),
        ),
        (
            "GUEST_PANICKED",
            Some(r#"{"action":"run","info":{"a":1}}"#),
            Some(r#"{"action":"run","info":{"a":1}}"#),
        ),
        ("DEVICE_DELETED", Some(r#"{"path":"\ud800"}"#), Some(r#"{"path":"\ud800"}"#)),
        ("DEVICE_DELETED", Some(r#"{"device":null,"path":""}"#), Some(r#"{"device":null,"path":""}"#)),
    ];
    for (name, data, expected) in cases {
        let event = Event::decode(name, data).unwrap();
        assert_eq!(event.name(), name);
        assert_eq!(event.encode_data().as_deref(), expected, "{name} {data:?}");
    }
}

#[test]
fn known_parts_are_typed() {
    let decode = |name, data| Event::decode(name, data).unwrap();
    let Event::Shutdown(shutdown) = decode("SHUTDOWN", None) else { panic!() };
    assert_eq!((shutdown.guest, shutdown.reason), (None, None));
    let Event::Shutdown(shutdown) = decode("SHUTDOWN", Some(r#"{"reason": "host-ui", "x": 1}"#)) else {
        panic!()
    };
    assert_eq!((shutdown.guest, shutdown.reason), (None, Some(ShutdownCause::HostUi)));
    assert_eq!(shutdown.unknown.get("x").unwrap().get(), "1");
    let Event::Watchdog(watchdog) = decode("WATCHDOG", Some(r#"{"action": "x"}"#)) else { panic!() };
    assert_eq!(watchdog.action, WatchdogAction::Other("x".into()));
    assert!(matches!(decode("STOP", Some("null")), Event::Stop(members) if members.is_empty()));
    assert!(matches!(decode("WATCHDOG", None), Event::Undecodable { data: None, .. }));
}

/// The types work with `serde_json` alone, too.
#[test]
fn types_work_with_serde_json() {
    let text = r#"[{"path":"a","x":18446744073709551615},{"path":"b","device":"c"}]"#;
    let deleted: Vec<DeviceDeleted> = serde_json::from_str(text).unwrap();
    assert_eq!(deleted[1].device.as_deref(), Some("c"));
    let mut created = DeviceDeleted::new("b".into());
    created.device = Some("c".into());
    assert_eq!(deleted[1], created);
    let expected = r#"[{"path":"a","x":18446744073709551615},{"path":"b","device":"c"}]"#;
    assert_eq!(serde_json::to_string(&deleted).unwrap(), expected);
    let error = serde_json::from_str::<DeviceDeleted>("{}").unwrap_err();
    assert!(error.to_string().starts_with("does not fit DeviceDeleted"), "{error}");
}

#[test]
fn invalid_json_is_refused() {
    for name in ["STOP", "WATCHDOG", "OF_TOMORROW"] {
        for data in ["", "{", "{}}", "nul", "{\"action\": tru}", "\u{a0}{}"] {
            assert!(Event::decode(name, Some(data)).is_err(), "{name} {data}");
        }
    }
}

#[test]
fn schema_beyond_the_limits_is_refused() {
    let chain = |length: usize, members: usize| {
        let mut entries = vec![r#"{"name":"STOP","meta-type":"event","arg-type":"0"}"#.to_owned()];
        for index in 0..length {
            let member = |member| format!(r#"{{"name":"m{member}","type":"{}"}}"#, index + 1);
            let members: Vec<String> = (0..members).map(member).collect();
            let members = members.join(",");
            entries.push(format!(r#"{{"name":"{index}","meta-type":"object","members":[{members}]}}"#));
        }
        entries.push(format!(r#"{{"name":"{length}","meta-type":"object","members":[]}}"#));
        format!("[{}]", entries.join(","))
    };
    let parse = |text: &str| Schema::parse(text).map(|schema| schema.events().count());
    assert_eq!(parse(&chain(20, 1)).unwrap(), 1);
    assert!(matches!(parse(&chain(40, 1)), Err(SchemaError::TooDeep { .. })));
    assert!(matches!(parse(&chain(20, 2)), Err(SchemaError::TooManyMembers)));
    let itself = r#"[{"name":"STOP","meta-type":"event","arg-type":"0"},
        {"name":"0","meta-type":"object","members":[{"name":"me","type":"0"},{"name":"us","type":"[0]"}],
         "tag":"me","variants":[{"case":"x","type":"1"}]},
        {"name":"1","meta-type":"object","members":[{"name":"back","type":"0"}]},
        {"name":"[0]","meta-type":"array","element-type":"0"}]"#;
    assert_eq!(parse(itself).unwrap(), 1);
    let endless_list = r#"[{"name":"STOP","meta-type":"event","arg-type":"0"},
        {"name":"0","meta-type":"object","members":[{"name":"us","type":"[0]"}]},
        {"name":"[0]","meta-type":"array","element-type":"[0]"}]"#;
    assert!(matches!(parse(endless_list), Err(SchemaError::TooDeep { .. })));
    let endless_union = r#"[{"name":"STOP","meta-type":"event","arg-type":"0"},
        {"name":"0","meta-type":"object","members":[],"variants":[{"case":"x","type":"0"}]}]"#;
    assert!(matches!(parse(endless_union), Err(SchemaError::TooDeep { .. })));
    let dangling = r#"[{"name":"STOP","meta-type":"event","arg-type":"9"}]"#;
    assert!(matches!(parse(dangling), Err(SchemaError::UndefinedType { .. })));
    let nothing = r#"[{"name":"STOP","meta-type":"event"}]"#;
    assert!(matches!(parse(nothing), Err(SchemaError::UndefinedType { .. })));
    let twice = r#"[{"name":"0","meta-type":"object","members":[]},{"name":"0","meta-type":"object"}]"#;
    assert!(matches!(parse(twice), Err(SchemaError::DefinedTwice { .. })));
    let long = format!(r#"[{{"name":"{}","meta-type":"command"}}]"#, "A".repeat(300));
    assert!(matches!(parse(&long), Err(SchemaError::NameTooLong)));
    assert!(matches!(parse("{}"), Err(SchemaError::NotASchema(_))));
}

/// An example with one more member, and possibly one string replaced.
fn changed_example() -> impl Strategy<Value = (&'static str, String)> {
    let examples: Vec<(&str, &str)> = catalogue()
        .iter()
        .flat_map(|desc| desc.examples.iter().map(|example| (desc.name, *example)))
        .collect();
    let value = prop_oneof![
        any::<u64>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        "[0-9]{1,30}\\.[0-9]{1,30}".prop_map(|value| value.trim_start_matches('0').to_owned()),
        Just("{\"a\" : [null, \"\\ud800\"]}".to_owned()),
        "\\PC{0,8}".prop_map(|value| serde_json::json!(value).to_string()),
    ];
    let parts = (0..examples.len(), "[a-z_]{1,3}-[a-z]{1,6}", value, any::<Option<(usize, u32)>>());
    parts.prop_map(move |(index, name, value, replaced)| {
        let (event, example) = examples[index];
        let mut texts: Vec<String> = example.split(": \"").map(str::to_owned).collect();
        if let Some((index, text)) = replaced.filter(|_| texts.len() > 1) {
            let count = texts.len() - 1;
            let tail = &mut texts[1 + index % count];
            *tail = format!("v{text}{}", &tail[tail.find('"').expect("the end of a string")..]);
        }
        let example = texts.join(": \"");
        let value = if value.starts_with('.') { "0".to_owned() + &value } else { value };
        (event, format!("{{\"{name}\": {value}, {}", &example[1..]))
    })
}

proptest! {
    /// An unknown member, value or number survives decoding and encoding.
    #[test]
    fn changed_example_survives((name, data) in changed_example()) {
        let event = Event::decode(name, Some(&data)).unwrap();
        let encoded = event.encode_data().unwrap();
        prop_assert_eq!(sorted(&encoded), sorted(&data));
        prop_assert_eq!(Event::decode(name, Some(&encoded)).unwrap(), event);
    }

    /// Any text is decoded or refused without a panic; any JSON is decoded.
    #[test]
    fn any_text_does_not_panic(index in 0..catalogue().len(), data in "\\PC*") {
        let name = catalogue()[index].name;
        let is_json = serde_json::from_str::<&RawValue>(&data).is_ok();
        prop_assert_eq!(Event::decode(name, Some(&data)).is_ok(), is_json);
    }

    /// A schema with changed bytes is parsed or refused, and a parsed one can be compared.
    #[test]
    fn any_schema_does_not_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), 32u8..127), 0..4)) {
        let mut schema = include_str!("schemas/7.2.json").as_bytes().to_vec();
        for (index, byte) in changes {
            let index = index.index(schema.len());
            schema[index] = byte;
        }
        if let Ok(schema) = Schema::parse(&String::from_utf8(schema).unwrap()) {
            compare(&schema, Release::new(7, 2));
        }
    }
}

/// Returns the text with the members of all objects sorted, and every other value unchanged.
fn sorted(text: &str) -> String {
    let raw: &RawValue = serde_json::from_str(text).expect("JSON");
    if !raw.get().starts_with('{') {
        return raw.get().to_owned();
    }
    let members: Result<std::collections::BTreeMap<String, &RawValue>, _> = serde_json::from_str(raw.get());
    let Ok(members) = members else { return raw.get().to_owned() };
    let members = members.iter().map(|(name, value)| format!("{name:?}:{}", sorted(value.get())));
    members.collect::<Vec<_>>().join(",")
}

//! Names, identifiers and numbers of the embedder that have no valid form on the wire.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{collections::BTreeMap, io::ErrorKind};

use qmp_server::{
    Command, EmitOutcome, Monitor, NamedEvent, NoArguments, ObjectType, TextEvent, Type, Validation,
};
use support::machine::client;

const INVALID: [&str; 13] = [
    "",
    "stop",
    "Stop",
    "STOP\n",
    "STOP\"",
    "STOP\\",
    "ST OP",
    "1STOP",
    "STÖP",
    "__org.example_level",
    "__org.example_",
    "__LEVEL",
    "___LEVEL",
];

#[test]
fn event_with_an_invalid_name_is_not_built() {
    for name in INVALID {
        let built = Monitor::builder(9, 2, 0).event(name, ObjectType::default()).build();
        let error = built.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}");
        assert!(error.to_string().starts_with(&format!("invalid name of an event: {name:?}")), "{error}");
    }
    for name in ["LEVEL", "LEVEL_2", "__org.example_LEVEL", "__io.github.qmp-events_EVENTS_DROPPED"] {
        assert!(Monitor::builder(9, 2, 0).event(name, ObjectType::default()).build().is_ok(), "{name}");
    }
}

#[test]
fn event_with_an_invalid_name_is_not_emitted() {
    for validation in [Validation::Off, Validation::Count, Validation::Refuse] {
        let builder = Monitor::builder(9, 2, 0).any_event(true).validation(validation);
        let mut monitor = builder.build().unwrap();
        let mut client = client(&mut monitor);
        for name in INVALID {
            let emitted = monitor.emitter().emit(&NamedEvent { name, data: () });
            assert_eq!(emitted, EmitOutcome::InvalidName, "{name:?}");
        }
        monitor.process().unwrap();
        assert_eq!(client.lines_now(), [""; 0], "{validation:?}");
        let long = format!("X{}", "Y".repeat(300));
        for name in ["OF_TOMORROW", "__org.example_LEVEL", &long] {
            assert_eq!(
                monitor.emitter().emit(&TextEvent { name, data: None }),
                EmitOutcome::Queued,
                "{name}"
            );
        }
    }
}

#[test]
fn invalid_uuid_is_not_built() {
    for uuid in ["", "x", "\"", "6ba7b810-9dad-11d1-80b4-00c04fd430c8\n", "6ba7b8109dad11d180b400c04fd430c8"]
    {
        let error = Monitor::builder(9, 2, 0).uuid(uuid).build().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{uuid:?}");
    }
    assert!(Monitor::builder(9, 2, 0).uuid("6BA7B810-9dad-11d1-80b4-00c04fd430c8").build().is_ok());
}

#[test]
fn number_that_json_does_not_have_is_sent_as_null() {
    let ty = || ObjectType::default().required("share", Type::Number);
    for validation in [Validation::Off, Validation::Count, Validation::Refuse] {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let command =
                Command::new("query-share").returns(ObjectType::new("Share").required("share", Type::Number));
            let builder = Monitor::builder(9, 2, 0).validation(validation).on_invalid(|_| {});
            let builder = builder.event("__org.example_SHARE", ty());
            let command = command.run(move |NoArguments {}| Ok(BTreeMap::from([("share", number)])));
            let mut monitor = builder.command(command).build().unwrap();
            let mut client = client(&mut monitor);
            let data = BTreeMap::from([("share", number)]);
            let emitted = monitor.emitter().emit(&NamedEvent { name: "__org.example_SHARE", data });
            client.send(r#"{"execute":"query-share"}"#);
            monitor.process().unwrap();
            let lines = client.lines_now();
            for line in &lines {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
            if validation == Validation::Refuse {
                assert_eq!((emitted, lines.len()), (EmitOutcome::Invalid, 1));
                assert!(lines[0].contains("GenericError"));
            } else {
                assert_eq!((emitted, lines.len()), (EmitOutcome::Queued, 2));
                assert!(lines[0].ends_with(r#""data": {"share": null}}"#), "{lines:?}");
                assert_eq!(lines[1], r#"{"return": {"share": null}}"#);
            }
            let counted = if validation == Validation::Off { 0 } else { 2 };
            assert_eq!(monitor.stats().invalid, counted, "{validation:?}");
        }
    }
}

//! Tests every example of the catalogue.

use qmp_events::describe::{self, example_data};
use qmp_events::introspection::{Schema, compare, schema_json};
use qmp_events::{Event, EventKind, RELEASES, Release, catalogue, validate};
use serde_json::Value;

#[test]
fn example_is_valid_for_the_newest_release() {
    for desc in catalogue() {
        for example in desc.examples {
            let violations = validate(desc.name, Some(example), desc.newest_release());
            assert!(violations.is_empty(), "{} {example}: {}", desc.name, violations[0]);
        }
        if desc.members.is_empty() {
            assert_eq!(validate(desc.name, None, desc.newest_release()), [], "{}", desc.name);
        }
    }
}

#[test]
fn example_survives_decoding_and_encoding() {
    for desc in catalogue() {
        for example in desc.examples {
            let event = Event::decode(desc.name, Some(example)).unwrap();
            assert!(!matches!(event, Event::Undecodable { .. }), "{} {example}", desc.name);
            assert_eq!((event.name(), event.kind()), (desc.name, Some(desc.kind)));
            let encoded = event.encode_data().unwrap();
            assert_eq!(value(&encoded), value(example), "{}", desc.name);
            assert_eq!(Event::decode(desc.name, Some(&encoded)).unwrap(), event);
        }
        if desc.members.is_empty() {
            let event = Event::decode(desc.name, None).unwrap();
            assert_eq!((event.name(), event.encode_data()), (desc.name, None));
        }
    }
}

/// The message that each release would send is valid for it and survives decoding and encoding.
#[test]
fn example_message_fits_every_release() {
    for desc in catalogue() {
        for release in RELEASES {
            let data = example_data(desc, *release);
            if desc.exists_in(*release) {
                let data = data.unwrap_or_else(|| panic!("no example of {} fits {release}", desc.name));
                assert_eq!(validate(desc.name, data.as_deref(), *release), [], "{} {data:?}", desc.name);
                let event = Event::decode(desc.name, data.as_deref()).unwrap();
                assert!(!matches!(event, Event::Undecodable { .. }), "{} in {release}", desc.name);
            }
            for example in desc.examples {
                let is_invalid = !validate(desc.name, Some(example), *release).is_empty();
                assert!(is_invalid || desc.exists_in(*release), "{} in {release}", desc.name);
            }
        }
    }
}

#[test]
fn description_is_complete() {
    for release in RELEASES.iter().copied().map(Some).chain([None]) {
        let events = describe::events(release);
        let expected =
            catalogue().iter().filter(|desc| release.is_none_or(|release| desc.exists_in(release)));
        assert_eq!(events.len(), expected.count());
        for event in events {
            let example: Value = serde_json::from_str(event.example.as_ref().unwrap().get()).unwrap();
            assert_eq!(example["event"], event.name);
            let mut names: Vec<&str> = event.members.iter().map(|member| &*member.name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{}: {names:?}", event.name);
            assert_eq!(example.get("data").is_some(), !names.is_empty(), "{} {release:?}", event.name);
        }
    }
}

/// The introspection written for a release equals the catalogue at that release, and at no other.
#[test]
fn written_introspection_equals_the_catalogue() {
    let schemas: Vec<Schema> =
        RELEASES.iter().map(|release| Schema::parse(&schema_json(*release)).unwrap()).collect();
    for (schema, release) in schemas.iter().zip(RELEASES) {
        let differences = compare(schema, *release);
        assert!(differences.is_empty(), "{release}: {}", differences[0]);
        let events = catalogue().iter().filter(|desc| desc.exists_in(*release)).count();
        assert_eq!(schema.events().count(), events);
    }
    let (before, after) = (Release::new(2, 9), Release::new(2, 10));
    let index = RELEASES.iter().position(|release| *release == before).unwrap();
    assert!(compare(&schemas[index], after).iter().any(|difference| difference.path == "guest"));
}

#[test]
fn kind_and_name_convert_to_each_other() {
    for (index, desc) in catalogue().iter().enumerate() {
        assert_eq!(EventKind::from_name(desc.name), Some(desc.kind));
        assert_eq!((desc.kind.name(), desc.kind as usize), (desc.name, index));
    }
    for name in ["", "STOPP", "stop", "STOQ", "NETDEV_STREAM_DISCONNECTED_"] {
        assert_eq!(EventKind::from_name(name), None, "{name}");
    }
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

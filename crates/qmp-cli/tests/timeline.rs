//! `qmp timeline` against a hub and against its journal.

mod support;

use std::fs;

use support::{World, run};

#[test]
fn hub_and_file_give_the_same_picture_and_the_same_trace() {
    let world = World::start();
    for command in ["stop", "cont", "stop"] {
        let ran = world.run(&["exec", "web1", command]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let (since, until) = (format!("@{}", now - 600), format!("@{}", now + 600));
    let home = world.home.path();
    let path = |name: &str| home.join(name).display().to_string();
    let drawn = |name: &str, more: &[&str]| {
        let (svg, trace) = (path(&format!("{name}.svg")), path(&format!("{name}.json")));
        let arguments =
            ["timeline", "--svg", &svg, "--perfetto", &trace, "--since", &since, "--until", &until];
        let ran = run(home, &[&arguments[..], more].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stderr.contains(&format!("{svg}: 1 VM, ")), "{ran:?}");
        (fs::read_to_string(svg).expect("a picture"), fs::read_to_string(trace).expect("a trace"))
    };
    let (picture, trace) = drawn("hub", &[]);
    // The changes before are joined: they lie within one second.
    assert!(picture.contains("<title>paused, since ") && picture.contains("<title>STOP, "), "{picture}");
    let value: serde_json::Value = serde_json::from_str(&trace).expect("JSON");
    let events = value["traceEvents"].as_array().expect("events");
    assert!(events.iter().any(|event| event["args"]["run_state"] == "paused"), "{trace}");
    assert_eq!(events.iter().filter(|event| event["name"] == "STOP").count(), 2, "{trace}");
    assert_eq!(drawn("file", &["--journal", &path("journal.db")]), (picture.clone(), trace));
    let printed = run(home, &["timeline", "--svg", "-", "--since", &since, "--until", &until]);
    assert_eq!((printed.code, printed.stdout), (Some(0), picture));
}

#[test]
fn file_that_cannot_be_written_is_an_error() {
    let world = World::start();
    let ran = world.run(&["timeline", "--svg", "/nonexistent/a.svg"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("cannot write /nonexistent/a.svg"), "{ran:?}");
    let ran = world.run(&["timeline"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("--svg <FILE>|--perfetto <FILE>"), "{ran:?}");
    let path = world.home.path().join("a");
    let path = path.to_str().expect("UTF-8");
    for (svg, trace) in [(path.to_owned(), path.to_owned()), (path.replace("/a", "/./a"), path.to_owned())] {
        let ran = world.run(&["timeline", "--svg", &svg, "--perfetto", &trace]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains("--svg and --perfetto write the same file"), "{ran:?}");
    }
    assert!(!std::path::Path::new(path).exists());
}

#[test]
fn name_without_a_record_is_noted() {
    let world = World::start();
    let file = world.home.path().join("journal.db").display().to_string();
    for command in [&["timeline", "--svg", "-"][..], &["stats"], &["log"]] {
        for source in [&[][..], &["--journal", &file]] {
            let note = |name: &str| {
                let ran = world.run(&[command, source, &["--vm", name]].concat());
                assert_eq!(ran.code, Some(0), "{ran:?}");
                ran.stderr
            };
            let unknown = note("wbe1");
            let expected = "note: the journal has no VM wbe1; did you mean web1?";
            assert!(unknown.contains(expected), "{command:?} {source:?}: {unknown}");
            assert!(!note("web1").contains("has no VM") && !note("nothere*").contains("has no VM"));
        }
    }
}

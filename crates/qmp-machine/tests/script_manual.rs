//! The manual of scripts: its examples run, and it lists every key.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

use std::time::Duration;

use qmp_machine::script::{Player, Script};
use qmp_machine::{Machine, MachineConfig};

const MANUAL: &str = include_str!("../../../docs/scripts.md");

/// Returns the examples of the manual, each with its first line.
fn examples() -> Vec<(usize, String)> {
    let (mut examples, mut open) = (Vec::new(), None);
    for (number, line) in (1..).zip(MANUAL.lines()) {
        match (&mut open, line) {
            (None, "```toml") => open = Some((number, String::new())),
            (Some(_), "```") => examples.extend(open.take()),
            (Some((_, text)), line) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {}
        }
    }
    examples
}

#[test]
fn manual_example_runs() {
    let examples = examples();
    assert_eq!(examples.len(), 4, "number of examples in the manual");
    for (line, text) in examples {
        let script = Script::parse("example", &text).unwrap_or_else(|error| panic!("line {line}: {error}"));
        let mut config = MachineConfig::default();
        script.machine.apply(&mut config);
        let running = Machine::start(config).unwrap_or_else(|error| panic!("line {line}: {error}"));
        let mut player = Player::new(&script, 1, 1.0);
        let refused = player.play_for(&running, Duration::from_secs(300)).unwrap();
        assert!(refused.is_empty(), "line {line}: {refused:#?}");
        assert!(running.stats().emitted > 0, "line {line}: no event");
    }
}

/// The error about an unknown key lists the known ones: the manual has to list the same.
#[test]
fn manual_lists_every_key() {
    let tables = [
        ("script", "qqqqqqqqqqqqqqqqq = 1"),
        ("machine", "[machine]\nqqqqqqqqqqqqqqqqq = 1"),
        ("step", "[[step]]\nqqqqqqqqqqqqqqqqq = 1"),
        ("part", "[[step]]\nsequence = [{ qqqqqqqqqqqqqqqqq = 1 }]"),
        ("fault", "[[fault]]\nkind = 'drop'\nqqqqqqqqqqqqqqqqq = 1"),
        ("kind of fault", "[[fault]]\nkind = 'qqqqqqqqqqqqqqqqq'"),
    ];
    for (table, text) in tables {
        let error = Script::parse("s", text).unwrap_err().to_string();
        let (_, keys) = error.split_once("known here: ").unwrap_or_else(|| panic!("{table}: {error}"));
        assert!(!keys.contains('…'), "{table}: not all are named: {keys}");
        for key in keys.lines().next().unwrap_or_default().split(", ") {
            let is_named =
                [format!("`{key}`"), format!("`{key} = "), format!("`[{key}]`"), format!("`[[{key}]]`")]
                    .iter()
                    .any(|form| MANUAL.contains(form.as_str()));
            assert!(is_named, "{table}: {key} is not in the manual");
        }
    }
}

//! The conditions in help and manual name members that exist in events and findings.

mod support;

use std::path::Path;

use qmp_hub::conditions::RecordSelection;
use qmp_journal::{Globs, RecordKind};
use support::{directory, run};

/// The pages with their names.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let manual =
        std::fs::read_dir(root.join("docs")).expect("the manual").map(|file| file.expect("a file").path());
    let files =
        manual.chain([root.join("README.md"), root.join("dist/hub.toml")]).filter(|path| path.is_file());
    let mut pages: Vec<(String, String)> = files
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).expect("text")))
        .collect();
    let home = directory();
    for command in ["log", "tail", "wait"] {
        pages.push((format!("qmp {command} --help"), run(home.path(), &[command, "--help"]).stdout));
    }
    pages
}

/// The words of a command line, without quotes.
fn words(line: &str) -> Vec<String> {
    line.split_whitespace()
        .map(|word| word.trim_matches(['\'', '"', '`', ';', '.', ',']).to_owned())
        .collect()
}

/// The values of an option.
fn values<'w>(words: &'w [String], option: &str) -> Vec<&'w str> {
    words.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].as_str()).collect()
}

/// The warnings about the conditions of a command line; `None` if it has no conditions.
fn of_command(line: &str) -> Option<Vec<String>> {
    let words = words(line);
    let is_example =
        |value: &&str| value.contains('=') && !value.trim_start_matches('<').starts_with("PATH=");
    let wheres: Vec<&str> = values(&words, "--where").into_iter().filter(is_example).collect();
    if wheres.is_empty() {
        return None;
    }
    let mut events = values(&words, "--event");
    let wait = words.windows(2).position(|pair| pair[0] == "qmp" && pair[1] == "wait");
    events.extend(
        wait.and_then(|at| words.get(at + 3)).map(String::as_str).filter(|word| !word.starts_with('-')),
    );
    Some(doubts(&events, &values(&words, "--finding"), &values(&words, "--kind"), &wheres))
}

/// The warnings about the conditions of a rule; `None` if it has no conditions.
fn of_rule(rule: &str) -> Option<Vec<String>> {
    let of = |key: &str| -> Vec<&str> {
        let lines = rule.lines().filter_map(|line| line.trim_start_matches('#').split_once('='));
        let mut values = lines.filter(|(name, _)| name.trim() == key);
        values.next().map(|(_, value)| value.split('"').skip(1).step_by(2).collect()).unwrap_or_default()
    };
    let wheres = of("where");
    (!wheres.is_empty()).then(|| doubts(&of("event"), &of("finding"), &of("kind"), &wheres))
}

fn doubts(events: &[&str], findings: &[&str], kinds: &[&str], wheres: &[&str]) -> Vec<String> {
    let globs = |names: &[&str]| (!names.is_empty()).then(|| Globs::parse(names).expect("patterns"));
    let (event, finding) = (globs(events), globs(findings));
    let kind: Vec<RecordKind> = kinds.iter().map(|kind| kind.parse().expect("a kind")).collect();
    let selected = RecordSelection { event: event.as_ref(), finding: finding.as_ref(), kind: &kind };
    let wheres: Vec<_> = wheres.iter().map(|text| text.parse().expect("a condition")).collect();
    selected.warnings(&wheres)
}

#[test]
fn conditions_in_help_and_manual_name_existing_members() {
    let mut checked = 0;
    for (page, text) in pages() {
        let commands = text.lines().filter_map(|line| Some((line, of_command(line)?)));
        let rules = text.split("[[rule]]").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest));
        let rules = rules.filter_map(|rule| Some((rule, of_rule(rule)?)));
        for (example, doubts) in commands.chain(rules) {
            assert_eq!(doubts, [""; 0], "{page}: {example}");
            checked += 1;
        }
    }
    assert!(checked >= 8, "{checked} examples");
    assert!(!of_command("qmp wait web1 --finding job --where id=backup0").expect("conditions").is_empty());
    assert!(
        !of_rule("finding = \"why-ended\"\nwhere = \"data.casue=killed\"\n").expect("conditions").is_empty()
    );
}

//! What is shipped for systemd: the units and the configuration's example.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{directory, is_installed, run};

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The units, with the program that was just built at the place of the installed one.
fn units(home: &Path) -> Vec<PathBuf> {
    ["qmp-events.service", "qmp-events.socket"]
        .map(|name| {
            let text = shipped(&format!("systemd/{name}")).replace("/usr/bin/qmp", env!("CARGO_BIN_EXE_qmp"));
            let path = home.join(name);
            std::fs::write(&path, text).expect("writes");
            path
        })
        .into()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if !is_installed("systemd-analyze") {
        return;
    }
    let home = directory();
    let units = units(home.path());
    let verified =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output().expect("runs");
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");

    // A service that is exposed has 10, one that can do nothing 0; what is called OK ends at 4.9.
    let judged = Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=yes", "--threshold=20"])
        .arg(&units[0])
        .output()
        .expect("runs");
    assert!(
        judged.status.success(),
        "the exposure is above 2.0: {}",
        String::from_utf8_lossy(&judged.stdout)
    );
}

/// The example is good as it is, and with everything that is commented out.
#[test]
fn the_example_is_a_good_configuration() {
    let home = directory();
    let text = shipped("hub.toml");
    let with_all: String = text.lines().map(|line| uncommented(line) + "\n").collect();
    // Of a key that stands twice, TOML takes none.
    let with_all = with_all.replacen("http = [\"unix:/run/qmp-events/hub.sock\"]\n", "", 1);
    let path = home.path().join("hub.toml");
    std::fs::write(&path, &with_all).expect("writes");
    let checked = run(home.path(), &["serve", "--check-config", "--config", path.to_str().expect("text")]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("  2 VMs, 2 relays, 4 rules\n"), "{checked:?}");

    std::fs::write(&path, &text).expect("writes");
    let attach =
        ["serve", "--check-config", "--attach", "vm=/x/vm.sock", "--config", path.to_str().expect("text")];
    let checked = run(home.path(), &attach);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

/// No key is missing from the example: those that the program knows are what it names when it meets another.
#[test]
fn the_example_has_every_key() {
    let home = directory();
    let path = home.path().join("hub.toml");
    let text = shipped("hub.toml");
    let mut example: BTreeSet<String> = text.lines().filter_map(|line| key(&uncommented(line))).collect();
    // The tables of `http` stand within one line, so that it is clear which of the `http` is to be replaced.
    example
        .extend(text.split(['{', ',']).filter_map(|part| Some(part.split_once(" = ")?.0.trim().to_owned())));
    let tables = [
        "",
        "[[http]]\n",
        "[retention]\n",
        "[[vm]]\n",
        "[[vm]]\n[[vm.relay]]\n",
        "[[discover]]\n",
        "[[rule]]\n",
    ];
    for table in tables {
        std::fs::write(&path, format!("{table}qqqqqqqqqqqq = 1\n")).expect("writes");
        let refused =
            run(home.path(), &["serve", "--check-config", "--config", path.to_str().expect("text")]);
        let known = refused.stderr.lines().find_map(|line| line.split_once("known here: "));
        let (_, known) = known.unwrap_or_else(|| panic!("{refused:?}"));
        for known in known.split(", ") {
            assert!(example.contains(known), "dist/hub.toml lacks {known:?} of {table:?}");
        }
    }
}

/// What a line would be without its `#`; prose has a blank behind it.
fn uncommented(line: &str) -> String {
    match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    }
}

/// The key or the last part of the table that a line begins with.
fn key(line: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let name = line.trim_matches(['[', ']']).split([' ', '=']).next()?;
    name.rsplit('.').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

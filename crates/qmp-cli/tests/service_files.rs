//! The files for systemd: the units and the example configuration.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{directory, is_installed, run};

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The units, with the path of the program under test.
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
fn systemd_analyze_accepts_the_units() {
    if !is_installed("systemd-analyze", "systemd") {
        return;
    }
    let home = directory();
    let units = units(home.path());
    let verified =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output().expect("runs");
    let stderr = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && stderr.is_empty(), "{stderr}");

    // The exposure of an unrestricted service is 10, of a fully restricted one 0; up to 4.9 is called OK.
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

/// The example is valid as it is, and with all commented lines enabled.
#[test]
fn example_is_a_valid_configuration() {
    let home = directory();
    let text = shipped("hub.toml");
    let with_all: String = text.lines().map(|line| uncommented(line) + "\n").collect();
    // TOML rejects a key that is given twice.
    let with_all = with_all.replacen("http = [\"unix:/run/qmp-events/hub.sock\"]\n", "", 1);
    let path = home.path().join("hub.toml");
    std::fs::write(&path, &with_all).expect("writes");
    let checked = run(home.path(), &["serve", "--check-config", "--config", path.to_str().expect("text")]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("  2 VMs, 2 relays, 8 rules\n"), "{checked:?}");

    std::fs::write(&path, &text).expect("writes");
    let attach =
        ["serve", "--check-config", "--attach", "vm=/x/vm.sock", "--config", path.to_str().expect("text")];
    let checked = run(home.path(), &attach);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

/// The example has each key: the error about an unknown key lists the known ones.
#[test]
fn example_has_each_key() {
    let home = directory();
    let path = home.path().join("hub.toml");
    let text = shipped("hub.toml");
    let mut example: BTreeSet<String> = text.lines().filter_map(|line| key(&uncommented(line))).collect();
    // The tables of `http` are within one line, so that the `http` to be replaced is clear.
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

/// A line without its leading `#`; comments in prose have a blank after it.
fn uncommented(line: &str) -> String {
    match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    }
}

/// The key, or the last part of the table name, at the beginning of a line.
fn key(line: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let name = line.trim_matches(['[', ']']).split([' ', '=']).next()?;
    name.rsplit('.').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

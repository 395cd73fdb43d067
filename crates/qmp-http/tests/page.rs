//! The page in a browser: starts `web/e2e/page.test.ts`, which drives Chromium against a hub in memory. The
//! tests against `qmp serve` are in `web/e2e-hub`, and `scripts/test` runs them.
//!
//! Needs node, the packages of `web/package-lock.json` (`npm ci`) and Chromium. Without them the test is skipped, unless
//! `CI` is set.

#![allow(clippy::print_stderr, reason = "the reason why a test is skipped")]

use std::path::Path;
use std::process::Command;

use qmp_events::{EventSeverity, catalogue};

#[test]
fn page_works_in_a_browser() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let browser = std::env::var("QMP_CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    let missing = [
        (
            "the packages: run `npm ci` in crates/qmp-http/web",
            web.join("node_modules/playwright-core").exists(),
        ),
        ("Chromium: install it, or name it in QMP_CHROMIUM", Path::new(&browser).exists()),
        ("node", Command::new("node").arg("--version").output().is_ok()),
    ];
    if let Some((what, _)) = missing.iter().find(|(_, is_there)| !is_there) {
        assert!(std::env::var_os("CI").is_none(), "missing for the page's tests: {what}");
        eprintln!("skipped: missing for the page's tests: {what}");
        return;
    }
    for arguments in [["build.mjs", "--tests"], ["--test", "build/e2e/page.test.mjs"]] {
        let ran = Command::new("node").args(arguments).current_dir(&web).output().expect("node runs");
        let (stdout, stderr) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "node {}:\n{stdout}\n{stderr}", arguments.join(" "));
    }
}

#[test]
fn page_has_the_severities_of_the_catalogue() {
    let text = include_str!("../web/src/severity.ts");
    let (_, lists) = text.split_once("const EVENTS").expect("the lists");
    let listed = |severity: &str| {
        let (_, list) = lists.split_once(&format!("  {severity}: [")).expect("a list of the severity");
        let names = list.split(']').next().unwrap_or_default();
        names.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let severities = [
        ("error", EventSeverity::Error),
        ("warning", EventSeverity::Warning),
        ("lifecycle", EventSeverity::Lifecycle),
        ("good", EventSeverity::Success),
    ];
    for (name, severity) in severities {
        let events = catalogue().iter().filter(|desc| EventSeverity::of(desc.name, None) == severity);
        let mut expected: Vec<&str> = events.map(|desc| desc.name).collect();
        expected.sort_unstable();
        assert_eq!(listed(name), expected, "{name}");
    }
}

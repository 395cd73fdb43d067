//! Pagers of `qmp log` and `qmp why`, on a pseudo-terminal.

mod support;

use std::process::Command;

use support::pty::OnTerminal;
use support::{World, is_installed, qmp};

/// A hub with some records of web1.
fn world() -> World {
    let world = World::start();
    for command in ["stop", "cont", "stop", "cont"] {
        let ran = world.run(&["exec", "web1", command]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    world
}

fn command(world: &World, arguments: &[&str], pager: &str) -> Command {
    let mut command = qmp(world.home.path(), arguments);
    command.env("QMP_PAGER", pager);
    command
}

fn shown(world: &World, arguments: &[&str], pager: &str) -> (Option<i32>, String) {
    OnTerminal::start(&mut command(world, arguments, pager), 40).end()
}

#[test]
fn output_on_a_terminal_goes_through_the_pager() {
    let world = world();
    for arguments in [["log", "--vm=web1"], ["why", "web1"]] {
        let seen = world.home.path().join("seen");
        let (code, terminal) = shown(&world, &arguments, &format!("tee {}", seen.display()));
        let seen = std::fs::read_to_string(seen).expect("the pager ran");
        assert_eq!((code, &terminal), (Some(0), &seen), "{arguments:?}");
        assert!(seen.contains("web1"), "{seen}");
    }
    // The variables of the pager, which reads nothing.
    for (arguments, less) in [(&["log"][..], "LESS=FRSXMK"), (&["why", "web1"], "LESS=FRXMK")] {
        let (code, terminal) = shown(&world, arguments, "env");
        assert!(code == Some(0) && terminal.contains(less), "{code:?} {terminal}");
    }
}

#[test]
fn less_shows_a_page_and_quits() {
    if !is_installed("less", "less") {
        return;
    }
    let world = world();
    let mut less = OnTerminal::start(&mut command(&world, &["log"], "less"), 4);
    // The prompt of less, which waits for a key.
    less.wait_for("lines 1-");
    less.press("q");
    let (code, terminal) = less.end();
    assert_eq!(code, Some(0), "{terminal}");
    assert!(terminal.contains("epoch 1 began") && terminal.matches("RESUME").count() < 2, "{terminal}");
}

#[test]
fn pager_that_is_missing_or_fails_leaves_plain_output() {
    let world = world();
    let killed = world.home.path().join("killed");
    std::fs::write(&killed, "kill -KILL $$").expect("a script");
    let killed = format!("sh {}", killed.display());
    for (pager, note) in [
        (killed.as_str(), "note: the pager sh failed (signal: 9 (SIGKILL))"),
        ("/nonexistent/pager", "note: cannot start the pager /nonexistent/pager: "),
        ("false", "note: the pager false failed (exit status: 1)"),
    ] {
        let (code, terminal) = shown(&world, &["log", "--kind", "event"], pager);
        assert_eq!(code, Some(0), "{terminal}");
        assert!(terminal.contains(note) && terminal.matches("RESUME").count() == 2, "{terminal}");
    }
}

#[test]
fn pager_that_quits_early_is_success() {
    let world = world();
    let (code, terminal) = shown(&world, &["log"], "head -n 1");
    assert_eq!((code, terminal.lines().count()), (Some(0), 1), "{terminal}");
}

#[test]
fn errors_are_shown_after_the_pager() {
    let world = world();
    let (code, terminal) = shown(&world, &["why", "web2"], "less");
    assert!(code == Some(4) && terminal.contains("qmp: "), "{code:?} {terminal}");
}

#[test]
fn pipe_option_and_empty_variable_have_no_pager() {
    let world = world();
    let seen = world.home.path().join("seen");
    let pager = format!("tee {}", seen.display());
    for (arguments, pager) in
        [(&["log", "--no-pager"][..], pager.as_str()), (&["log"], ""), (&["log"], "cat")]
    {
        let (code, terminal) = shown(&world, arguments, pager);
        assert!(code == Some(0) && terminal.contains("RESUME"), "{arguments:?}: {terminal}");
    }
    let piped = support::run_result(command(&world, &["log"], &pager).output().expect("the program runs"));
    assert!(piped.code == Some(0) && piped.stdout.contains("RESUME"), "{piped:?}");
    let following = OnTerminal::start(&mut command(&world, &["log", "--follow"], &pager), 40);
    following.wait_for("RESUME");
    drop(following);
    assert!(!seen.exists(), "the pager ran");
}

//! `qmp top` on a pseudo-terminal: signals and the screen.

mod support;

use support::pty::OnTerminal;
use support::{World, qmp};

/// The sequences with which the display takes the screen and gives it back.
const TAKE: &str = "\x1b[?1049h";
const GIVE_BACK: &str = "\x1b[?1049l";

/// The display of a hub with web1, once it has drawn.
fn top(world: &World) -> OnTerminal {
    let top = OnTerminal::start(&mut qmp(world.home.path(), ["top"]), 24);
    top.wait_for("web1");
    top
}

fn wait_for_screen(top: &OnTerminal, times: usize) {
    qmp_testing::wait_for("the screen", || (top.times_shown(TAKE) >= times).then_some(()));
}

#[test]
fn control_z_suspends_and_continuing_takes_the_screen_again() {
    let world = World::start();
    let mut top = top(&world);
    top.press("\x1a");
    top.wait_until_stopped();
    top.wait_for(GIVE_BACK);
    top.signal("CONT");
    wait_for_screen(&top, 2);
    // A stop that the program does not see: the shell has used the terminal meanwhile.
    top.signal("STOP");
    top.wait_until_stopped();
    top.signal("CONT");
    wait_for_screen(&top, 3);
    top.press("q");
    let (code, shown) = top.end();
    assert_eq!(code, Some(0), "{shown:?}");
}

#[test]
fn hangup_restores_the_screen() {
    let world = World::start();
    let top = top(&world);
    top.signal("HUP");
    let (code, shown) = top.end();
    assert!(code == Some(0) && shown.contains(GIVE_BACK), "{code:?} {shown:?}");
}

//! The table of run states, row by row, and the properties of all rows.

use proptest::prelude::*;
use qmp_server::RUN_STATES;

use super::*;

const NEWEST: Release = Release::stable(11, 1, 3);
const OLDER: Release = Release::stable(7, 2, 22);

/// Returns the reaction: the names of the events, the state, and the exit status.
fn react_at(
    state: RunState,
    policy: Policy,
    event: MachineEvent,
    release: Release,
) -> (String, RunState, Option<i32>) {
    let status = Status { state, policy, asleep: false };
    let reaction = react(status, event, release).expect("not refused");
    let names: Vec<_> = reaction.events.iter().map(|event| &*event.name).collect();
    (names.join(" "), reaction.status.state, reaction.exit)
}

fn policy(words: &str) -> Policy {
    let mut policy = Policy::default();
    for word in words.split_whitespace() {
        match word {
            "no-shutdown" => policy.shutdown = ShutdownAction::Pause,
            "no-reboot" => policy.reboot = RebootAction::Shutdown,
            other => {
                let (event, action) = other.split_once('=').expect(other);
                let action = json!(action);
                match event {
                    "panic" => policy.panic = serde_json::from_value(action).expect(other),
                    _ => policy.watchdog = serde_json::from_value(action).expect(other),
                }
            }
        }
    }
    policy
}

#[test]
fn each_row_has_its_reaction() {
    use MachineEvent::{Cont, Panic, Powerdown, Reset, Shutdown, Stop, Suspend, Wakeup, Watchdog};
    use RunState::{
        GuestPanicked, InternalError, IoError, Paused, Postmigrate, Prelaunch, Running, Shutdown as Down,
        Suspended, Watchdog as Fired,
    };
    let reset = || Reset(ShutdownCause::HostQmpSystemReset);
    let ends = |cause| Shutdown(cause);
    let none = || Panic { info: None, source: PanicSource::Guest };
    let by_monitor = || Panic { info: None, source: PanicSource::Monitor };
    #[rustfmt::skip]
    let rows = [
        // before      policy                 what                                 events                           after          exit
        (Running,      "",                    Stop(Paused),                        "STOP",                          Paused,        None),
        (Paused,       "",                    Stop(Paused),                        "",                              Paused,        None),
        (Prelaunch,    "",                    Stop(Paused),                        "",                              Prelaunch,     None),
        (Suspended,    "",                    Stop(Paused),                        "STOP",                          Paused,        None),
        (Running,      "",                    Stop(IoError),                       "STOP",                          IoError,       None),
        (Paused,       "",                    Cont,                                "RESUME",                        Running,       None),
        (Running,      "",                    Cont,                                "",                              Running,       None),
        (Suspended,    "",                    Cont,                                "",                              Suspended,     None),
        (IoError,      "",                    Cont,                                "RESUME",                        Running,       None),
        (GuestPanicked,"",                    Cont,                                "RESUME",                        Running,       None),
        (Postmigrate,  "",                    Cont,                                "RESUME",                        Running,       None),
        (Running,      "",                    reset(),                             "RESET",                         Running,       None),
        (Paused,       "",                    reset(),                             "RESET",                         Prelaunch,     None),
        (Down,         "",                    reset(),                             "RESET",                         Prelaunch,     None),
        (InternalError,"",                    reset(),                             "RESET",                         Prelaunch,     None),
        (Running,      "no-reboot",           reset(),                             "SHUTDOWN",                      Running,       Some(0)),
        (Running,      "no-reboot no-shutdown", reset(),                           "SHUTDOWN STOP",                 Down,          None),
        (Running,      "",                    Powerdown,                           "POWERDOWN",                     Running,       None),
        (Paused,       "",                    Powerdown,                           "POWERDOWN",                     Paused,        None),
        (Running,      "",                    ends(ShutdownCause::GuestShutdown),  "SHUTDOWN",                      Running,       Some(0)),
        (Running,      "no-shutdown",         ends(ShutdownCause::GuestShutdown),  "SHUTDOWN STOP",                 Down,          None),
        (Running,      "no-shutdown",         ends(ShutdownCause::HostQmpQuit),    "SHUTDOWN",                      Running,       Some(0)),
        (Running,      "no-shutdown",         ends(ShutdownCause::HostSignal),     "SHUTDOWN",                      Running,       Some(0)),
        (Running,      "no-shutdown",         ends(ShutdownCause::HostUi),         "SHUTDOWN STOP",                 Down,          None),
        (Running,      "",                    Suspend,                             "SUSPEND",                       Suspended,     None),
        (Suspended,    "",                    Wakeup,                              "WAKEUP",                        Running,       None),
        (Running,      "",                    Watchdog,                            "WATCHDOG RESET",                Running,       None),
        (Running,      "no-reboot",           Watchdog,                            "WATCHDOG SHUTDOWN",             Running,       Some(0)),
        (Running,      "watchdog=shutdown",   Watchdog,                            "WATCHDOG POWERDOWN",            Running,       None),
        (Running,      "no-shutdown watchdog=poweroff", Watchdog,                  "WATCHDOG",                      Running,       Some(0)),
        (Running,      "watchdog=pause",      Watchdog,                            "WATCHDOG STOP",                 Fired,         None),
        (Running,      "watchdog=debug",      Watchdog,                            "WATCHDOG",                      Running,       None),
        (Running,      "watchdog=none",       Watchdog,                            "WATCHDOG",                      Running,       None),
        (Running,      "watchdog=inject-nmi", Watchdog,                            "WATCHDOG",                      Running,       None),
        (Running,      "",                    none(),                              "GUEST_PANICKED SHUTDOWN",       Running,       Some(0)),
        (Running,      "",                    by_monitor(),                        "GUEST_PANICKED STOP SHUTDOWN",  GuestPanicked, Some(0)),
        (Running,      "no-shutdown",         none(),                              "GUEST_PANICKED STOP",           GuestPanicked, None),
        (Running,      "panic=pause",         none(),                              "GUEST_PANICKED STOP",           GuestPanicked, None),
        (Running,      "panic=none",          none(),                              "GUEST_PANICKED",                Running,       None),
        (Running,      "panic=exit-failure",  none(),                              "GUEST_PANICKED SHUTDOWN",       Running,       Some(1)),
        (Running,      "panic=exit-failure",  by_monitor(),                        "GUEST_PANICKED STOP SHUTDOWN",  GuestPanicked, Some(1)),
        (Running,      "panic=exit-failure no-shutdown", none(),                   "GUEST_PANICKED SHUTDOWN STOP",  Down,          None),
        (Running,      "panic=exit-failure no-shutdown", by_monitor(),             "GUEST_PANICKED STOP SHUTDOWN",  GuestPanicked, None),
        (Paused,       "",                    none(),                              "GUEST_PANICKED SHUTDOWN",       Paused,        Some(0)),
    ];
    for (before, words, event, events, after, exit) in rows {
        let name = format!("{before:?}, {words}, {event:?}");
        let reaction = react_at(before, policy(words), event, NEWEST);
        assert_eq!(reaction, (events.into(), after, exit), "{name}");
    }
}

#[test]
fn cont_and_wakeup_are_refused() {
    let rows = [
        (RunState::Shutdown, MachineEvent::Cont, "Resetting the Virtual Machine is required"),
        (RunState::InternalError, MachineEvent::Cont, "Resetting the Virtual Machine is required"),
        (RunState::FinishMigrate, MachineEvent::Cont, "Migration is not finalized yet"),
        (RunState::Running, MachineEvent::Wakeup, "Unable to wake up: guest is not in suspended state"),
        (RunState::Paused, MachineEvent::Wakeup, "Unable to wake up: guest is not in suspended state"),
    ];
    for (state, event, desc) in rows {
        let status = Status { state, policy: Policy::default(), asleep: false };
        let refusal = react(status, event, NEWEST).expect_err("refused");
        assert_eq!((refusal.class, &*refusal.desc), ("GenericError", desc), "{state:?}");
    }
}

#[test]
fn sleep_survives_stop_since_9_0() {
    let rows = [
        // release  stop                         cont after that
        (NEWEST, ("STOP", RunState::Paused), ("RESUME", RunState::Suspended)),
        (OLDER, ("", RunState::Suspended), ("", RunState::Suspended)),
    ];
    for (release, stopped, continued) in rows {
        let status = Status { state: RunState::Suspended, policy: Policy::default(), asleep: false };
        let mut status = status;
        for (event, (events, state)) in
            [(MachineEvent::Stop(RunState::Paused), stopped), (MachineEvent::Cont, continued)]
        {
            let reaction = react(status, event, release).expect("not refused");
            let names: Vec<_> = reaction.events.iter().map(|event| &*event.name).collect();
            assert_eq!((&*names.join(" "), reaction.status.state), (events, state), "{release}");
            status = reaction.status;
        }
    }
}

#[test]
fn panic_in_older_release_follows_that_release() {
    let rows = [
        (Release::new(5, 2), "", "GUEST_PANICKED STOP GUEST_PANICKED SHUTDOWN", Some(0)),
        (Release::new(5, 2), "no-shutdown", "GUEST_PANICKED STOP", None),
        (Release::new(2, 6), "", "GUEST_PANICKED STOP", None),
    ];
    for (release, words, events, exit) in rows {
        let (names, state, exited) = react_at(
            RunState::Running,
            policy(words),
            MachineEvent::Panic { info: None, source: PanicSource::Guest },
            release,
        );
        assert_eq!((&*names, state, exited), (events, RunState::GuestPanicked, exit), "{release}");
    }
}

fn any_machine_event() -> impl Strategy<Value = MachineEvent> {
    use ShutdownCause as Cause;
    prop_oneof![
        prop::sample::select(RUN_STATES.to_vec()).prop_map(MachineEvent::Stop),
        Just(MachineEvent::Cont),
        prop::sample::select(vec![Cause::HostQmpSystemReset, Cause::GuestReset])
            .prop_map(MachineEvent::Reset),
        prop::sample::select(vec![
            Cause::HostQmpQuit,
            Cause::HostSignal,
            Cause::HostUi,
            Cause::GuestShutdown
        ])
        .prop_map(MachineEvent::Shutdown),
        Just(MachineEvent::Powerdown),
        Just(MachineEvent::Suspend),
        Just(MachineEvent::Wakeup),
        Just(MachineEvent::Watchdog),
        Just(MachineEvent::Panic { info: None, source: PanicSource::Guest }),
    ]
}

proptest! {
    /// STOP and RESUME occur only when the machine changes between live (running or sleeping) and stopped.
    #[test]
    fn stop_and_resume_follow_state_changes(
        state in prop::sample::select(RUN_STATES.to_vec()),
        words in prop::sample::select(vec!["", "no-shutdown", "no-reboot", "no-reboot no-shutdown", "panic=pause", "watchdog=pause"]),
        event in any_machine_event(),
    ) {
        let is_live = |state| matches!(state, RunState::Running | RunState::Suspended);
        let status = Status { state, policy: policy(words), asleep: false };
        if let Ok(Reaction { events, status, .. }) = react(status, event, NEWEST) {
            let count = |name: &str| events.iter().filter(|event| &*event.name == name).count();
            prop_assert!(count("STOP") <= 1 && count("RESUME") <= 1);
            prop_assert!(count("STOP") == 0 || is_live(state));
            prop_assert_eq!(count("RESUME") == 1, !is_live(state) && is_live(status.state));
        }
    }
}

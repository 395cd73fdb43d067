//! Run states, and the explanation that each of them gives.
//!
//! A state gives the cause as QEMU defines it; the side only if the definition gives that, too. `paused` and
//! `postmigrate` are caused by a command, but the answer does not name its sender.
//!
//! Source: QEMU `qapi/run-state.json`, `RunState`.

/// The run state of a QEMU that announced its end and ended.
pub(super) const ENDED: &str = "ended";
/// The run state of a QEMU whose monitor closed without an announcement.
pub const GONE: &str = "gone";

/// The explanation that one run state gives.
#[derive(Debug)]
pub(super) struct RunState {
    pub(super) name: &'static str,
    /// The side that causes the state, by its definition.
    pub(super) by: &'static str,
    /// Cause and sentence if the VM was in this state when an epoch began.
    pub(super) found: (&'static str, &'static str),
    /// Cause and sentence if the VM answers with this state after a STOP that no event explains.
    pub(super) answered: (&'static str, &'static str),
    /// Whether the VM stays in this state by itself: then the state is why it ends or is reset, whatever does that.
    pub(super) decides: bool,
    /// Whether QEMU leaves the state without an event.
    pub(super) passes: bool,
}

const DEFAULT: RunState = RunState {
    name: "",
    by: "unknown",
    found: ("found", "It was in this state when this epoch began"),
    answered: ("unknown", "It was stopped, and neither an event nor its run state says why"),
    decides: false,
    passes: false,
};

/// Every run state of QEMU.
const RUN_STATES: [RunState; 16] = [
    RunState {
        name: "running",
        found: ("found-running", "It ran when this epoch began"),
        answered: ("unknown", "It runs"),
        ..DEFAULT
    },
    RunState {
        name: "paused",
        found: ("found-paused", "It was paused when this epoch began, and no record says by whom"),
        answered: (
            "host-stop",
            "It was paused: QEMU says `paused`, as after `stop`, and no recorded command says who gave it",
        ),
        ..DEFAULT
    },
    RunState {
        name: "prelaunch",
        found: (
            "found-prelaunch",
            "It had not been started when this epoch began (`-S`, or a reset while stopped)",
        ),
        answered: ("unknown", "It was stopped and reset, and no event says why it was stopped"),
        ..DEFAULT
    },
    RunState {
        name: "debug",
        found: ("debug", "It was stopped for a debugger when this epoch began"),
        answered: ("debug", "It was stopped for a debugger, as QEMU answered"),
        ..DEFAULT
    },
    RunState {
        name: "inmigrate",
        found: ("incoming-migration", "It waited for an incoming migration when this epoch began"),
        answered: ("incoming-migration", "It waits for an incoming migration, as QEMU answered"),
        passes: true,
        ..DEFAULT
    },
    RunState {
        name: "finish-migrate",
        found: ("migration", "A migration was taking it over when this epoch began"),
        answered: ("migration", "It was stopped so that a migration can finish, as QEMU answered"),
        passes: true,
        ..DEFAULT
    },
    RunState {
        name: "postmigrate",
        found: ("migration", "It had been migrated away before this epoch began"),
        answered: ("migration", "It was migrated away, as QEMU answered"),
        decides: true,
        ..DEFAULT
    },
    RunState {
        name: "save-vm",
        found: ("save-vm", "QEMU was saving its state when this epoch began"),
        answered: ("save-vm", "QEMU stopped it to save its state, as it answered"),
        passes: true,
        ..DEFAULT
    },
    RunState {
        name: "restore-vm",
        found: ("restore-vm", "It was stopped to restore a saved state when this epoch began"),
        answered: ("restore-vm", "QEMU stopped it to restore a saved state, as it answered"),
        passes: true,
        ..DEFAULT
    },
    RunState {
        name: "colo",
        found: ("migration", "It was kept in step with another QEMU (COLO) when this epoch began"),
        answered: ("migration", "It is kept in step with another QEMU (COLO), as QEMU answered"),
        passes: true,
        ..DEFAULT
    },
    RunState {
        name: "suspended",
        by: "guest",
        found: ("guest-suspend", "Its guest had gone to sleep (ACPI S3) before this epoch began"),
        answered: ("guest-suspend", "Its guest sleeps (ACPI S3), as QEMU answered"),
        decides: true,
        ..DEFAULT
    },
    RunState {
        name: "shutdown",
        found: ("shutdown", "It had shut down before this epoch began, and QEMU stayed (`-no-shutdown`)"),
        answered: ("shutdown", "It shut down, as QEMU answered, and QEMU stays (`-no-shutdown`)"),
        decides: true,
        ..DEFAULT
    },
    RunState {
        name: "guest-panicked",
        by: "guest",
        found: ("guest-panic", "Its guest had panicked before this epoch began"),
        answered: ("guest-panic", "The guest panicked, as QEMU answered"),
        decides: true,
        ..DEFAULT
    },
    RunState {
        name: "watchdog",
        by: "guest",
        found: ("watchdog", "Its watchdog had stopped it before this epoch began"),
        answered: ("watchdog", "Its watchdog expired and stopped it, as QEMU answered"),
        decides: true,
        ..DEFAULT
    },
    RunState {
        name: "io-error",
        by: "qemu",
        found: ("io-error", "An I/O error had stopped it before this epoch began"),
        answered: ("io-error", "An I/O error stopped it, as QEMU answered, and no event names the disk"),
        decides: true,
        ..DEFAULT
    },
    RunState {
        name: "internal-error",
        by: "qemu",
        found: ("internal-error", "An error in QEMU or KVM had stopped it before this epoch began"),
        answered: ("internal-error", "An error in QEMU or KVM stopped it, as QEMU answered"),
        decides: true,
        ..DEFAULT
    },
];

/// The entry of this run state; of an unknown one, the default.
pub(super) fn of(name: &str) -> &'static RunState {
    RUN_STATES.iter().find(|state| state.name == name).unwrap_or(&DEFAULT)
}

/// The names of all run states of QEMU.
pub(in super::super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    RUN_STATES.iter().map(|state| state.name)
}

//! The limits of the correlators, each with its unit and its reason. All memory is per VM.

use std::time::Duration;

/// How long a sequel may take that QEMU raises at once, such as STOP after `BLOCK_IO_ERROR` (measured: under 1 ms).
///
/// Long enough for a host that swaps; what takes longer is worth a look in any case.
pub const SEQUEL_MAX: Duration = Duration::from_secs(10);

/// How long a sequel may take that waits for storage or network: of jobs and migrations.
pub const SEQUEL_SLOW_MAX: Duration = Duration::from_secs(60);

/// How long QEMU may take to exit once it said that it will. It flushes its disks meanwhile.
pub const EXIT_MAX: Duration = Duration::from_secs(120);

/// Sequels waited for at a time; beyond it the oldest is given up. The guest decides how many there are.
pub const SEQUELS_AWAITED_MAX: usize = 64;

/// How long a panic that is to end QEMU is not reported as a mere pause, once SHUTDOWN came. With `-no-shutdown` and
/// `panic=exit-failure` the end does not come.
pub const EXIT_SOON: Duration = Duration::from_secs(5);

/// How long before its consequence a cause may lie that QEMU reports in the same breath (measured: up to 2 ms).
pub const BREATH: Duration = Duration::from_secs(2);

/// How long a cause may be held back by the rate limit after its consequence was seen: its interval of 1 s, and
/// half as much for a host that is slow.
pub const HELD_BACK_MAX: Duration = Duration::from_millis(1_500);

/// How long a `stop` or a `system_reset` waits for the record of the command, which says who gave it. That is
/// written when its reply comes, which QEMU sends right after the event.
pub const COMMAND_SAID_MAX: Duration = Duration::from_millis(500);

/// How long a STOP, or a job that failed, waits for the answer of the VM that says why. A VM answers within
/// milliseconds; one that is busy with a command of a client is asked after that.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Questions to a VM at once, each of which is a command in its monitor and a record.
pub const QUESTIONS_BURST: u32 = 10;

/// How long it takes until [`QUESTIONS_BURST`] questions may be asked again. One that is not allowed waits.
pub const QUESTIONS_SPAN: Duration = Duration::from_secs(60);

/// How often a run state is asked about again that QEMU leaves without an event, such as `finish-migrate`: after 1 s,
/// 2 s, 4 s and so on, four minutes in all. A migration that is not over then has stalled.
pub const ASKED_AGAIN_MAX: u32 = 8;

/// How long the end of a VM waits for the record of how its process ended (measured: 2 to 20 ms; the more memory it
/// gives back, the longer).
pub const EXIT_SAID_MAX: Duration = Duration::from_secs(2);

/// How long after a reset, or after the RESUME of a VM that was reset while stopped, a reset by the guest is the firmware's own
/// (measured: 50 to 160 ms).
pub const FIRMWARE_RESET_MAX: Duration = Duration::from_secs(1);

/// Epochs over which a story goes on from the one in which it began. Restarts of the hub while a VM stays in one state are
/// few; each one more is an epoch more that every start reads.
pub const EPOCHS_CONTINUED_MAX: u32 = 3;

/// The last epochs of a VM that are to be read so that everything that is concluded in the last two of them, and the state at
/// the end, are what they are for a reader of all: a conclusion when an epoch opens looks back at the one before.
pub const EPOCHS_READ: u32 = EPOCHS_CONTINUED_MAX + 3;

/// How long after the power button a shutdown of the guest counts as its answer. Guests that have services to
/// stop take minutes: systemd allows each 90 s.
pub const POWER_BUTTON_MAX: Duration = Duration::from_secs(600);

/// Jobs tracked at a time. QEMU runs a few per disk; a VM with more disks than this is not known.
pub const JOBS_TRACKED_MAX: usize = 64;

/// Phases that a job or a migration keeps; one that goes back and forth (ready, standby) has more, counted only.
pub const PHASES_MAX: usize = 16;

/// Unplugs tracked at a time.
pub const UNPLUGS_TRACKED_MAX: usize = 64;

/// How long the parts of a device that were deleted wait for the device itself (measured: under 1 ms).
pub const UNPLUG_PARTS_MAX: Duration = Duration::from_secs(2);

/// How long an unplug that the guest began may go without a word before it is forgotten.
pub const UNPLUG_SILENT_MAX: Duration = Duration::from_secs(600);

/// How long a guest may give no sign after its power button was pressed, or after QEMU accepted `device_del`. A guest that
/// reacts does so within seconds: it stops its first service, or its ACPI driver reports the ejection as in progress.
pub const GUEST_SIGN_MAX: Duration = Duration::from_secs(60);

/// Names and paths of devices that are longer are not kept for a `device_del` whose record follows, in bytes: arguments
/// of that length are left out of the record of a command.
pub const DEVICE_KEPT_MAX_BYTES: usize = 4 << 10;

/// So many events of one name at once are a storm. Twice what nine tenths of ordinary bursts have.
pub const STORM_EVENTS: u32 = 20;

/// How long it takes for a storm's worth of events to be forgotten: 20 in 10 s are a storm, 1 a second never is.
pub const STORM_SPAN: Duration = Duration::from_secs(10);

/// So many changes of one thing to and fro are flapping.
pub const FLAPPING_CHANGES: u32 = 6;

/// How long it takes for a flapping's worth of changes to be forgotten.
pub const FLAPPING_SPAN: Duration = Duration::from_secs(60);

/// Event names and flapping things counted at a time; the quietest makes room. QEMU has 61 names, and a peer
/// may invent more.
pub const COUNTED_MAX: usize = 64;

/// Differences from the catalogue reported in an epoch, each once. A peer may invent more.
pub const DRIFT_REPORTED_MAX: usize = 32;

/// A clock that goes this far back or ahead was set. Rate-limited events come up to 1 s late.
pub const CLOCK_STEP_MIN: Duration = Duration::from_secs(2);

/// The last events of a VM that its state shows.
pub const LAST_EVENTS_KEPT: usize = 8;

/// Causes that a finding names; of more the first and the last are kept.
pub const CAUSES_MAX: usize = 32;

/// Findings of one kind at once, and what one more costs in time: what a guest does must not fill the journal
/// with conclusions. Those beyond are counted, and the count is told.
pub const FINDINGS_BURST: u32 = 30;

/// How long it takes until [`FINDINGS_BURST`] findings of one kind may come again.
pub const FINDINGS_SPAN: Duration = Duration::from_secs(300);

/// Text of a peer in a summary, in characters.
pub const TEXT_SHOWN_MAX: usize = 120;

/// Records of a VM after which the state of its correlators is saved: reading so many again takes some 30 ms, and saving
/// takes less than a hundredth of that.
pub const CHECKPOINT_RECORDS: u32 = 4_096;

/// A state of one VM that is saved, in bytes. One with all of its bounded members filled takes about half of that; what
/// the VM said without a bound of its own (the information of a panic, the list of its jobs) may be larger, and is then
/// read again instead.
pub const CHECKPOINT_MAX_BYTES: usize = 256 << 10;

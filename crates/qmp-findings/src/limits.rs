//! The limits of the correlators, each with its unit and its reason. Memory is per VM unless stated otherwise.

use std::time::Duration;

/// How long a sequel may take that QEMU raises at once, such as STOP after `BLOCK_IO_ERROR` (measured: under 1 ms).
///
/// Long enough for a host that swaps; a longer delay deserves attention in any case.
pub const SEQUEL_MAX: Duration = Duration::from_secs(10);

/// How long a sequel of jobs and migrations may take, which wait for storage or network.
pub const SEQUEL_SLOW_MAX: Duration = Duration::from_secs(60);

/// How long QEMU may take to exit after announcing it. QEMU flushes its disks meanwhile.
pub const EXIT_MAX: Duration = Duration::from_secs(120);

/// Sequels awaited at a time; beyond that the oldest is dropped. The guest decides how many there are.
pub const SEQUELS_AWAITED_MAX: usize = 64;

/// How long a panic that is to end QEMU is not reported as a mere pause, once SHUTDOWN was received. With
/// `-no-shutdown` and `panic=exit-failure` QEMU does not end.
pub const EXIT_SOON: Duration = Duration::from_secs(5);

/// How long a cause may precede its consequence that QEMU reports together with it (measured: up to 2 ms).
pub const CAUSE_LEAD_MAX: Duration = Duration::from_secs(2);

/// How long the rate limit may hold a cause back after its consequence was seen: its interval of 1 s, and half as much
/// for a slow host.
pub const HELD_BACK_MAX: Duration = Duration::from_millis(1_500);

/// How long a `stop` or a `system_reset` waits for the record of the command, which names the client. The record is
/// written with the reply, which QEMU sends right after the event.
pub const COMMAND_RECORD_MAX: Duration = Duration::from_millis(500);

/// How long a STOP, or a failed job, waits for the VM's answer that gives the reason. A VM answers within milliseconds;
/// a VM that is busy with a client's command is asked after that command.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Questions to a VM at once, each of which is a command in its monitor and a record.
pub const QUESTIONS_BURST: u32 = 10;

/// How long it takes until [`QUESTIONS_BURST`] questions may be asked again. Further questions wait.
pub const QUESTIONS_SPAN: Duration = Duration::from_secs(60);

/// How often the hub asks again about a run state that QEMU leaves without an event, such as `finish-migrate`: after 1
/// s, 2 s, 4 s and so on, four minutes in all. A migration that is not over then has stalled.
pub const ASKED_AGAIN_MAX: u32 = 8;

/// How long the end of a VM waits for the record of how its process ended (measured: 2 to 20 ms; longer the more memory
/// the process frees).
pub const EXIT_RECORD_MAX: Duration = Duration::from_secs(2);

/// How long a migration that has completed waits for libvirt's word for the end of the VM, which tells a migration from a save
/// (measured: up to 2 s).
pub const LIBVIRT_WORD_MAX: Duration = Duration::from_secs(10);

/// How long after a reset, or after the RESUME of a VM that was reset while stopped, a reset by the guest counts as the
/// firmware's own (measured: 50 to 160 ms).
pub const FIRMWARE_RESET_MAX: Duration = Duration::from_secs(1);

/// Epochs over which an explanation is continued from the one in which it began. Restarts of the hub while a VM stays
/// in one state are few; each further epoch is read at every start.
pub const EPOCHS_CONTINUED_MAX: u32 = 3;

/// The number of last epochs of a VM that must be read so that all conclusions in the last two of them, and the state
/// at the end, equal those of a reader of all epochs: a conclusion when an epoch opens looks back at the one before.
pub const EPOCHS_READ: u32 = EPOCHS_CONTINUED_MAX + 3;

/// How long after the power button a shutdown of the guest counts as its reaction. Guests that have services to stop
/// take minutes: systemd allows each 90 s.
pub const POWER_BUTTON_MAX: Duration = Duration::from_secs(600);

/// Jobs tracked at a time. QEMU runs a few per disk; VMs with more disks than this are unknown.
pub const JOBS_TRACKED_MAX: usize = 64;

/// Phases kept of a job or a migration; further phases of a job that alternates (ready, standby) are only counted.
pub const PHASES_MAX: usize = 16;

/// Unplugs tracked at a time.
pub const UNPLUGS_TRACKED_MAX: usize = 64;

/// How long deleted parts of a device wait for the device itself (measured: under 1 ms).
pub const UNPLUG_PARTS_MAX: Duration = Duration::from_secs(2);

/// How long an unplug that the guest began may go without an event before it is dropped.
pub const UNPLUG_SILENT_MAX: Duration = Duration::from_secs(600);

/// How long a guest may give no sign after its power button was pressed, or after QEMU accepted `device_del`. A guest
/// that reacts does so within seconds: it stops its first service, or its ACPI driver reports the ejection as in
/// progress.
pub const GUEST_SIGN_MAX: Duration = Duration::from_secs(60);

/// The longest name or path of a device that is kept for a `device_del` whose record follows, in bytes: the record of a
/// command leaves out longer arguments.
pub const DEVICE_KEPT_MAX_BYTES: usize = 4 << 10;

/// This many events of one name at once are a storm. Twice as many as nine tenths of ordinary bursts have.
pub const STORM_EVENTS: u32 = 20;

/// How long it takes until a storm's worth of events is forgotten: 20 in 10 s are a storm, 1 a second never is.
pub const STORM_SPAN: Duration = Duration::from_secs(10);

/// This many changes of one thing between two states are flapping.
pub const FLAPPING_CHANGES: u32 = 6;

/// How long it takes until a flapping's worth of changes is forgotten.
pub const FLAPPING_SPAN: Duration = Duration::from_secs(60);

/// Event names and flapping things counted at a time; the quietest is evicted. QEMU has 61 names, and a peer may invent
/// more.
pub const COUNTED_MAX: usize = 64;

/// Differences from the catalogue reported in an epoch, each once. A peer may invent more.
pub const DRIFT_REPORTED_MAX: usize = 32;

/// A clock that goes this far back or ahead was set. Rate-limited events arrive up to 1 s late.
pub const CLOCK_STEP_MIN: Duration = Duration::from_secs(2);

/// Events of a VM that its state shows, the last ones.
pub const LAST_EVENTS_KEPT: usize = 8;

/// Causes that a finding names; of more, the first ones and the last are kept.
pub const CAUSES_MAX: usize = 32;

/// Findings of one kind at once, and what one more costs in time: a guest must not fill the journal with conclusions.
/// Further ones are counted, and a separate finding has the count.
pub const FINDINGS_BURST: u32 = 30;

/// How long it takes until [`FINDINGS_BURST`] findings of one kind may be recorded again.
pub const FINDINGS_SPAN: Duration = Duration::from_secs(300);

/// Text of a peer in a summary, in characters.
pub const TEXT_SHOWN_MAX: usize = 120;

/// Records of a VM after which the state of its correlators is saved: reading this many again takes some 30 ms, and
/// saving takes less than a hundredth of that.
pub const CHECKPOINT_RECORDS: u32 = 4_096;

/// The largest saved state of one VM, in bytes. A state with all bounded members filled takes about half of that; a
/// VM's own data without a bound (the information of a panic, the list of its jobs) may be larger, and the records are
/// then read again instead.
pub const CHECKPOINT_MAX_BYTES: usize = 256 << 10;

/// How long a VM runs on two hosts before that is reported: longer than clocks of hosts that are kept by NTP differ, and than the
/// records of a hand-over are apart.
pub const TWO_HOSTS_MIN: Duration = Duration::from_secs(10);

/// How far the two sides of a migration may be apart, by the clocks of two hosts.
pub const MIGRATION_SIDES_MAX: Duration = Duration::from_secs(60);

/// VMs of other hosts that are compared with each other, over all hosts (some 300 bytes each). Beyond that, VMs that do not run
/// are dropped, and others are not compared.
pub const HOST_VMS_MAX: usize = 200_000;

/// VMs with one UUID that are compared with each other. A UUID that many copies of a VM have is reported for some of them.
pub const VMS_OF_UUID_MAX: usize = 16;

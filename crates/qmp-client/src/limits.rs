//! Bounds that more than one way to a monitor shares.

/// Most bytes of events that are held back during a snapshot. Past it the epoch opens with the replies that arrived. A
/// peer that sends more before command mode is no QEMU, and is disconnected.
pub(crate) const HELD_MAX_BYTES: usize = 4 << 20;

/// Memory that an event needs beside its name and data, in bytes: its fields and two allocations.
pub(crate) const EVENT_OVERHEAD_BYTES: usize = 112;

//! The two sides of a migration: a VM that leaves a host, and one that arrives.
//!
//! A side is recognised by the run states, with or without the events of migrations: the source ends in `postmigrate`, and the
//! destination leaves `inmigrate`. A migration that fails is in the events of the source, and the destination ends.

use qmp_events::EventKind as K;
use qmp_wire::{Body, Record, UnixMicros};

use crate::condition::Condition;
use crate::finding::Id;
use crate::libvirt;
use crate::observation::{Arrival, Event, Snapshot};

/// One side of a migration that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MigrationSide {
    /// `completed`, `failed` or `cancelled`.
    pub(super) result: &'static str,
    /// The record with which it was over.
    pub(super) id: Id,
    pub(super) at: UnixMicros,
    /// The first status of the migration, at the source.
    pub(super) began: Option<UnixMicros>,
    /// The stop for the switchover, at the source.
    pub(super) stopped: Option<(Id, UnixMicros)>,
    /// Whether the VM runs after it.
    pub(super) runs: bool,
}

/// The migrations of a VM at its host.
#[derive(Debug, Default)]
pub(super) struct MigrationSides {
    began: Option<UnixMicros>,
    stopped: Option<(Id, UnixMicros)>,
    /// Whether the VM waits for its state from another host.
    arrives: bool,
    /// Whether the VM is in `postmigrate`.
    is_left: bool,
    /// The last migration away that is not told.
    pub(super) left: Option<MigrationSide>,
    /// The last migration to here that is not told.
    pub(super) arrived: Option<MigrationSide>,
}

pub(super) const COMPLETED: &str = "completed";
const FAILED: &str = "failed";
const CANCELLED: &str = "cancelled";

impl MigrationSides {
    /// Takes a record, after which the VM is in `condition`. Returns whether a side was added.
    pub(super) fn take(&mut self, record: &Record<'_>, condition: Option<&Condition>) -> bool {
        let sides = (self.left.clone(), self.arrived.clone());
        let id = (record.epoch, record.seq);
        match &record.body {
            Body::Attached { snapshot } => self.attached(snapshot, condition),
            Body::Event { .. } => {
                if let Some(event) = Event::of(&record.body) {
                    self.event(&event, (id, record.received));
                }
            }
            Body::Detached { detail, .. } => {
                let at = record.certain_until().unwrap_or(record.received);
                self.detached(detail.as_deref(), (id, at));
            }
            Body::Finding { .. } => {}
        }
        self.follow(condition);
        sides != (self.left.clone(), self.arrived.clone())
    }

    /// Takes a state for which no record was read.
    pub(super) fn follow(&mut self, condition: Option<&Condition>) {
        let Some(Condition { state, since, cause, .. }) = condition else { return };
        if self.arrives && **state != *"inmigrate" {
            self.arrives = false;
            let mut side = self.side(COMPLETED, (*cause, *since));
            side.runs = **state == *"running";
            self.arrived = Some(side);
        }
        let is_left = **state == *"postmigrate";
        if is_left && !self.is_left {
            self.leave(COMPLETED, (*cause, *since));
        }
        self.is_left = is_left;
    }

    fn attached(&mut self, snapshot: &str, condition: Option<&Condition>) {
        let libvirt = Snapshot::read(snapshot).libvirt;
        let arrival = libvirt.as_ref().and_then(|libvirt| libvirt.arrival());
        (self.began, self.stopped) = (None, None);
        self.arrives = condition.is_some_and(|condition| *condition.state == *"inmigrate")
            || matches!(arrival, Some(Arrival::Migration | Arrival::Unknown));
    }

    fn event(&mut self, event: &Event<'_>, (id, at): (Id, UnixMicros)) {
        match event.kind {
            Some(K::Stop) => self.stopped = Some((id, at)),
            Some(K::Resume) => self.stopped = None,
            Some(K::Migration) => match (event.text("status").unwrap_or_default(), self.arrives) {
                (FAILED, true) => self.fail_to_arrive((id, at)),
                (FAILED, false) => self.leave(FAILED, (id, at)),
                (CANCELLED, false) => self.leave(CANCELLED, (id, at)),
                // The state follows.
                (COMPLETED, _) | (_, true) => {}
                (_, false) => _ = self.began.get_or_insert(at),
            },
            _ => {}
        }
    }

    fn detached(&mut self, detail: Option<&str>, end: (Id, UnixMicros)) {
        if self.arrives {
            self.fail_to_arrive(end);
        }
        let is_migrated = detail.and_then(libvirt::ended_word) == Some("migrated");
        if is_migrated && !self.is_left {
            self.leave(COMPLETED, end);
        }
    }

    fn fail_to_arrive(&mut self, end: (Id, UnixMicros)) {
        self.arrives = false;
        self.arrived = Some(self.side(FAILED, end));
    }

    fn leave(&mut self, result: &'static str, end: (Id, UnixMicros)) {
        self.left = Some(self.side(result, end));
        self.began = None;
    }

    fn side(&self, result: &'static str, (id, at): (Id, UnixMicros)) -> MigrationSide {
        MigrationSide { result, id, at, began: self.began, stopped: self.stopped, runs: false }
    }
}

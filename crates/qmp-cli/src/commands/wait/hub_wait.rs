//! Waiting through the hub: the records of the journal, the VM's state, and the following records, without a gap between
//! them.

use std::time::Duration;

use jiff::tz::TimeZone;
use qmp_host::clock;
use qmp_wire::{Offset, Record, UnixMicros};
use tokio::time::Instant;

use super::goal::{Goal, SINCE_HINT, gone};
use crate::commands::detached::{is_gone, is_left};
use crate::commands::log::source::removed;
use crate::commands::vm_state::{ATTACH_POLL, vm_state};
use crate::commands::{ended, left};
use crate::exit::Failure;
use crate::hub::{HubClient, HubError, HubFollow, HubItem, Query, VmInfo};
use crate::output;

/// How long after the end of a VM findings about it may arrive: the hub waits 2 s for the exit of its process.
const FINDINGS_LATE_MAX: Duration = Duration::from_secs(5);

/// A wait through the hub.
pub(super) struct HubWait<'a> {
    pub(super) client: HubClient,
    pub(super) name: &'a str,
    pub(super) goal: &'a Goal,
    pub(super) query: Query,
    /// Whether the wait begins at an offset that the user gave, and no note about removed records has been printed.
    pub(super) is_since_offset: bool,
    /// Records up to here are processed.
    pub(super) position: Offset,
    /// The time zone of messages.
    pub(super) zone: TimeZone,
}

/// The result of [`HubWait::follow`].
enum WaitStep {
    Match(Record<'static>),
    Gone,
    /// The hub is back, or the VM was removed from it: check its state again.
    CheckAgain,
}

impl HubWait<'_> {
    /// Waits for an event or a finding.
    pub(super) async fn matching(mut self, keep_waiting: bool) -> Result<Record<'static>, Failure> {
        loop {
            if let Some(record) = self.history().await? {
                return Ok(record);
            }
            if !keep_waiting {
                let vm = self.vm_state().await?;
                if !vm.as_ref().is_some_and(VmInfo::is_attached) {
                    // Records between the history and the VM's state count, too.
                    return match self.history().await? {
                        None => self.late_finding(vm).await,
                        Some(record) => Ok(record),
                    };
                }
            }
            match self.follow(keep_waiting).await? {
                WaitStep::Match(record) => return Ok(record),
                WaitStep::Gone => {
                    let vm = self.vm_state().await?;
                    return self.late_finding(vm).await;
                }
                WaitStep::CheckAgain => {}
            }
        }
    }

    /// Waits until QEMU is gone; returns the record that closed its last epoch, if it had one.
    pub(super) async fn ended(mut self) -> Result<Option<Record<'static>>, Failure> {
        let mut is_noted = false;
        let end = loop {
            if let Some(end) = self.history().await? {
                break Some(end);
            }
            let Some(vm) = self.vm_state().await? else {
                break Some(ended::of_removed(&self.client, self.name, self.gone(None).await?).await?);
            };
            if vm.is_gone() {
                let end = ended::last_end(&self.client, self.name).await?;
                if end.is_none() && left::last(&self.client, self.name, None).await?.is_none() {
                    output::note(format_args!("note: {}", self.never_seen(&vm)));
                }
                break end;
            }
            if !vm.is_attached() {
                // The hub retries; the result is no record, so its state is polled.
                if !std::mem::replace(&mut is_noted, true) {
                    let error = vm.error.as_deref().unwrap_or("the hub is about to attach it");
                    output::note(format_args!("note: {} is {}: {error}", self.name, vm.state));
                }
                tokio::time::sleep(ATTACH_POLL).await;
            } else if let WaitStep::Match(end) = self.follow(false).await? {
                break Some(end);
            }
        };
        if let Some(end) = &end {
            ended::process_exit(&self.client, self.name, end).await?;
        }
        Ok(end)
    }

    /// Waits for a finding about the end of a VM, as long as such findings may arrive.
    ///
    /// # Errors
    ///
    /// That the VM is gone, if no such finding arrives, or if the goal is an event.
    async fn late_finding(&mut self, vm: Option<VmInfo>) -> Result<Record<'static>, Failure> {
        if !matches!(self.goal, Goal::Finding { .. }) {
            return Err(self.gone(vm).await?);
        }
        let since = match &vm {
            Some(vm) => vm.since.as_deref().and_then(|since| since.parse::<UnixMicros>().ok()),
            None => ended::last_end(&self.client, self.name).await?.map(|end| end.received),
        };
        let passed_us = since.map_or(0, |since| clock::now().0.saturating_sub(since.0));
        let passed = Duration::from_micros(u64::try_from(passed_us).unwrap_or(0));
        let deadline = Instant::now() + FINDINGS_LATE_MAX.saturating_sub(passed);
        loop {
            match tokio::time::timeout_at(deadline, self.follow(true)).await {
                Err(_) => return Err(self.gone(vm).await?),
                Ok(Err(failure)) => return Err(failure),
                Ok(Ok(WaitStep::Match(record))) => return Ok(record),
                Ok(Ok(WaitStep::Gone | WaitStep::CheckAgain)) => {}
            }
        }
    }

    /// Says that the VM is not running, and that no record shows that it ever was.
    fn never_seen(&self, vm: &VmInfo) -> String {
        let reason = vm.error.as_deref().unwrap_or(&vm.state);
        format!("{} is not running, and the hub never attached it: {reason}", self.name)
    }

    /// The failure that the VM, in state `vm` or removed from the hub, is gone and the goal was not reached.
    async fn gone(&self, vm: Option<VmInfo>) -> Result<Failure, Failure> {
        let (name, goal) = (self.name, self.goal);
        if vm.is_some() {
            return Ok(gone(name, goal));
        }
        let seen = match left::last(&self.client, name, None).await? {
            Some(last) => left::seen(last.received, &self.zone),
            None => "the journal has no record of it".to_owned(),
        };
        let failure = Failure::gone(format_args!("{name} left the hub, and no {goal} was reported; {seen}"));
        Ok(match goal {
            // The hub closed its last epoch, by a reload or because its socket was removed.
            Goal::Ended => failure.hint(format_args!(
                "no record shows that QEMU closed its monitor, so whether it has ended is unknown; qmp log --vm {name} shows its records"
            )),
            Goal::Event { .. } | Goal::Finding { .. } => left::with_hints(failure, name).hint(SINCE_HINT),
        })
    }

    /// Reads the journal after the position.
    async fn history(&mut self) -> Result<Option<Record<'static>>, Failure> {
        loop {
            match self.try_history().await {
                Err(error) if error.is_passing() => tokio::time::sleep(ATTACH_POLL).await,
                other => return Ok(other?),
            }
        }
    }

    async fn try_history(&mut self) -> Result<Option<Record<'static>>, HubError> {
        let mut lines = self.client.records(&self.query.with("after", self.position.0)).await?;
        // Records before a time that was given are not missed.
        if lines.removed() > 0 && std::mem::take(&mut self.is_since_offset) {
            output::note(removed(lines.removed()));
        }
        while let Some(record) = lines.next_record().await? {
            self.position = record.offset.unwrap_or(self.position);
            if *record.vm == *self.name && self.goal.is_match(&record) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The state of the VM; waits for a while if the hub is connecting to it.
    async fn vm_state(&self) -> Result<Option<VmInfo>, Failure> {
        vm_state(&self.client, self.name).await
    }

    /// Waits for records after the position.
    async fn follow(&mut self, keep_waiting: bool) -> Result<WaitStep, Failure> {
        let mut follow = HubFollow::new(self.client.clone(), self.query.clone(), self.position);
        let end = loop {
            match follow.next().await? {
                // The pattern also matches VMs of other hosts.
                HubItem::Record(record) if *record.vm != *self.name => {}
                HubItem::Record(record) if self.goal.is_match(&record) => break WaitStep::Match(record),
                HubItem::Record(record) if is_gone(&record) && !keep_waiting => break WaitStep::Gone,
                HubItem::Record(record) if is_left(&record) && !keep_waiting => break WaitStep::CheckAgain,
                HubItem::Record(_) | HubItem::Lost(_) => {}
                HubItem::Removed(records) => output::note(removed(records)),
                HubItem::Back => break WaitStep::CheckAgain,
            }
        };
        self.position = follow.position();
        Ok(end)
    }
}

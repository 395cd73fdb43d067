#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! Correlators read the records of each VM in the order of the journal and conclude: why the VM stopped, how a job
//! ended, which expected event is missing. Correlators are pure. Time comes from the records alone, and from
//! [`Correlators::time_passed`] for events that did *not* happen; a deadline expires at its own moment, however late
//! the call, so that the same records give the same findings on every replay, in any batching.
//!
//! Findings do not feed back: a record of a finding is skipped. Each VM is tracked separately, and starts anew with
//! each epoch: nothing is concluded across a gap. Where the numbers of the records have a hole, retention has removed
//! records or they cannot be read, and the VM is tracked afresh from there: nothing is concluded across the hole. Only the difference between the state before the gap and the state
//! after it is reported, and the explanation of a state is continued where the state is unchanged.
//!
//! ```text
//! records ─ VmTracker (one a VM): local time → observation → each correlator → budget → findings
//! ```
//!
//! What the records of several hosts tell together is concluded by [`HostCorrelators`], from the records and from the states of
//! their VMs.
//!
//! Every kind, with an example, is in `docs/findings.md`; the reasons for the design are in
//! `docs/adr/0005-findings.md`. A new correlator is a file in `src/`, with its `mod` line and its line in
//! `correlator_set.rs`; each of its kinds is a row of the table in `kinds.rs`.
//!
//! This crate must never use a clock, a file, a socket or a task: its only input are the records. Modules are listed
//! from the lowest to the highest, and each imports only those before it.

mod limits;
mod finding;
mod text;
mod persist;
pub mod state;
mod persist_values;
mod local_time;
mod position;
mod libvirt;
mod question;
mod process;
mod observation;
mod subject;
mod conclusion;
mod epoch;
mod correlator;
mod budget;

mod clock_steps;
mod drift;
mod interrupted;
mod jobs;
mod migration;
mod powerdown;
mod sequels;
mod storms;
mod unplug;
mod unplug_ignored;
mod unseen;
mod why;

mod kinds;
mod severity;
mod members;
mod persist_words;
mod recorded;
mod correlator_set;
mod unended;
mod condition;
mod tracker;
mod correlators;
mod checkpoint;
mod state_alerts;
mod hosts;

pub use checkpoint::SavedState;
pub use condition::Condition;
pub use correlators::Correlators;
pub use finding::{Finding, Id};
pub use hosts::HostCorrelators;
pub use kinds::{
    ALERT, ANSWERS_AGAIN, FindingExtent, FindingKind, FindingSeverity, HOST_ANSWERS_AGAIN, HOST_SILENT,
    KINDS, MIGRATED, NOTE, OVER_HOSTS, RESOLVED, SILENCE, SILENT, TWO_HOSTS, TWO_HOSTS_OVER,
};
pub use libvirt::{LIBVIRT_DETAIL, LIBVIRT_STATE, snapshot_run_state};
pub use limits::*;
pub use members::{assert_listed, kinds, members};
pub use observation::{COMMAND, PROCESS_ENDED, QUERY, is_evidence};
pub use position::Position;
pub use process::{Process, ProcessStart};
pub use question::{QUERY_STATUS, Question};
pub use state_alerts::{OpenAlert, StateAlerts, StateRule, StateRuleScope};
pub use unended::UnendedVm;
pub use why::{GONE, run_states};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

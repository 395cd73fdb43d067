//! The journal into which records are imported.
//!
//! Records of other hosts' VMs are foreign: they keep their numbers, which may have holes. Those of the journal's own VMs are numbered
//! by the journal, as it does for a hub. So their numbers are kept if they are those of a hub: from the first record of the VM
//! on, without a hole. Anything else is refused before it is written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use qmp_journal::{
    Appender, Batch, Draft, ForeignBatch, Health, Journal, JournalEnded, JournalOptions, Ticket,
};
use qmp_wire::{Body, Epoch, Offset, QualifiedName, Record, Seq};

use super::conflicts::{Conflict, Conflicts, shown};
use super::repeated::Repeated;
use crate::exit::Failure;

/// Records that are handed to the journal at a time.
const BATCH_RECORDS: usize = 4_096;

/// The numbers of an import.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) imported: u64,
    /// Records that the journal had.
    pub(super) repeated: u64,
    /// Records that the hub of another journal added to those of other hosts' VMs.
    pub(super) added: u64,
}

/// A journal that this process writes.
pub(super) struct Target {
    path: PathBuf,
    journal: Journal,
    appender: Appender,
    repeated: Repeated,
    /// The last record of each VM, in the journal or on the way to it.
    last: HashMap<Box<str>, LastRecord>,
    own: Batch,
    foreign: ForeignBatch,
    ticket: Option<Ticket>,
    outcome: Outcome,
    conflicts: Conflicts,
}

/// The last record of a VM.
#[derive(Clone, Copy)]
struct LastRecord {
    numbers: (Epoch, Seq),
    is_open: bool,
}

/// What is to be done with a record.
enum Verdict {
    Next,
    /// The journal may have it: it is not after the last of its VM.
    Earlier,
    /// It would get other numbers.
    Hole,
    /// A hub's own record about a VM of another host, whose number belongs to that hub's journal.
    Added,
}

impl Target {
    /// Opens the journal, and creates it if it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let options = JournalOptions {
            digest: qmp_history::DIGEST,
            closes_open_epochs: false,
            ..JournalOptions::default()
        };
        let journal = Journal::open(path, options)?;
        let reader = journal.reader();
        let mut last = HashMap::new();
        for record in reader.last_of_each_vm()? {
            let numbers = (record.epoch, record.seq);
            last.insert(record.vm.as_ref().into(), LastRecord { numbers, is_open: false });
        }
        for vm in reader.vms()?.into_iter().filter(|vm| vm.attached) {
            last.entry(vm.vm).and_modify(|last| last.is_open = true);
        }
        Ok(Self {
            path: path.to_owned(),
            appender: journal.appender(),
            repeated: Repeated::new(reader),
            journal,
            last,
            own: Batch::new(),
            foreign: ForeignBatch::new(),
            ticket: None,
            outcome: Outcome::default(),
            conflicts: Conflicts::default(),
        })
    }

    /// Whether the journal has no record.
    pub(super) fn is_new(&self) -> bool {
        self.journal.head() == Offset(0)
    }

    fn verdict(&self, record: &Record<'_>) -> Verdict {
        let is_foreign = QualifiedName::parse(&record.vm).is_some();
        if is_foreign && record.seq.is_added() {
            return Verdict::Added;
        }
        let numbers = (record.epoch, record.seq);
        let last = if is_foreign { self.appender.last_foreign(&record.vm) } else { None };
        let known = self.last.get(record.vm.as_ref());
        let last =
            last.max(known.map(|known| known.numbers).filter(|(_, seq)| !is_foreign || !seq.is_added()));
        if last.is_some_and(|last| numbers <= last) {
            return Verdict::Earlier;
        }
        if is_foreign || numbers == due(known, &record.body) { Verdict::Next } else { Verdict::Hole }
    }

    /// Compares the record with those of the journal, and writes nothing.
    pub(super) fn check(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        match self.verdict(record) {
            // A hole is found when the record before it is imported.
            Verdict::Added | Verdict::Next | Verdict::Hole => {}
            Verdict::Earlier => match self.repeated.is_same(record)? {
                Some(true) => {}
                Some(false) => self.conflicts.add(Conflict::OtherContent, record),
                None => self.conflicts.add(Conflict::Missing, record),
            },
        }
        Ok(())
    }

    /// Fails if a record that was checked cannot be imported.
    pub(super) fn finish_check(&mut self) -> Result<(), Failure> {
        std::mem::take(&mut self.conflicts).into_result(&self.path)
    }

    /// Imports the record, unless the journal has it.
    pub(super) async fn add(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        let what = match self.verdict(record) {
            Verdict::Added => {
                self.outcome.added += 1;
                return Ok(());
            }
            Verdict::Next => return self.push(record).await,
            Verdict::Hole => "does not follow the last record of its VM: records before it are missing",
            Verdict::Earlier => {
                self.commit().await?;
                match self.repeated.is_same(record)? {
                    Some(true) => {
                        self.outcome.repeated += 1;
                        return Ok(());
                    }
                    Some(false) => "has an identity that was imported with other content",
                    None => "comes after a later one of its VM",
                }
            }
        };
        let (shown, imported) = (shown(record), self.outcome.imported);
        let failure =
            Failure::failed(format_args!("{shown} {what}; {imported} records before it were imported"));
        Err(match self.verdict(record) {
            Verdict::Hole => failure.hint(
                "the VMs of the journal's own host are imported whole; those of another host need not be: --as-host NAME",
            ),
            _ => failure.hint("records are imported in their order, without qmp log --reverse"),
        })
    }

    async fn push(&mut self, record: &Record<'_>) -> Result<(), Failure> {
        let is_foreign = QualifiedName::parse(&record.vm).is_some();
        // The records stay in order: only one of the two batches has some.
        let has_other = if is_foreign { !self.own.is_empty() } else { !self.foreign.is_empty() };
        if has_other {
            self.append().await?;
        }
        if is_foreign {
            self.foreign.push(record).map_err(Failure::failed)?;
        } else {
            self.own.push(&Draft { vm: &record.vm, received: record.received, body: record.body.clone() });
        }
        let before = self.last.get(record.vm.as_ref()).is_some_and(|last| last.is_open);
        let is_open = match record.body {
            Body::Attached { .. } => true,
            Body::Detached { .. } => false,
            Body::Event { .. } | Body::Finding { .. } => before,
        };
        let last = LastRecord { numbers: (record.epoch, record.seq), is_open };
        self.last.insert(record.vm.as_ref().into(), last);
        self.outcome.imported += 1;
        if self.own.len() + self.foreign.len() >= BATCH_RECORDS { self.append().await } else { Ok(()) }
    }

    /// Commits the rest.
    pub(super) async fn finish(&mut self) -> Result<Outcome, Failure> {
        self.commit().await?;
        Ok(self.outcome)
    }

    async fn append(&mut self) -> Result<(), Failure> {
        let Self { journal, appender, own, foreign, .. } = self;
        let appending = async {
            match own.is_empty() {
                false => appender.append_when_room(own).await.map_err(Failure::failed),
                true => appender.append_foreign_when_room(foreign).await.map_err(Failure::failed),
            }
        };
        let ticket = unless_stalled(journal, appending).await?;
        self.ticket = Some(ticket);
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        if !self.own.is_empty() || !self.foreign.is_empty() {
            self.append().await?;
        }
        let Some(ticket) = self.ticket.take() else { return Ok(()) };
        let committing = async {
            let committed: Result<Offset, JournalEnded> = self.appender.committed(ticket).await;
            committed.map(drop).map_err(Failure::failed)
        };
        unless_stalled(&self.journal, committing).await
    }

    /// Closes the journal.
    pub(super) fn close(self) -> Result<(), Failure> {
        Ok(self.journal.close()?)
    }
}

/// The numbers that the journal gives to the next record of a VM of its own host.
fn due(last: Option<&LastRecord>, body: &Body<'_>) -> (Epoch, Seq) {
    match (last, body) {
        // The journal would close the open epoch with a record of its own.
        (Some(LastRecord { is_open: true, numbers: (epoch, seq) }), Body::Attached { .. }) => {
            (*epoch, Seq(seq.0.saturating_add(1)))
        }
        (last, Body::Attached { .. }) => {
            (Epoch(last.map_or(0, |last| last.numbers.0.0).saturating_add(1)), Seq(0))
        }
        (Some(LastRecord { numbers: (epoch, seq), .. }), _) => (*epoch, Seq(seq.0.saturating_add(1))),
        (None, _) => (Epoch(0), Seq(0)),
    }
}

/// Does `work`, or fails once the journal cannot be written. A hub would retry for as long as the disk is full.
async fn unless_stalled<T>(
    journal: &Journal,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut health = journal.health();
    let stalled = async {
        match health.wait_for(|health| *health != Health::Writing).await {
            Ok(health) => health.to_string(),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        stalled = stalled => Err(Failure::failed(format_args!("{}: {stalled}", journal.path().display()))
            .hint("import again when it is over: records that were imported are left out")),
    }
}

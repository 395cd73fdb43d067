//! The observer: a cursor on the journal that feeds the correlators and appends their findings.
//!
//! It reads all records, and skips its own findings. Each finding is recorded exactly once, also after a crash: a finding is
//! identified by its VM, kind and causes, and a hub that starts reads again the records that may be unfinished, concludes the
//! same, and appends the findings that are missing (see `resume.rs`).
//!
//! The absence of an event is concluded only after everything that was received by the deadline was read: the observer reads
//! the clock, waits until all earlier appends are committed, reads up to there, and then passes that time to the correlators.
//!
//! VMs of other hosts have states, to which this hub applies its rules on states (see `alerts.rs`), and nothing else: their own
//! hub records their findings, and asks their monitors. Its findings arrive as records. What several hosts tell together is
//! concluded here (see `hosts.rs`).

mod alerts;
mod checkpoint;
mod finding_counts;
mod hosts;
mod resume;
mod vm_states;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use qmp_host::clock::Clock;
use qmp_host::{blocking, lock};
use qmp_wire::{Body, Offset, Record, UnixMicros};
use tokio::sync::{Notify, watch};

pub(crate) use alerts::StateRules;
pub use checkpoint::{RestoredState, restore_checkpoint};
pub use hosts::VmOnTwoHosts;
pub(crate) use vm_states::FollowedVms;
pub use vm_states::VmStates;
use vm_states::{ObserverState, VMS_KNOWN_MAX, recall};

use qmp_findings::{Finding, Question};
use qmp_journal::{
    Appender, Batch, Checkpoint, Cursor, Draft, Journal, JournalEnded, JournalError, Query, Reader,
};

use crate::vm::is_of_other_host;

/// Records read at once: a query for a VM's state waits while they are correlated, a few milliseconds.
const BATCH_RECORDS: usize = 1_024;

/// How often a distant deadline is compared with the clock, which may be set in the meantime.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a record may take from its receipt to the journal's queue, on a host that is busy. A deadline is
/// checked that much later.
const RECEIPT_MAX: Duration = Duration::from_millis(250);

/// How long the observer waits before it reads again after an error.
const READ_RETRY: Duration = Duration::from_secs(1);

/// Feeds the correlators for as long as the hub runs.
pub struct Observer {
    shared: Arc<ObserverState>,
    reader: Reader,
    appender: Appender,
    /// Whether findings are appended; states are always kept.
    records_findings: bool,
    take_questions: Option<TakeQuestions>,
    clock: Clock,
    /// The rules on states, as they change; `None` without a hub.
    state_rules: Option<watch::Receiver<StateRules>>,
    /// Notifies of changes of the silences of these rules.
    silences_changed: Arc<Notify>,
    /// Notifies of removed VMs.
    vm_removed: Arc<Notify>,
    /// The offset from which on VMs without a checkpoint are looked for again.
    looked_at: AtomicU64,
}

/// Takes the questions of the correlators.
type TakeQuestions = Box<dyn Fn(Vec<Question>) + Send + Sync>;

impl Observer {
    /// An observer of that journal, which has read nothing yet.
    #[must_use]
    pub fn new(journal: &Journal, records_findings: bool) -> Self {
        Self {
            shared: Arc::default(),
            reader: journal.reader(),
            appender: journal.appender(),
            records_findings,
            take_questions: None,
            clock: Clock::Host,
            state_rules: None,
            silences_changed: Arc::default(),
            vm_removed: Arc::default(),
            looked_at: AtomicU64::new(0),
        }
    }

    /// Reads the time from `clock`.
    pub(crate) fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Hands the questions of the correlators to `take`: what the records do not tell.
    pub(crate) fn with_questions(mut self, take: impl Fn(Vec<Question>) + Send + Sync + 'static) -> Self {
        self.take_questions = Some(Box::new(take));
        self
    }

    /// The states of the VMs, as it reads on.
    #[must_use]
    pub fn vm_states(&self) -> VmStates {
        VmStates { shared: Arc::clone(&self.shared), reader: self.reader.clone() }
    }

    /// Runs until `stop` is true and everything in the journal was read.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let ended = async {
            let mut cursor = match self.resume().await {
                Err(error) if !matches!(error, JournalError::Ended(_)) => self.start_afresh(&error)?,
                resumed => resumed?,
            };
            let mut rules = self.state_rules.clone();
            self.apply_state_rules(&mut rules).await?;
            loop {
                cursor = self.catch_up(cursor).await?;
                let pause = self.pause();
                if pause.is_some_and(|pause| pause.is_zero()) {
                    cursor = self.let_time_pass(cursor).await?;
                    continue;
                }
                tokio::select! {
                    more = cursor.wait() => more?,
                    () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
                    () = alerts::changed(&mut rules) => self.apply_state_rules(&mut rules).await?,
                    () = self.silences_changed.notified() => self.apply_state_rules(&mut rules).await?,
                    () = self.shared.host_signs.changed() => cursor = self.hear_hosts(cursor).await?,
                    () = self.vm_removed.notified() => cursor = self.let_time_pass(cursor).await?,
                    // The sender lives as long as the hub.
                    () = stopped(&mut stop) => break,
                }
            }
            self.catch_up(cursor).await.map(drop)
        };
        match ended.await {
            Ok(()) | Err(JournalError::Ended(_)) => {}
            Err(error) => tracing::error!("no findings from here on: {error}"),
        }
    }

    /// Continues at the head, because earlier records cannot be read.
    fn start_afresh(&self, error: &JournalError) -> Result<Cursor, JournalError> {
        let head = self.reader.head()?;
        tracing::error!(after = head.0, "findings begin afresh: {error}");
        self.shared.position.send_replace(head);
        Ok(self.reader.cursor(Query::default(), head))
    }

    /// Reads the records that may be unfinished. Returns the cursor to continue with.
    async fn resume(&self) -> Result<Cursor, JournalError> {
        let by = everything_by(self.clock);
        let ticket = self.appender.append_when_room(&mut Batch::new()).await?;
        self.appender.committed(ticket).await?;
        let reader = self.reader.clone();
        let resumed = blocking(move || resume::resume(&reader, by, VMS_KNOWN_MAX)).await?;
        *self.shared.lock() = resumed.correlators;
        *lock(&self.shared.hosts) = resumed.hosts;
        self.shared.position.send_replace(resumed.upto);
        self.append(&resumed.unrecorded, resumed.checkpoints).await?;
        self.ask();
        Ok(self.reader.cursor(Query::default(), resumed.upto))
    }

    /// Reads to the head.
    async fn catch_up(&self, mut cursor: Cursor) -> Result<Cursor, JournalError> {
        loop {
            let (shared, reader) = (Arc::clone(&self.shared), self.reader.clone());
            let work = move || {
                let records = cursor.next_batch(BATCH_RECORDS);
                if let Some(removed) = cursor.take_removed() {
                    tracing::error!("findings are incomplete: {}", JournalError::Removed { removed });
                }
                let found = records.map(|records| correlate(&shared, &reader, &records));
                (cursor, found)
            };
            let (back, found) = blocking(work).await;
            cursor = back;
            match found {
                Ok(None) => {
                    self.shared.position.send_replace(cursor.position());
                    return Ok(cursor);
                }
                Ok(Some((found, mut checkpoints))) => {
                    checkpoints.extend(self.checkpoints_before_removal(cursor.position())?);
                    self.append(&found, checkpoints).await?;
                    self.shared.position.send_replace(cursor.position());
                    self.ask();
                }
                Err(error) => {
                    tracing::error!("cannot read the journal for findings: {error}");
                    tokio::time::sleep(READ_RETRY).await;
                }
            }
        }
    }

    /// The checkpoints of VMs whose records retention may remove next, after everything up to `position` was read.
    fn checkpoints_before_removal(&self, position: Offset) -> Result<Vec<Checkpoint>, JournalError> {
        if !self.appender.removes_records() || position.0 < self.looked_at.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let first = self.reader.first()?;
        // A look visits all VMs.
        let pause = (position.0.saturating_sub(first.0) / 64).max(64);
        self.looked_at.store(position.0.saturating_add(pause), Ordering::Relaxed);
        Ok(checkpoint::checkpoints_before_removal(&mut self.shared.lock(), first, position))
    }

    /// How long to wait until the next deadline must be checked; `None` if there is none.
    fn pause(&self) -> Option<Duration> {
        let of_correlators = self.shared.lock().deadline();
        let deadline = of_correlators.into_iter().chain(lock(&self.shared.alerts).deadline()).min()?;
        let left_us = deadline.0.saturating_sub(everything_by(self.clock).0);
        // One microsecond more, because the deadline must have passed.
        let left = Duration::from_micros(u64::try_from(left_us.saturating_add(1)).unwrap_or(0));
        Some(left.min(LOOK_AGAIN))
    }

    /// Passes the time to the correlators, after all earlier records were read.
    async fn let_time_pass(&self, cursor: Cursor) -> Result<Cursor, JournalError> {
        let by = everything_by(self.clock);
        // The commit of an empty batch is the commit of all earlier batches.
        if let Ok(ticket) = self.appender.append(&mut Batch::new()) {
            self.appender.committed(ticket).await?;
            let cursor = self.catch_up(cursor).await?;
            let mut found = Vec::new();
            self.shared.lock().time_passed(by, &mut found);
            self.shared.alerts_at(by, &mut found);
            self.append(&found, Vec::new()).await?;
            self.ask();
            return Ok(cursor);
        }
        // No room: received events are not in the journal, and nothing can be concluded.
        self.appender.room().await?;
        Ok(cursor)
    }

    /// Passes on how far hosts were heard, after their records were read.
    async fn hear_hosts(&self, cursor: Cursor) -> Result<Cursor, JournalError> {
        let cursor = self.catch_up(cursor).await?;
        let mut found = Vec::new();
        {
            let (mut alerts, mut over_hosts) = (lock(&self.shared.alerts), lock(&self.shared.hosts));
            self.shared.host_signs.apply(cursor.position(), |host, upto| {
                over_hosts.heard(host, upto, &mut found);
                alerts::heard(&mut alerts, host, upto, &mut found);
            });
        }
        self.append(&found, Vec::new()).await?;
        Ok(cursor)
    }

    /// Hands on the questions that were raised. Without a function that takes them, they are dropped.
    fn ask(&self) {
        let mut questions = self.shared.lock().questions();
        questions.retain(|question| !is_of_other_host(&question.vm));
        if let Some(take) = &self.take_questions {
            take(questions);
        }
    }

    /// Appends findings, and after them checkpoints of a time by which no other findings were concluded. Waits for room.
    async fn append(&self, findings: &[Finding], checkpoints: Vec<Checkpoint>) -> Result<(), JournalEnded> {
        // Without the findings a checkpoint would hide them from a hub that records findings.
        if (findings.is_empty() && checkpoints.is_empty()) || !self.records_findings {
            return Ok(());
        }
        let mut batch = Batch::new();
        for finding in findings.iter().filter(|finding| alerts::is_own(finding)) {
            batch.push(&Draft { vm: &finding.vm, received: finding.at, body: finding.body() });
        }
        checkpoints.into_iter().for_each(|checkpoint| batch.push_checkpoint(checkpoint));
        self.appender.append_when_room(&mut batch).await.map(drop)
    }
}

/// The time by which everything that was received is in the journal's queue.
fn everything_by(clock: Clock) -> UnixMicros {
    let late = i64::try_from(RECEIPT_MAX.as_micros()).unwrap_or(i64::MAX);
    UnixMicros(clock.now().0.saturating_sub(late))
}

impl fmt::Debug for Observer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shared, records_findings, .. } = self;
        out.debug_struct("Observer")
            .field("shared", shared)
            .field("records_findings", records_findings)
            .finish_non_exhaustive()
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Hands records to the correlators; `None` if there are none. Everything that was concluded by the time of a checkpoint is
/// among the findings, or was returned before.
fn correlate(
    shared: &ObserverState,
    reader: &Reader,
    records: &[Record<'static>],
) -> Option<(Vec<Finding>, Vec<Checkpoint>)> {
    if records.is_empty() {
        return None;
    }
    let (mut found, mut checkpoints) = (Vec::new(), Vec::new());
    let (mut correlators, mut alerts) = (shared.lock(), lock(&shared.alerts));
    let mut over_hosts = lock(&shared.hosts);
    for record in records {
        if record.epoch.0 > 1 && !correlators.has_vm(&record.vm) {
            let before = Offset(record.offset.map_or(0, |offset| offset.0.saturating_sub(1)));
            recall(&mut correlators, reader, &record.vm, before);
        }
        correlators.record(record, &mut found);
        alerts::observe(shared, &mut alerts, &correlators, record, &mut found);
        hosts::observe(&mut over_hosts, &correlators, record, &mut found);
        shared.finding_counts.count(record);
        checkpoints.extend(
            record.offset.and_then(|offset| checkpoint::checkpoint(&mut correlators, &record.vm, offset)),
        );
        let is_over = matches!(record.body, Body::Detached { .. }) && !correlators.has_deadline(&record.vm);
        if is_over && correlators.len() > VMS_KNOWN_MAX {
            correlators.forget(&record.vm);
            shared.finding_counts.forget(&record.vm);
        }
    }
    Some((found, checkpoints))
}

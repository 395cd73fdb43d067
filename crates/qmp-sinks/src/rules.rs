//! All rules of a hub: starts, replaces, reports and stops them.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use qmp_findings::OpenAlert;
use qmp_host::blocking;
use qmp_host::{Duties, lock};
use qmp_journal::{Appender, Batch, Journal, JournalError, Reader};
use qmp_wire::{Offset, UnixMicros};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::delivery::DeliveryOrigin;
use super::positions::{Position, Positions, PositionsError};
use super::rule::RuleConfig;
use super::runner::{Order, Runner};
use super::silences::{Silence, SilenceError};
use super::status::{SinkStatus, Status};

/// How long rules that stop may take for deliveries in progress and for the records in the journal by then. The rest is
/// delivered after the next start.
pub const STOP_DELIVERY_MAX: Duration = Duration::from_secs(5);

/// Records of alerts that are read at once when a hub starts.
const ALERTS_READ_AT_ONCE: usize = 1_024;

/// The rules of a hub. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rules(Arc<RuleState>);

#[derive(Debug)]
struct RuleState {
    reader: Reader,
    appender: Appender,
    positions: Positions,
    host: Box<str>,
    journal: Box<str>,
    active: Mutex<Vec<ActiveRule>>,
    /// Serializes changes.
    change: tokio::sync::Mutex<()>,
    duties: Duties,
    /// Writes the positions.
    writer: Mutex<Option<Task>>,
    stop_writer: watch::Sender<bool>,
    silences_changed: Arc<Notify>,
}

#[derive(Debug)]
struct ActiveRule {
    rule: RuleConfig,
    order: watch::Sender<Order>,
    status: Arc<Status>,
    task: Task,
}

/// A task that is aborted on drop.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Errors of starting rules.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// The positions of the rules cannot be read.
    #[error(transparent)]
    Positions(#[from] PositionsError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Two rules have one name.
    #[error("two rules are called {name}; each needs a unique name")]
    DuplicateName {
        /// The name.
        name: Box<str>,
    },
}

/// The result of [`Rules::replace`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New rules.
    pub added: Vec<Box<str>>,
    /// Changed rules; they continue at their position.
    pub changed: Vec<Box<str>>,
    /// Removed rules. Their positions are kept in case they return.
    pub removed: Vec<Box<str>>,
    /// The number of unchanged rules, which continue undisturbed.
    pub unchanged: usize,
}

impl Changes {
    /// Whether every rule is unchanged.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

impl Rules {
    /// Starts the rules on a journal. A new rule begins at the journal's head. `host` is the name of this host in deliveries,
    /// in place of the system's.
    pub async fn start(
        rules: Vec<RuleConfig>,
        host: Option<Box<str>>,
        journal: &Journal,
        path: &Path,
    ) -> Result<Self, RulesError> {
        let (reader, path) = (journal.reader(), path.to_owned());
        let opened = blocking(move || {
            // A journal that a hub has opened has an identity.
            let identity = reader.identity()?.unwrap_or_default();
            Ok::<_, RulesError>((Positions::open(&path, &identity)?, identity))
        });
        let (positions, identity) = opened.await?;
        let (stop_writer, stop) = watch::channel(false);
        let duties = journal.duties();
        let stopping = stop.clone();
        let write = positions.clone().write_until_stopped(stop);
        let writer =
            Task(tokio::spawn(duties.watch("positions of rules", move || *stopping.borrow(), write)));
        let of_system = || rustix::system::uname().nodename().to_string_lossy().into_owned().into();
        let host = host.unwrap_or_else(of_system);
        let started = Self(Arc::new(RuleState {
            reader: journal.reader(),
            appender: journal.appender(),
            positions,
            host,
            journal: identity,
            active: Mutex::default(),
            change: tokio::sync::Mutex::default(),
            duties,
            writer: Mutex::new(Some(writer)),
            stop_writer,
            silences_changed: Arc::default(),
        }));
        started.replace(rules).await?;
        Ok(started)
    }

    /// Replaces the rules of the hub. Unchanged rules continue undisturbed; removed and changed rules finish the
    /// delivery in progress, for at most [`STOP_DELIVERY_MAX`].
    ///
    /// # Errors
    ///
    /// Any [`RulesError`]. If two rules have one name, nothing was changed.
    pub async fn replace(&self, rules: Vec<RuleConfig>) -> Result<Changes, RulesError> {
        let _one_at_a_time = self.0.change.lock().await;
        let mut names = HashSet::new();
        if let Some(twice) = rules.iter().find(|rule| !names.insert(&*rule.name)) {
            return Err(RulesError::DuplicateName { name: twice.name.clone() });
        }
        let (mut changes, mut stopping) = (Changes::default(), Vec::new());
        {
            let mut active = self.0.active();
            for one in std::mem::take(&mut *active) {
                if rules.contains(&one.rule) {
                    changes.unchanged += 1;
                    active.push(one);
                    continue;
                }
                let is_changed = rules.iter().any(|rule| rule.name == one.rule.name);
                let list = if is_changed { &mut changes.changed } else { &mut changes.removed };
                list.push(one.rule.name.clone());
                one.order.send_replace(Order::Stop);
                stopping.push(one);
            }
        }
        end(stopping).await;
        let starting: Vec<&RuleConfig> = {
            let active = self.0.active();
            rules.iter().filter(|rule| !active.iter().any(|one| one.rule == **rule)).collect()
        };
        let reader = self.0.reader.clone();
        let first = blocking(move || reader.first()).await?;
        for rule in &starting {
            self.set_position(rule, first)?;
            if !changes.changed.contains(&rule.name) {
                changes.added.push(rule.name.clone());
            }
        }
        // Before any delivery: a crash must not make a rule begin later than it did.
        let positions = self.0.positions.clone();
        if let Err(error) = blocking(move || positions.save()).await {
            tracing::error!("{error}; after a crash the rules would repeat deliveries");
        }
        let started: Vec<ActiveRule> = starting.into_iter().map(|rule| self.spawn(rule)).collect();
        let mut active = self.0.active();
        active.extend(started);
        active.sort_by_key(|one| rules.iter().position(|rule| rule.name == one.rule.name));
        Ok(changes)
    }

    /// The alerts of rules on states that are not resolved, by the records in the journal.
    ///
    /// # Errors
    ///
    /// [`RulesError::Journal`] if the journal cannot be read.
    pub async fn open_alerts(&self) -> Result<Vec<OpenAlert>, RulesError> {
        let rules: Vec<RuleConfig> = self.0.active().iter().map(|one| one.rule.clone()).collect();
        let mut open = Vec::new();
        for rule in rules.into_iter().filter(|rule| rule.states.is_some()) {
            let Position { offset, mut alerts, .. } = self.0.positions.get(&rule.name).unwrap_or_default();
            let mut cursor = self.0.reader.cursor(rule.selection.query(), Offset(offset));
            let name = rule.name.clone();
            let read = blocking(move || {
                loop {
                    let records = cursor.next_batch(ALERTS_READ_AT_ONCE)?;
                    if records.is_empty() {
                        return Ok::<_, JournalError>(alerts);
                    }
                    let selected = records.iter().filter(|record| rule.selection.matches(record));
                    selected.for_each(|record| alerts.take(record));
                }
            });
            open.extend(read.await?.of_rule(&name));
        }
        Ok(open)
    }

    /// Adds a silence in place of the one for the same VMs and rule, which is returned. A silence that is over at once only ends
    /// that one. The change is on the disk when this returns, unless the disk fails, which is logged.
    ///
    /// # Errors
    ///
    /// Any [`SilenceError`]; nothing was changed then.
    pub async fn silence(&self, silence: Silence) -> Result<Option<Silence>, SilenceError> {
        let replaced = self.0.positions.change_silences(|silences| silences.add(silence))?;
        self.0.silences_changed.notify_one();
        let positions = self.0.positions.clone();
        if let Err(error) = blocking(move || positions.save()).await {
            tracing::error!("{error}; after a crash the rules would deliver what is silenced");
        }
        Ok(replaced)
    }

    /// Notified when the silences change: for the task that raises the alerts of rules on states.
    #[must_use]
    pub fn silences_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.0.silences_changed)
    }

    /// The silences at `at`.
    #[must_use]
    pub fn silences(&self, at: UnixMicros) -> Vec<Silence> {
        self.0.positions.with_silences(|silences| silences.at(at))
    }

    /// Until when the rule is silenced for this VM, if it is silenced at `at`.
    #[must_use]
    pub fn silenced_until(&self, rule: &RuleConfig, vm: &str, at: UnixMicros) -> Option<UnixMicros> {
        self.0.positions.with_silences(|silences| silences.silenced_until(rule, vm, at))
    }

    /// The status of each rule, in the order of the configuration.
    #[must_use]
    pub fn statuses(&self) -> Vec<SinkStatus> {
        self.0.active().iter().map(|one| one.status.read()).collect()
    }

    /// Delivers the records in the journal by now, as far as the receivers accept them within [`STOP_DELIVERY_MAX`],
    /// and stops.
    pub async fn stop(&self) {
        let _one_at_a_time = self.0.change.lock().await;
        // The ticket of an empty batch covers everything that was appended before.
        if let Ok(ticket) = self.0.appender.append(&mut Batch::new()) {
            let _ = tokio::time::timeout(STOP_DELIVERY_MAX, self.0.appender.committed(ticket)).await;
        }
        let stopping = std::mem::take(&mut *self.0.active());
        for one in &stopping {
            one.order.send_replace(Order::Drain);
        }
        end(stopping).await;
        self.0.stop_writer.send_replace(true);
        let writer = lock(&self.0.writer).take();
        if let Some(mut writer) = writer {
            let _ = (&mut writer.0).await;
        }
        let positions = self.0.positions.clone();
        if let Err(error) = blocking(move || positions.save()).await {
            tracing::error!("{error}; the rules will repeat deliveries");
        }
    }

    /// Checks the position of a rule, or sets the first one, in a journal that begins with `first`.
    fn set_position(&self, rule: &RuleConfig, first: Offset) -> Result<(), RulesError> {
        let head = self.0.reader.head()?;
        match self.0.positions.get(&rule.name) {
            Some(known) if known.offset <= head.0 => {
                if known.offset < head.0 {
                    tracing::info!(
                        "rule {}: continues after record {}; the journal ends at {}",
                        rule.name,
                        known.offset,
                        head.0
                    );
                }
            }
            Some(known) => {
                // The journal was restored from a backup.
                tracing::warn!(
                    "rule {}: its position is record {}, and the journal ends at {}; the rule continues at the end",
                    rule.name,
                    known.offset,
                    head.0
                );
                self.0.positions.set(&rule.name, Position { offset: head.0, ..Position::default() });
            }
            None => {
                let offset = if rule.from_start { first.0.saturating_sub(1) } else { head.0 };
                self.0.positions.set(&rule.name, Position { offset, ..Position::default() });
            }
        }
        Ok(())
    }

    fn spawn(&self, rule: &RuleConfig) -> ActiveRule {
        let shared = &self.0;
        let position = shared.positions.get(&rule.name).unwrap_or_default();
        let status = Arc::new(Status::new(rule, Offset(position.offset)));
        let (order, orders) = watch::channel(Order::Run);
        let origin = DeliveryOrigin {
            rule: rule.name.clone(),
            host: shared.host.clone(),
            journal: shared.journal.clone(),
            selects_all: rule.selects_all(),
        };
        let (reader, positions) = (shared.reader.clone(), shared.positions.clone());
        let runner = Runner::new(rule.clone(), origin, reader, positions, Arc::clone(&status), orders);
        let (expected, name) = (order.subscribe(), format!("rule {}", rule.name));
        let run = shared.duties.watch(name, move || *expected.borrow() != Order::Run, runner.run());
        ActiveRule { rule: rule.clone(), order, status, task: Task(tokio::spawn(run)) }
    }
}

impl RuleState {
    fn active(&self) -> MutexGuard<'_, Vec<ActiveRule>> {
        lock(&self.active)
    }
}

/// Waits until these rules have ended, and aborts those that take too long.
async fn end(stopping: Vec<ActiveRule>) {
    let deadline = tokio::time::Instant::now() + STOP_DELIVERY_MAX;
    for mut one in stopping {
        match tokio::time::timeout_at(deadline, &mut one.task.0).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("rule {}: its task failed: {error}", one.rule.name),
            Err(_) => {
                tracing::warn!(
                    "rule {}: records that were not delivered within {STOP_DELIVERY_MAX:?} wait for the next start",
                    one.rule.name
                );
                one.task.0.abort();
                let _ = (&mut one.task.0).await;
            }
        }
    }
}

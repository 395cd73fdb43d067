//! All rules of a hub: started, replaced, asked, and stopped.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qmp_host::Duties;
use qmp_host::blocking;
use qmp_journal::{Appender, Batch, Journal, JournalError, Reader};
use qmp_wire::Offset;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::delivery::Origin;
use super::positions::{Position, Positions, PositionsError};
use super::rule::RuleConfig;
use super::runner::{Order, Runner};
use super::status::{SinkStatus, Status};

/// How long rules that stop may take for what they have begun, and for what is in the journal by then. What is not
/// delivered is delivered after the next start.
pub const STOP_DELIVERY_MAX: Duration = Duration::from_secs(5);

/// The rules of a hub. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rules(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    reader: Reader,
    appender: Appender,
    positions: Positions,
    host: Box<str>,
    journal: Box<str>,
    running: Mutex<Vec<Running>>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
    duties: Duties,
    keeper: Mutex<Option<Task>>,
    stop_keeper: watch::Sender<bool>,
}

#[derive(Debug)]
struct Running {
    rule: RuleConfig,
    orders: watch::Sender<Order>,
    status: Arc<Status>,
    task: Task,
}

/// A task that ends with whoever holds this.
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
    /// Where the rules stand cannot be read.
    #[error(transparent)]
    Positions(#[from] PositionsError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Two rules have one name.
    #[error("two rules are called {name}; each needs a name of its own")]
    DuplicateName {
        /// The name.
        name: Box<str>,
    },
}

/// What [`Rules::replace`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Rules that were not there before.
    pub added: Vec<Box<str>>,
    /// Rules that say something else than before; they go on where they were.
    pub changed: Vec<Box<str>>,
    /// Rules that are gone. They keep their place in case that they come back.
    pub removed: Vec<Box<str>>,
    /// How many go on as they were, undisturbed.
    pub unchanged: usize,
}

impl Changes {
    /// Whether every rule goes on as it was.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

impl Rules {
    /// Starts the rules on a journal. One that was never seen begins behind the journal's head.
    pub async fn start(rules: Vec<RuleConfig>, journal: &Journal, path: &Path) -> Result<Self, RulesError> {
        let (reader, path) = (journal.reader(), path.to_owned());
        let opened = blocking(move || {
            // A journal that a hub has opened has an identity.
            let identity = reader.identity()?.unwrap_or_default();
            Ok::<_, RulesError>((Positions::open(&path, &identity)?, identity))
        });
        let (positions, identity) = opened.await?;
        let (stop_keeper, stopping) = watch::channel(false);
        let duties = journal.duties();
        let told = stopping.clone();
        let keep = positions.clone().keep(stopping);
        let keeper = Task(tokio::spawn(duties.watch("positions of rules", move || *told.borrow(), keep)));
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned().into();
        let started = Self(Arc::new(Shared {
            reader: journal.reader(),
            appender: journal.appender(),
            positions,
            host,
            journal: identity,
            running: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            duties,
            keeper: Mutex::new(Some(keeper)),
            stop_keeper,
        }));
        started.replace(rules).await?;
        Ok(started)
    }

    /// Makes `rules` the rules of the hub. Those that are as before go on undisturbed; those that are gone, or say
    /// something else, finish the delivery under way, which is waited for, at most [`STOP_DELIVERY_MAX`].
    ///
    /// # Errors
    ///
    /// Any [`RulesError`]. Nothing was changed if two rules have one name.
    pub async fn replace(&self, rules: Vec<RuleConfig>) -> Result<Changes, RulesError> {
        let _one_at_a_time = self.0.changing.lock().await;
        let mut names = HashSet::new();
        if let Some(twice) = rules.iter().find(|rule| !names.insert(&*rule.name)) {
            return Err(RulesError::DuplicateName { name: twice.name.clone() });
        }
        let (mut changes, mut leaving) = (Changes::default(), Vec::new());
        {
            let mut running = self.0.running();
            for one in std::mem::take(&mut *running) {
                if rules.contains(&one.rule) {
                    changes.unchanged += 1;
                    running.push(one);
                    continue;
                }
                let is_there = rules.iter().any(|rule| rule.name == one.rule.name);
                let list = if is_there { &mut changes.changed } else { &mut changes.removed };
                list.push(one.rule.name.clone());
                one.orders.send_replace(Order::Leave);
                leaving.push(one);
            }
        }
        end(leaving).await;
        let starting: Vec<&RuleConfig> = {
            let running = self.0.running();
            rules.iter().filter(|rule| !running.iter().any(|one| one.rule == **rule)).collect()
        };
        let reader = self.0.reader.clone();
        let first = blocking(move || reader.first()).await?;
        for rule in &starting {
            self.place(rule, first)?;
            if !changes.changed.contains(&rule.name) {
                changes.added.push(rule.name.clone());
            }
        }
        // On the disk before anything happens: a crash must not make it begin later than it did.
        let positions = self.0.positions.clone();
        if let Err(error) = blocking(move || positions.save()).await {
            tracing::error!("{error}; after a crash the rules would deliver again from where it stands");
        }
        let started: Vec<Running> = starting.into_iter().map(|rule| self.spawn(rule)).collect();
        let mut running = self.0.running();
        running.extend(started);
        running.sort_by_key(|one| rules.iter().position(|rule| rule.name == one.rule.name));
        Ok(changes)
    }

    /// How each rule stands, in the order of the configuration.
    #[must_use]
    pub fn statuses(&self) -> Vec<SinkStatus> {
        let head = self.0.reader.head().unwrap_or_default();
        self.0.running().iter().map(|one| one.status.read(head)).collect()
    }

    /// Delivers what is in the journal by now, as far as the receivers take it within [`STOP_DELIVERY_MAX`], and ends.
    pub async fn stop(&self) {
        let _one_at_a_time = self.0.changing.lock().await;
        // An empty batch stands for everything that was appended before it.
        if let Ok(ticket) = self.0.appender.append(&mut Batch::new()) {
            let _ = tokio::time::timeout(STOP_DELIVERY_MAX, self.0.appender.committed(ticket)).await;
        }
        let leaving = std::mem::take(&mut *self.0.running());
        for one in &leaving {
            one.orders.send_replace(Order::Drain);
        }
        end(leaving).await;
        self.0.stop_keeper.send_replace(true);
        let keeper = self.0.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut keeper) = keeper {
            let _ = (&mut keeper.0).await;
        }
        let positions = self.0.positions.clone();
        if let Err(error) = blocking(move || positions.save()).await {
            tracing::error!("{error}; the rules will deliver again from where it stands");
        }
    }

    /// Finds where a rule stands, or begins, in a journal that begins with `first`.
    fn place(&self, rule: &RuleConfig, first: Offset) -> Result<(), RulesError> {
        let head = self.0.reader.head()?;
        match self.0.positions.get(&rule.name) {
            Some(known) if known.offset <= head.0 => {
                let behind = head.0 - known.offset;
                if behind > 0 {
                    tracing::info!("rule {}: goes on {behind} records behind the journal's head", rule.name);
                }
            }
            Some(known) => {
                // A journal that was brought back from a backup.
                tracing::warn!(
                    "rule {}: had come to record {}, and the journal ends at {}; it begins there",
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

    fn spawn(&self, rule: &RuleConfig) -> Running {
        let shared = &self.0;
        let position = shared.positions.get(&rule.name).unwrap_or_default();
        let status = Arc::new(Status::new(rule, Offset(position.offset)));
        let (orders, taken) = watch::channel(Order::Go);
        let origin =
            Origin { rule: rule.name.clone(), host: shared.host.clone(), journal: shared.journal.clone() };
        let (reader, positions) = (shared.reader.clone(), shared.positions.clone());
        let runner = Runner::new(rule.clone(), origin, reader, positions, Arc::clone(&status), taken);
        let (told, name) = (orders.subscribe(), format!("rule {}", rule.name));
        let run = shared.duties.watch(name, move || *told.borrow() != Order::Go, runner.run());
        Running { rule: rule.clone(), orders, status, task: Task(tokio::spawn(run)) }
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until these have ended, and ends those that take too long.
async fn end(leaving: Vec<Running>) {
    let deadline = tokio::time::Instant::now() + STOP_DELIVERY_MAX;
    for mut one in leaving {
        match tokio::time::timeout_at(deadline, &mut one.task.0).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("rule {}: its task died: {error}", one.rule.name),
            Err(_) => {
                tracing::warn!(
                    "rule {}: what it could not deliver within {STOP_DELIVERY_MAX:?} waits for the next start",
                    one.rule.name
                );
                one.task.0.abort();
                let _ = (&mut one.task.0).await;
            }
        }
    }
}

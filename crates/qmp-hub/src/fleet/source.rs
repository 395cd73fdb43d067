//! The task of a source: connects, reads, commits, confirms, and retries.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use qmp_fleet::{
    CONFIRMATIONS_MAX, Confirmation, FleetError, HostSign, SIGN_OF_LIFE_SUBJECTS, StreamItem, StreamReader,
    StreamStart,
};
use qmp_host::clock;
use qmp_journal::{Appender, Feed, ForeignError, JournalEnded};
use qmp_wire::Offset;
use tokio::sync::watch;

use super::config::FleetSourceConfig;
use super::host_names::{SharedHosts, without_suffix};
use super::host_watch::HostWatch;
use super::intake::{Intake, RepeatRequest};
use super::status::SharedStatus;

/// The pause after a first failure.
const RETRY_PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause between two attempts to read.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// The interval of confirmations: a host publishes again after a minute without one.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(1);

/// How long the last confirmations may take when the hub stops.
const LAST_CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(1);

/// Where a source records what it reads.
pub(super) struct Journaling {
    pub(super) appender: Appender,
    pub(super) head: watch::Receiver<Offset>,
    pub(super) watch: HostWatch,
}

/// A source.
pub(super) struct Source {
    config: FleetSourceConfig,
    reader: StreamReader,
    intake: Intake,
    own: Journaling,
    status: SharedStatus,
    /// The journals whose hubs lack a confirmation.
    unconfirmed: HashSet<Box<str>>,
    /// When confirmations are due; `None` if all are published.
    confirm_at: Option<Instant>,
    /// Requests that were not published.
    requests: Vec<RepeatRequest>,
    /// A fault of the confirmations, beside which records are read.
    confirmation_fault: Option<Box<str>>,
    /// Signs of life, which may have overtaken records.
    signs: Vec<HostSign>,
}

/// Why reading has ended.
enum ReadEnd {
    /// The hub stops.
    Stop,
    /// The server, or its stream, cannot be read; retried.
    Server(FleetError),
    /// The journal was closed.
    Journal,
}

impl From<FleetError> for ReadEnd {
    fn from(error: FleetError) -> Self {
        Self::Server(error)
    }
}

impl From<JournalEnded> for ReadEnd {
    fn from(_: JournalEnded) -> Self {
        Self::Journal
    }
}

impl Source {
    pub(super) fn new(
        config: FleetSourceConfig,
        own: Journaling,
        feeds: &[Feed],
        hosts: SharedHosts,
        position: u64,
        status: SharedStatus,
    ) -> Self {
        let intake = Intake::new(feeds, hosts, config.patterns(), &config.to_string(), position);
        let filters = config.filters();
        let start = StreamStart::After(position);
        let reader = StreamReader::new(config.server.clone(), &config.stream, filters, start);
        Self {
            config,
            reader,
            intake,
            own,
            status,
            unconfirmed: HashSet::new(),
            confirm_at: None,
            requests: Vec::new(),
            confirmation_fault: None,
            signs: Vec::new(),
        }
    }

    /// Reads until `stop` is true.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let position = self.reader.position();
            match self.read(&mut stop).await {
                ReadEnd::Stop => break,
                ReadEnd::Journal => return,
                ReadEnd::Server(error) => self.failed(&error),
            }
            // Messages were read: the failure is a new one.
            pause = if self.reader.position() == position { pause } else { RETRY_PAUSE_MIN };
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RETRY_PAUSE_MAX),
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if self.commit().await.is_ok() {
            let _ = tokio::time::timeout(LAST_CONFIRMATION_TIMEOUT, self.confirm()).await;
        }
        self.reader.close().await;
    }

    /// Connects, and reads until an error.
    async fn read(&mut self, stop: &mut watch::Receiver<bool>) -> ReadEnd {
        let connected = tokio::select! {
            connected = self.connect() => connected,
            _ = stop.wait_for(|stop| *stop) => return ReadEnd::Stop,
        };
        if let Err(error) = connected {
            return error.into();
        }
        loop {
            let timeout = self.intake.next_timeout().into_iter().chain(self.confirm_at).min();
            let taken = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return ReadEnd::Stop,
                () = tokio::time::sleep_until(timeout.unwrap_or_else(Instant::now).into()), if timeout.is_some() => {
                    self.intake.handle_timeout(Instant::now());
                    Ok(())
                }
                item = self.reader.next_item() => item.map(|item| self.take(item)),
            };
            let taken = match taken {
                Ok(()) => self.take_arrived().await,
                failed => failed,
            };
            // What was taken before an error is committed, too.
            if let Err(end) = self.commit().await {
                return end.into();
            }
            if let Err(error) = taken {
                return error.into();
            }
            if self.confirm_at.is_some_and(|at| at <= Instant::now()) {
                self.confirm().await;
            }
        }
    }

    async fn connect(&mut self) -> Result<(), FleetError> {
        let created = self.reader.create_confirmation_stream().await;
        let Some(version) = self.reader.server_version() else {
            return Err(created.err().unwrap_or(FleetError::Lost));
        };
        self.confirmation_fault = created.err().map(|error| error.to_string().into());
        // The server may have lost them with its disk.
        self.unconfirmed.extend(self.intake.feeds().keys().cloned());
        self.confirm_at = Some(Instant::now());
        self.status.update(|status| status.server_version = Some(version.into()));
        self.reader.open().await?;
        let (holes, _) = self.intake.holes_and_repetitions();
        let problem = self.problem(holes);
        self.status.update(|status| {
            tracing::info!("source {}: it is read", status.source);
            (status.state, status.problem) = ("reading", problem);
        });
        Ok(())
    }

    /// Takes the messages that have arrived, as far as they are committed at once.
    async fn take_arrived(&mut self) -> Result<(), FleetError> {
        while !self.intake.is_full() {
            let arrived = tokio::select! {
                biased;
                item = self.reader.next_item() => Some(item?),
                () = std::future::ready(()) => None,
            };
            match arrived {
                Some(item) => self.take(item),
                None => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, item: StreamItem) {
        let message = match item {
            StreamItem::Message(message) => message,
            StreamItem::Sign(sign) => return self.signs.push(sign),
        };
        self.intake.take(&message, Instant::now());
        let head = message.sequence + message.pending;
        self.status.update(|status| (status.head, status.lag_records) = (head, message.pending));
    }

    /// Appends what was read, and waits until it is committed; returns the number of records.
    async fn append(&mut self) -> Result<u64, JournalEnded> {
        loop {
            let mut batch = self.intake.batch(&self.own.appender, clock::now());
            let records = batch.len() as u64;
            match self.own.appender.append_foreign_when_room(&mut batch).await {
                Ok(ticket) => return self.own.appender.committed(ticket).await.map(|_head| records),
                // Another source has appended the same records.
                Err(ForeignError::Repeated { .. }) => {}
                Err(_) => return Err(JournalEnded),
            }
        }
    }

    /// Commits what was read. While the journal cannot be written, this waits, and nothing is read.
    async fn commit(&mut self) -> Result<(), JournalEnded> {
        let records = if self.intake.is_changed() { self.append().await? } else { 0 };
        let (received, changed) = self.intake.committed();
        self.hear(&changed);
        self.unconfirmed.extend(changed);
        if !self.unconfirmed.is_empty() && self.confirm_at.is_none() {
            self.confirm_at = Some(Instant::now() + CONFIRM_INTERVAL);
        }
        let requests = self.intake.take_requests();
        if !requests.is_empty() {
            self.requests.extend(requests);
            self.confirm_at = Some(Instant::now());
        }
        if let Some(received) = received {
            self.status.received(received);
        }
        let (position, counts) = (self.intake.position(), self.intake.counts);
        let (holes, repeated) = self.intake.holes_and_repetitions();
        let problem = self.problem(holes);
        self.status.update(|status| {
            status.records += records;
            (status.position, status.holes, status.lost) = (position, holes, counts.lost);
            (status.repeated, status.refused, status.problem) = (repeated, counts.refused, problem);
        });
        Ok(())
    }

    /// Takes that the hosts of these journals were heard, and the signs of life; everything that was read is committed.
    fn hear(&mut self, changed: &HashSet<Box<str>>) {
        let watch = &self.own.watch;
        changed
            .iter()
            .filter_map(|journal| self.intake.feeds().get(journal))
            .for_each(|end| watch.heard(&end.host));
        let committed = *self.own.head.borrow();
        for HostSign { host, sign } in self.signs.drain(..) {
            // A user of one host may not sign for another.
            let end =
                self.intake.feeds().get(&sign.journal).filter(|end| without_suffix(&end.host) == &*host);
            let Some(end) = end.filter(|_| self.intake.is_selected(&host)) else { continue };
            watch.heard(&end.host);
            if end.offset >= sign.offset {
                watch.heard_upto(&end.host, sign.upto, committed);
            }
        }
        watch.set_deaf(&self.config.to_string(), self.reader.is_deaf());
    }

    /// Publishes the confirmations, and the requests to publish again.
    async fn confirm(&mut self) {
        self.confirm_at = None;
        let requests: Vec<RepeatRequest> = self.requests.drain(..).take(CONFIRMATIONS_MAX).collect();
        let room = CONFIRMATIONS_MAX - requests.len();
        let due: Vec<Box<str>> = self.unconfirmed.iter().take(room).cloned().collect();
        let feeds = self.intake.feeds();
        let ends = due.iter().filter_map(|journal| Some((journal, feeds.get(journal)?)));
        let asked = requests.iter().map(|RepeatRequest { journal, host, after }| {
            (host, Confirmation { journal: journal.clone(), offset: *after, again: true })
        });
        let confirmed = ends.map(|(journal, end)| {
            (&end.host, Confirmation { journal: journal.clone(), offset: end.offset, again: false })
        });
        let all: Vec<(Box<str>, Confirmation)> = asked
            .chain(confirmed)
            .map(|(host, confirmation)| (without_suffix(host).into(), confirmation))
            .collect();
        let fault = self.reader.confirm_all(&all).await.err();
        match fault {
            None => due.iter().for_each(|journal| _ = self.unconfirmed.remove(journal)),
            Some(_) => self.requests.extend(requests),
        }
        if let Some(error) = fault {
            self.confirm_at = Some(Instant::now() + RETRY_PAUSE_MAX.min(5 * CONFIRM_INTERVAL));
            self.confirmation_fault = Some(error.to_string().into());
        } else {
            // The others follow after the messages that have arrived meanwhile.
            let is_rest = !self.requests.is_empty() || !self.unconfirmed.is_empty();
            self.confirm_at = is_rest.then(Instant::now);
            self.confirmation_fault = None;
        }
        let (holes, _) = self.intake.holes_and_repetitions();
        let problem = self.problem(holes);
        self.status.update(|status| status.problem = problem);
    }

    /// The fault beside which records are read.
    fn problem(&self, holes: u64) -> Option<Box<str>> {
        let confirmation = self
            .confirmation_fault
            .as_deref()
            .map(|fault| format!("hosts get no confirmation, and publish again and again: {fault}"));
        let holes = (holes > 0).then(|| {
            format!("records of {holes} hosts are missing; their hubs were asked to publish them again")
        });
        let lost = (self.intake.counts.lost > 0)
            .then(|| format!("{} spans of records are lost; the log names them", self.intake.counts.lost));
        let deaf = self.reader.is_deaf().then(|| {
            format!("hosts that are silent are not noticed: permit the user to subscribe to {SIGN_OF_LIFE_SUBJECTS}")
        });
        let faults = [confirmation, holes, lost, deaf, self.intake.fault(Instant::now()).map(str::to_owned)];
        let faults: Vec<String> = faults.into_iter().flatten().collect();
        (!faults.is_empty()).then(|| faults.join("; ").into())
    }

    fn failed(&mut self, error: &FleetError) {
        let filters = self.config.filters();
        if matches!(error, FleetError::Filter { .. }) {
            // Hosts are selected here in any case.
            self.reader.set_filters(Vec::new());
            tracing::warn!(
                filters = filters.len(),
                "the server does not filter by host; all records are read"
            );
        }
        let problem: Box<str> = error.to_string().into();
        self.status.update(|status| {
            if status.problem.as_deref() != Some(&*problem) {
                tracing::warn!("source {}: {problem}", status.source);
            }
            status.state = "failing";
            status.problem = Some(problem);
            if !error.is_of_server() {
                status.server_version = None;
            }
        });
    }
}

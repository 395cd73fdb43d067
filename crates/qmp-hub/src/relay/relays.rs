//! All relays of a hub, which are opened and closed with their VMs.

use std::sync::{Arc, Mutex};

use qmp_client::Commander;
use qmp_host::reader_memory::{ReaderMemory, Texts};
use qmp_host::{Budget, Duties, OpenFiles, lock};
use qmp_journal::{Appender, Journal, Reader};
use qmp_wire::Offset;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::config::RelayConfig;
use super::feed;
use super::held::REPLY_JOURNAL_MAX;
use super::line::{Line, Lines};
use super::listening::{BindResult, bind};
use super::opening::{note, open};
use super::replay::{LargeLines, Replays};
use super::serve::Stop;
use super::shared::Relay;
use super::status::RelayStatus;
use super::tap::Tap;
use crate::commands::CommandsInFlight;
use crate::limits::STOP_HTTP_MAX;

/// The state that all relays of a hub share.
#[derive(Debug)]
pub(crate) struct Relays {
    lines: Arc<Lines>,
    appender: Appender,
    reader: Reader,
    memory: ReaderMemory,
    /// The open files of relays without clients.
    open_files: Arc<Budget>,
    /// The connections of clients that may be open.
    clients: Arc<Budget>,
    /// Large events that are being repeated.
    texts: Arc<Texts<LargeLines>>,
    head: watch::Receiver<Offset>,
    /// Runs from the first relay on.
    feed: Mutex<Option<JoinHandle<()>>>,
    stop_feed: watch::Sender<bool>,
    duties: Duties,
}

/// The VM that relays stand in for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelayedVm<'a> {
    pub(crate) name: &'a str,
    pub(crate) commander: &'a Commander,
    /// Commands without a reply.
    pub(crate) commands: &'a Arc<CommandsInFlight>,
    pub(crate) tap: &'a Tap,
}

/// Sockets at which no client is served yet, and those that could not be opened.
#[derive(Debug, Default)]
pub(crate) struct ListeningSockets(Vec<(RelayConfig, BindResult)>);

/// The relays of one VM.
#[derive(Debug)]
pub(crate) struct VmRelays {
    line: Arc<Line>,
    serving: Vec<RunningRelay>,
    /// Lets the line begin.
    _beginning: JoinSet<()>,
}

/// Relays that end while their VM goes on.
#[derive(Debug)]
pub(crate) struct ClosingRelays(Vec<RunningRelay>);

/// One relay at work.
#[derive(Debug)]
struct RunningRelay {
    relay: Arc<Relay>,
    stop: watch::Sender<Stop>,
    /// One task, which is aborted when this is dropped.
    task: JoinSet<()>,
}

impl Relays {
    pub(crate) fn new(journal: &Journal, memory: &ReaderMemory, open_files: &OpenFiles) -> Self {
        Self {
            open_files: Arc::clone(open_files.relays()),
            clients: Arc::clone(open_files.clients()),
            lines: Arc::new(Lines::new(memory.clone())),
            memory: memory.clone(),
            texts: Arc::default(),
            appender: journal.appender(),
            reader: journal.reader(),
            head: journal.watch_head(),
            duties: journal.duties(),
            feed: Mutex::default(),
            stop_feed: watch::Sender::default(),
        }
    }

    /// Serves in place of that VM, besides the `relays` that it has. An earlier VM of the same name has been removed.
    pub(crate) fn open(
        &self,
        vm: RelayedVm<'_>,
        relays: &mut Option<Box<VmRelays>>,
        listening: ListeningSockets,
    ) {
        if listening.0.is_empty() {
            return;
        }
        let of_vm = relays.get_or_insert_with(|| Box::new(self.begin(vm)));
        for (config, socket) in listening.0 {
            let replays = Replays {
                reader: self.reader.clone(),
                memory: self.memory.clone(),
                texts: Arc::clone(&self.texts),
            };
            let (line, appender) = (Arc::clone(&of_vm.line), self.appender.clone());
            let to_vm = (vm.commander.clone(), Arc::clone(vm.commands));
            let relay = Relay::new(config, line, to_vm, appender, replays, Arc::clone(&self.clients));
            note(&relay, socket.as_ref().err());
            let (relay, (stop, stopping)) = (Arc::new(relay), watch::channel(Stop::No));
            let task = JoinSet::from_iter([open(
                Arc::clone(&relay),
                socket,
                Arc::clone(&self.open_files),
                stopping,
            )]);
            of_vm.serving.push(RunningRelay { relay, stop, task });
        }
    }

    /// Opens a line between two appends of the VM's attachment.
    fn begin(&self, vm: RelayedVm<'_>) -> VmRelays {
        let mut tap = vm.tap.lock();
        let line = self.lines.open(vm.name, self.appender.offset_of(tap.last));
        self.feed_from(*self.head.borrow());
        tap.line = Some(Arc::clone(&line));
        let (last, greeting) = (tap.last, tap.greeting.clone());
        drop(tap);
        let mut beginning = JoinSet::new();
        match last {
            None => line.begin(greeting.as_deref()),
            Some(ticket) => {
                let (line, appender) = (Arc::clone(&line), self.appender.clone());
                beginning.spawn(async move {
                    // If the journal has ended, no more records are handed out, and replies must not wait for them.
                    let _ = appender.committed(ticket).await;
                    line.begin(greeting.as_deref());
                });
            }
        }
        VmRelays { line, serving: Vec::new(), _beginning: beginning }
    }

    /// Ends the relays of a VM that is left, or whose last relay is removed: their clients get its last events and replies.
    pub(crate) async fn close(&self, mut of_vm: Box<VmRelays>) {
        of_vm.line.close();
        of_vm.serving.iter().for_each(|serving| serving.stop(Stop::WithVm));
        // The feed finds the line by its name until all records are handed out.
        let _ = tokio::time::timeout(REPLY_JOURNAL_MAX, of_vm.line.ended()).await;
        of_vm.line.end();
        ended(&mut of_vm.serving).await;
        self.lines.remove(&of_vm.line);
    }

    /// Ends all relays; their clients get the last events and replies.
    pub(crate) async fn stop(&self, mut all: Vec<VmRelays>) {
        let mut serving: Vec<_> =
            all.iter_mut().flat_map(|of_vm| std::mem::take(&mut of_vm.serving)).collect();
        serving.iter().for_each(|serving| serving.stop(Stop::WithVm));
        self.stop_feed.send_replace(true);
        let feed = lock(&self.feed).take();
        let ended = async {
            if let Some(feed) = feed {
                let _ = feed.await;
            }
            for serving in &mut serving {
                serving.task.join_next().await;
            }
        };
        // Dropping the tasks ends the others.
        let _ = tokio::time::timeout(STOP_HTTP_MAX, ended).await;
    }

    /// Ends everything at once.
    pub(crate) fn abort(&self) {
        if let Some(feed) = lock(&self.feed).take() {
            feed.abort();
        }
    }

    fn feed_from(&self, after: Offset) {
        let mut running = lock(&self.feed);
        // A feed that panicked ended its lines; later lines get another feed.
        if running.as_ref().is_none_or(JoinHandle::is_finished) {
            let cursor = feed::cursor(&self.reader, after);
            let (stop, told) = (self.stop_feed.subscribe(), self.stop_feed.subscribe());
            let feed = feed::feed(cursor, Arc::clone(&self.lines), stop);
            let feed = self.duties.watch("feed of the relays", move || *told.borrow(), feed);
            *running = Some(tokio::spawn(feed));
        }
    }
}

impl ListeningSockets {
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Listens at every socket. A socket that cannot be opened affects its relay only, and is retried while the VM is
    /// followed.
    pub(crate) async fn at(configs: Vec<RelayConfig>, open_files: &OpenFiles) -> Self {
        let mut listening = Vec::with_capacity(configs.len());
        for config in configs {
            let socket = bind(&config, open_files.relays()).await;
            listening.push((config, socket));
        }
        Self(listening)
    }
}

impl VmRelays {
    pub(crate) fn statuses(&self) -> impl Iterator<Item = RelayStatus> {
        self.serving.iter().map(|serving| serving.relay.status())
    }

    pub(crate) fn configs(&self) -> impl Iterator<Item = &RelayConfig> {
        self.serving.iter().map(|serving| &serving.relay.config)
    }

    /// Removes the relays that are not wanted; the caller waits for their end with [`ClosingRelays::ended`].
    pub(crate) fn part(&mut self, is_wanted: impl Fn(&RelayConfig) -> bool) -> ClosingRelays {
        let is_over = |serving: &mut RunningRelay| !is_wanted(&serving.relay.config);
        let over: Vec<_> = self.serving.extract_if(.., is_over).collect();
        over.iter().for_each(|serving| serving.stop(Stop::Alone));
        ClosingRelays(over)
    }
}

impl Drop for VmRelays {
    /// Releases all replies, however the relays end.
    fn drop(&mut self) {
        self.line.end();
    }
}

impl ClosingRelays {
    /// Waits until their sockets are removed and their clients have left.
    pub(crate) async fn ended(mut self) {
        ended(&mut self.0).await;
    }
}

impl RunningRelay {
    fn stop(&self, how: Stop) {
        self.stop.send_replace(how);
    }
}

async fn ended(serving: &mut [RunningRelay]) {
    let all = async {
        for serving in &mut *serving {
            serving.task.join_next().await;
        }
    };
    if tokio::time::timeout(STOP_HTTP_MAX, all).await.is_err() {
        for serving in serving {
            serving.task.shutdown().await;
        }
    }
}

#[cfg(test)]
mod tests;

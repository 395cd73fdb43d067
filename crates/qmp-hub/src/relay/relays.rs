//! All relays of a hub: they come and go with their VMs.

use std::sync::{Arc, Mutex, PoisonError};

use qmp_wire::Offset;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::line::{Line, Lines};
use super::serve::{Relay, serve};
use super::{RelayConfig, RelayStatus, feed};
use crate::STOP_HTTP_MAX;
use crate::http::{ListenError, SocketFile, listen_unix};
use crate::journal::{Appender, Journal, Reader};
use crate::vms::Vm;

/// What all relays of a hub share.
#[derive(Debug)]
pub(crate) struct Relays {
    lines: Arc<Lines>,
    appender: Appender,
    reader: Reader,
    head: watch::Receiver<Offset>,
    /// Runs from the first relay on: without any, nobody need read the journal for them.
    feed: Mutex<Option<JoinHandle<()>>>,
    stop_feed: watch::Sender<bool>,
}

/// Sockets at which nobody is served yet.
#[derive(Debug, Default)]
pub(crate) struct Listening(Vec<(RelayConfig, UnixListener, SocketFile)>);

/// The relays of one VM.
#[derive(Debug)]
pub(crate) struct OfVm {
    line: Arc<Line>,
    relays: Vec<Arc<Relay>>,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Relays {
    pub(crate) fn new(journal: &Journal) -> Self {
        Self {
            lines: Arc::default(),
            appender: journal.appender(),
            reader: journal.reader(),
            head: journal.watch_head(),
            feed: Mutex::default(),
            stop_feed: watch::Sender::default(),
        }
    }

    /// Serves in place of that VM. To be called before it is attached, and after everything is committed that an earlier
    /// VM of its name said; `None` if there is no socket.
    pub(crate) fn open(&self, vm: &Vm, listening: Listening) -> Option<Box<OfVm>> {
        if listening.0.is_empty() {
            return None;
        }
        let begins_after = *self.head.borrow();
        let line = self.lines.open(vm.name.as_str(), begins_after);
        self.feed_from(begins_after);
        let (stop, stopping) = watch::channel(false);
        let mut of_vm = OfVm { line, relays: Vec::new(), tasks: JoinSet::new(), stop };
        for (config, listener, file) in listening.0 {
            let (appender, reader) = (self.appender.clone(), self.reader.clone());
            let relay = Relay::new(config, Arc::clone(&of_vm.line), vm.commander.clone(), appender, reader);
            let relay = Arc::new(relay);
            of_vm.relays.push(Arc::clone(&relay));
            of_vm.tasks.spawn(serve(relay, listener, file, stopping.clone()));
        }
        Some(Box::new(of_vm))
    }

    /// Ends the relays of a VM that says nothing more: their clients get what it said last.
    pub(crate) async fn close(&self, mut of_vm: Box<OfVm>) {
        of_vm.line.close();
        of_vm.stop.send_replace(true);
        of_vm.ended().await;
        self.lines.remove(&of_vm.line.vm);
    }

    /// Lets the clients of all have what was said last, and ends.
    pub(crate) async fn stop(&self, all: Vec<OfVm>) {
        for of_vm in &all {
            of_vm.stop.send_replace(true);
        }
        self.stop_feed.send_replace(true);
        let feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = async {
            if let Some(feed) = feed {
                let _ = feed.await;
            }
            for mut of_vm in all {
                while of_vm.tasks.join_next().await.is_some() {}
            }
        };
        // What has not ended by then ends with its task, which is dropped.
        let _ = tokio::time::timeout(STOP_HTTP_MAX, ended).await;
    }

    /// Ends everything at once.
    pub(crate) fn abort(&self) {
        if let Some(feed) = self.feed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            feed.abort();
        }
    }

    fn feed_from(&self, after: Offset) {
        let mut running = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        running.get_or_insert_with(|| {
            let cursor = feed::cursor(&self.reader, after);
            tokio::spawn(feed::feed(cursor, Arc::clone(&self.lines), self.stop_feed.subscribe()))
        });
    }
}

impl Listening {
    /// Listens at every socket.
    pub(crate) async fn at(configs: Vec<RelayConfig>) -> Result<Self, ListenError> {
        let mut listening = Vec::with_capacity(configs.len());
        for config in configs {
            let (listener, file) = listen_unix(&config.path, config.mode).await?;
            listening.push((config, listener, file));
        }
        Ok(Self(listening))
    }
}

impl OfVm {
    pub(crate) fn statuses(&self) -> impl Iterator<Item = RelayStatus> {
        self.relays.iter().map(|relay| relay.status())
    }

    /// The line that the attachment of the VM reports to.
    pub(crate) fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line)
    }

    pub(crate) fn configs(&self) -> impl Iterator<Item = &RelayConfig> {
        self.relays.iter().map(|relay| &relay.config)
    }

    async fn ended(&mut self) {
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_HTTP_MAX, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

//! All relays of a hub: from the configuration to their tasks, and to their end.

use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::line::{Line, Lines};
use super::serve::{Relay, serve};
use super::{RelayConfig, RelayStatus, feed};
use crate::http::{SocketFile, listen_unix};
use crate::hub::HubError;
use crate::journal::{Cursor, Journal};
use crate::vms::Vms;
use crate::{STOP_HTTP_MAX, VmName};

/// Relays that listen, and serve nobody yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    lines: Lines,
    listening: Vec<(Arc<Relay>, UnixListener, SocketFile)>,
    cursor: Cursor,
}

/// Relays that serve.
#[derive(Debug)]
pub(crate) struct Relays {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    relays: Vec<Arc<Relay>>,
}

impl Prepared {
    /// Listens at every socket. To be called before anything is attached.
    pub(crate) async fn listen(
        configs: Vec<(VmName, RelayConfig)>,
        vms: &Vms,
        journal: &Journal,
    ) -> Result<Self, HubError> {
        let mut lines = Lines::default();
        let mut listening = Vec::with_capacity(configs.len());
        for (name, config) in configs {
            let vm = vms.get(name.as_str()).ok_or(HubError::RelayOfNobody { name })?;
            let (listener, file) = listen_unix(&config.path, config.mode).await?;
            let line = lines.open(vm.name.as_str());
            let relay = Relay::new(config, line, vm.commander.clone(), journal.appender(), journal.reader());
            listening.push((Arc::new(relay), listener, file));
        }
        Ok(Self { lines, listening, cursor: feed::start(&journal.reader())? })
    }

    /// The line that the attachment of that VM reports to; `None` if it has no relay.
    pub(crate) fn line(&self, vm: &str) -> Option<Arc<Line>> {
        self.lines.get(vm).cloned()
    }

    pub(crate) fn start(self) -> Relays {
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let relays = self.listening.iter().map(|(relay, ..)| Arc::clone(relay)).collect();
        if !self.listening.is_empty() {
            tasks.spawn(feed::feed(self.cursor, Arc::new(self.lines), stopping.clone()));
        }
        for (relay, listener, file) in self.listening {
            tasks.spawn(serve(relay, listener, file, stopping.clone()));
        }
        Relays { tasks, stop, relays }
    }
}

impl Relays {
    pub(crate) fn statuses(&self) -> Vec<RelayStatus> {
        self.relays.iter().map(|relay| relay.status()).collect()
    }

    /// Lets the clients have what was said last, and ends.
    pub(crate) async fn stop(&mut self) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_HTTP_MAX, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

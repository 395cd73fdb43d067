//! The hub: one journal, many monitors, and whoever wants to read.

use std::sync::Arc;
use std::time::Duration;

use qmp_client::{Address, Follow, FollowConfig};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::attach::Attachment;
use crate::findings::Observer;
use crate::http::{self, HttpAddress, ListenError, Listening, Served};
use crate::journal::{Journal, JournalError};
use crate::relay::{self, RelayStatus, Relays};
use crate::vms::{Vm, Vms};
use crate::{HubConfig, VmName, clock, open_files};

/// How long [`Hub::stop`] waits for the last commits. A disk that takes longer is taken for dead; systemd, which
/// kills after 90 s, must not come first.
pub const STOP_COMMIT_MAX: Duration = Duration::from_secs(30);

/// How long [`Hub::stop`] lets HTTP clients read what they asked for.
pub const STOP_HTTP_MAX: Duration = Duration::from_secs(2);

/// A running hub. [`stop`](Self::stop) ends it cleanly; dropping it leaves the epochs open, as a crash does.
#[derive(Debug)]
pub struct Hub {
    // Tasks first: what is dropped later must not be missed by one that still runs.
    attachments: JoinSet<()>,
    observer: JoinSet<()>,
    relays: Relays,
    servers: JoinSet<()>,
    stop_attachments: watch::Sender<bool>,
    stop_observer: watch::Sender<bool>,
    stop_http: watch::Sender<bool>,
    http: Vec<HttpAddress>,
    served: Served,
    journal: Journal,
}

/// Errors of starting and stopping a hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The journal cannot be opened, or not all of it could be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Two VMs have one name.
    #[error("two VMs are called {name}; each needs a name of its own")]
    DuplicateName {
        /// The name.
        name: VmName,
    },
    /// A relay stands in place of a VM that is none.
    #[error("there is a relay for {name}, and no VM of this name")]
    RelayOfNobody {
        /// The name.
        name: VmName,
    },
    /// HTTP, or a relay, cannot be served.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl Hub {
    /// Opens the journal (which closes the epochs that a killed hub left open), listens for HTTP, and starts to
    /// follow every VM. VMs that are not there yet are tried for ever, with back-off.
    ///
    /// Must be called within a tokio runtime with I/O and time enabled. Raises the process's limit of open files
    /// if the VMs need more.
    ///
    /// # Errors
    ///
    /// Any [`HubError`]; nothing has been started then.
    pub async fn start(config: HubConfig) -> Result<Self, HubError> {
        let (vms, follows) = prepare(config.attach)?;
        open_files::allow(follows.len() + config.relays.len() * relay::FILES_OF_A_RELAY);
        let (path, options) = (config.journal.clone(), config.journal_options);
        let journal = blocking(move || Journal::open(&path, options)).await?;

        let mut listening = Vec::with_capacity(config.http.len());
        for address in &config.http {
            listening.push(http::listen(address).await?);
        }
        let relays = relay::Prepared::listen(config.relays, &vms, &journal).await?;
        let (stop_attachments, stopping) = watch::channel(false);
        let (stop_observer, observing_ends) = watch::channel(false);
        let (stop_http, http_ends) = watch::channel(false);
        let http = listening.iter().filter_map(Listening::address).collect();

        let mut attachments = JoinSet::new();
        for (vm, follow) in follows {
            let line = relays.line(vm.name.as_str());
            let attachment = Attachment::new(vm, journal.appender(), line);
            attachments.spawn(attachment.run(follow, stopping.clone()));
        }
        let correlating = Observer::new(&journal, config.findings);
        let served = Served::new(vms, &journal, config.journal, correlating.observed(), http_ends.clone());
        let mut observer = JoinSet::new();
        observer.spawn(correlating.run(observing_ends));
        let mut servers = JoinSet::new();
        for listening in listening {
            servers.spawn(http::serve(listening, served.clone(), http_ends.clone()));
        }
        Ok(Self {
            attachments,
            observer,
            relays: relays.start(),
            servers,
            stop_attachments,
            stop_observer,
            stop_http,
            http,
            served,
            journal,
        })
    }

    /// Where HTTP is served, with the ports that the system chose.
    #[must_use]
    pub fn http(&self) -> &[HttpAddress] {
        &self.http
    }

    /// How each relay stands, in the order of the configuration.
    #[must_use]
    pub fn relays(&self) -> Vec<RelayStatus> {
        self.relays.statuses()
    }

    /// The journal that the hub writes.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Closes every open epoch with `hub stopped`, commits everything, then leaves the monitors, lets HTTP
    /// clients have what they asked for, and closes the journal.
    ///
    /// # Errors
    ///
    /// [`HubError::Journal`] if something could not be written.
    pub async fn stop(mut self) -> Result<(), HubError> {
        self.stop_attachments.send_replace(true);
        if tokio::time::timeout(STOP_COMMIT_MAX, join_all(&mut self.attachments)).await.is_err() {
            tracing::error!("the journal did not take the last records within {STOP_COMMIT_MAX:?}");
            self.attachments.shutdown().await;
        }
        self.relays.stop().await;
        // After the last records, so that what they lead to is found.
        self.stop_observer.send_replace(true);
        if tokio::time::timeout(STOP_COMMIT_MAX, join_all(&mut self.observer)).await.is_err() {
            tracing::error!("the last findings were not recorded; the next start finds them again");
            self.observer.shutdown().await;
        }
        self.stop_http.send_replace(true);
        if tokio::time::timeout(STOP_HTTP_MAX, join_all(&mut self.servers)).await.is_err() {
            self.servers.shutdown().await;
        }
        let Self { journal, served, .. } = self;
        drop(served);
        Ok(blocking(move || journal.close()).await?)
    }
}

/// A VM and who follows it.
type Prepared = (Arc<Vm>, Box<Follow>);

/// One entry and one follower for each VM. Nobody is dialled yet.
fn prepare(attach: Vec<(VmName, Address)>) -> Result<(Vms, Vec<Prepared>), HubError> {
    let now = clock::now();
    let mut vms = Vms::default();
    let mut follows = Vec::with_capacity(attach.len());
    for (name, address) in attach {
        let follow = Box::new(qmp_client::follow(address.clone(), FollowConfig::default()));
        let vm = Arc::new(Vm::new(name, address, follow.commander(), now));
        vms.insert(Arc::clone(&vm)).map_err(|vm| HubError::DuplicateName { name: vm.name.clone() })?;
        follows.push((vm, follow));
    }
    Ok((vms, follows))
}

async fn join_all(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!("a task of the hub died: {error}");
        }
    }
}

/// Runs what waits for the disk where it keeps nobody else waiting.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let task: JoinHandle<T> = tokio::task::spawn_blocking(work);
    match task.await {
        Ok(value) => value,
        // The work is never aborted, so it panicked: that is the panic of whoever asked for it.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

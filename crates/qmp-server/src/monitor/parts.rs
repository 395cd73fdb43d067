//! The configuration of a monitor.

use std::{sync::Arc, time::Duration};

use qmp_wire::server::Profile;

use crate::{
    caller::Caller, commands::Commands, emitter::SharedState, panics::Hook, slow_reader::SlowReader,
};

/// The configuration that [`MonitorBuilder`](crate::MonitorBuilder) collects.
pub(crate) struct Parts {
    pub(crate) shared: Arc<SharedState>,
    pub(crate) profile: Arc<Profile>,
    pub(crate) commands: Commands,
    pub(crate) ready: Hook<dyn Fn() -> bool + Send>,
    pub(crate) lose_held: bool,
    pub(crate) stop_timeout: Duration,
    pub(crate) slow_reader: SlowReader,
    pub(crate) output_max_bytes: usize,
    pub(crate) connections_max: usize,
    pub(crate) on_connect: Option<OnConnect>,
    pub(crate) on_disconnect: Option<OnDisconnect>,
}

/// Decides whether a client may connect.
pub(crate) type OnConnect = Hook<dyn FnMut(&Caller) -> bool + Send>;

/// Is notified of a closed connection.
pub(crate) type OnDisconnect = Hook<dyn FnMut(&Caller) + Send>;

impl std::fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Parts").field("profile", &self.profile).finish_non_exhaustive()
    }
}

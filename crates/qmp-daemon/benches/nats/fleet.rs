//! A fleet hub that reads one stream.

use std::collections::HashMap;
use std::sync::Arc;

use qmp_hub::{FleetConfig, FleetSources, HOST_SILENT_AFTER, Hub, HubConfig, SilentAfter};
use qmp_journal::Journal;
use qmp_testing::NatsServer;

/// The hub, and its source.
pub(crate) struct FleetHub {
    hub: Hub,
    sources: FleetSources,
}

impl FleetHub {
    /// Starts to read the stream of `server` into `journal`.
    pub(crate) async fn start(journal: &Journal, server: &NatsServer) -> Self {
        let config = HubConfig {
            attach: Vec::new(),
            origins: HashMap::new(),
            findings: true,
            relays: Vec::new(),
            silent_after: SilentAfter::default(),
            silent_after_of: HashMap::new(),
            state_rules: Vec::new(),
            open_alerts: Vec::new(),
            silences_changed: Arc::default(),
        };
        let hub = Hub::start(config, journal).await.expect("starts");
        let from = FleetConfig {
            sources: vec![server.url().parse().expect("a source")],
            findings: true,
            host_silent_after: HOST_SILENT_AFTER,
        };
        let sources = FleetSources::start(from, journal, hub.vm_states()).await.expect("starts");
        Self { hub, sources }
    }

    /// Stops both.
    pub(crate) async fn stop(mut self) {
        self.sources.stop().await;
        self.hub.stop().await;
    }
}

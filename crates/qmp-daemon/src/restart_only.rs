//! Settings that take effect only at a restart of the hub.

use qmp_hub::FleetSourceConfig;

use crate::config::DaemonConfig;

/// Settings that take effect only at a restart, with their values at the start.
#[derive(Debug)]
pub(crate) struct RestartOnlySettings {
    journal: std::path::PathBuf,
    host: Option<Box<str>>,
    /// For comparison only.
    http: String,
    findings: bool,
    from: Vec<FleetSourceConfig>,
}

impl RestartOnlySettings {
    pub(crate) fn new(config: &DaemonConfig) -> Self {
        let http = format!("{:?}", config.http);
        let (journal, host, from) = (config.journal.clone(), config.host.clone(), config.from.clone());
        Self { journal, host, http, findings: config.findings, from }
    }

    pub(crate) fn differences(&self, next: &Self) -> Vec<&'static str> {
        let keys = [
            ("journal", self.journal != next.journal),
            ("host", self.host != next.host),
            ("http", self.http != next.http),
            ("findings", self.findings != next.findings),
            ("from", self.from != next.from),
        ];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_restart_only_key_is_returned() {
        let differences = |change: fn(&mut DaemonConfig)| {
            let mut config = DaemonConfig::new("/j.db");
            change(&mut config);
            RestartOnlySettings::new(&DaemonConfig::new("/j.db"))
                .differences(&RestartOnlySettings::new(&config))
        };
        assert_eq!(differences(|_| {}), [""; 0]);
        assert_eq!(differences(|config| config.journal = "/k.db".into()), ["journal"]);
        assert_eq!(differences(|config| config.host = Some("node1".into())), ["host"]);
        assert_eq!(differences(|config| config.findings = false), ["findings"]);
        let source = |config: &mut DaemonConfig| config.from.push("nats://h".parse().expect("a source"));
        assert_eq!(differences(source), ["from"]);
        assert_eq!(differences(|config| config.http.push("/h.sock".parse().expect("an address"))), ["http"]);
    }
}

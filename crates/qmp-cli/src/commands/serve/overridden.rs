//! Settings that another one overrides: the command line goes before the file, and the file before the environment.

use qmp_daemon::DaemonConfig;
use qmp_http::HttpEndpoint;

use crate::hub::HubArgs;
use crate::paths;

/// Logs each setting that is not used.
pub(super) fn log(config: &DaemonConfig) {
    for notice in notices(config) {
        tracing::info!("{notice}");
    }
}

fn notices(config: &DaemonConfig) -> Vec<String> {
    let mut notices: Vec<String> = config.overridden.clone();
    let journal = paths::journal_of_environment();
    if let Some(journal) = journal.filter(|journal| *journal != config.journal) {
        let (used, unused) = (config.journal.display(), journal.display());
        notices.push(format!("the journal is {used}, and not {unused} of the variable QMP_JOURNAL"));
    }
    let named = HubArgs::named_by_environment().map(|hub| hub.to_string());
    if let Some(hub) = named.filter(|hub| config.http.iter().all(|endpoint| endpoint.to_string() != *hub)) {
        let served: Vec<String> = config.http.iter().map(HttpEndpoint::to_string).collect();
        notices.push(format!(
            "the hub serves {}, and not {hub} of the variable QMP_HUB, which is for the other commands",
            served.join(", ")
        ));
    }
    notices
}

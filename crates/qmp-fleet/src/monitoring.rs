//! What the monitoring page `/varz` of a server says about its disk.

use serde::Deserialize;

/// When a server syncs what it has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before each acknowledgement.
    Always,
    /// At intervals: a power cut of the server loses acknowledged messages.
    Interval,
    /// The server does not say it.
    Unknown,
}

#[derive(Deserialize)]
struct Varz {
    #[serde(default)]
    jetstream: Option<JetStream>,
}

#[derive(Deserialize)]
struct JetStream {
    #[serde(default)]
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    sync_always: bool,
    #[serde(default)]
    sync_interval: Option<u64>,
}

/// Reads the policy from the body of `/varz`.
#[must_use]
pub fn sync_policy(varz: &[u8]) -> SyncPolicy {
    let varz: Option<Varz> = serde_json::from_slice(varz).ok();
    match varz.and_then(|varz| varz.jetstream).and_then(|jetstream| jetstream.config) {
        Some(Config { sync_always: true, .. }) => SyncPolicy::Always,
        Some(Config { sync_interval: Some(_), .. }) => SyncPolicy::Interval,
        _ => SyncPolicy::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_is_read_from_varz() {
        let cases = [
            (
                r#"{"jetstream":{"config":{"sync_interval":120000000000,"strict":true}}}"#,
                SyncPolicy::Interval,
            ),
            (
                r#"{"jetstream":{"config":{"sync_interval":120000000000,"sync_always":true}}}"#,
                SyncPolicy::Always,
            ),
            (r#"{"version":"2.9.10","jetstream":{"config":{"max_memory":1}}}"#, SyncPolicy::Unknown),
            (r#"{"jetstream":{}}"#, SyncPolicy::Unknown),
            ("<html>", SyncPolicy::Unknown),
        ];
        for (varz, expected) in cases {
            assert_eq!(sync_policy(varz.as_bytes()), expected, "{varz}");
        }
    }
}

//! The part of a VM's snapshot that is about its monitor.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The part of a snapshot that is about the monitor.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answers {
    /// Missing if the answer was late: the epoch opens without it.
    #[serde(rename = "query-status")]
    pub(super) status: Option<IgnoredAny>,
    pub(super) process: Option<ProcessNumber>,
    #[serde(rename = "query-uuid")]
    uuid: Option<QueryUuid>,
}

#[derive(Debug, Deserialize)]
struct QueryUuid {
    #[serde(rename = "UUID", default)]
    uuid: Box<str>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ProcessNumber {
    pub(super) pid: i32,
}

impl Answers {
    pub(super) fn read(snapshot: &str) -> Self {
        serde_json::from_str(snapshot).unwrap_or_default()
    }

    /// The VM's UUID, as QEMU writes it.
    pub(super) fn uuid(&self) -> Option<&str> {
        self.uuid.as_ref().map(|answer| &*answer.uuid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_without_the_status_is_no_answer() {
        let failed = r#"{"query-status":{"class":"TimedOut","desc":"no reply"}}"#;
        let cases = [
            (r#"{"address":"unix:/a","query-status":{"status":"running"}}"#.to_owned(), true, None),
            (format!(r#"{{"address":"unix:/a","errors":{failed}}}"#), false, None),
            (format!(r#"{{"process":{{"pid":7,"name":"qemu"}},"errors":{failed}}}"#), false, Some(7)),
            ("{}".to_owned(), false, None),
        ];
        for (snapshot, is_answered, pid) in cases {
            let answers = Answers::read(&snapshot);
            assert_eq!(answers.status.is_some(), is_answered, "{snapshot}");
            assert_eq!(answers.process.map(|process| process.pid), pid, "{snapshot}");
        }
    }
}

//! The answer of a VM, as a record of the kind `query`.

use qmp_client::{ExecuteError, ReplySink};
use qmp_findings::{LIBVIRT_STATE, QUERY, Question, assert_listed};
use qmp_host::clock::Clock;
use qmp_journal::{Appender, Batch, Draft};
use qmp_wire::{Body, UnixMicros};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// The longest answer that is recorded, in bytes: that of `query-jobs` has some 200 for each job.
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// Jobs that the summary of an answer names.
const JOBS_NAMED_MAX: usize = 4;

/// The longest text of a VM in a summary, in characters.
const TEXT_MAX_CHARS: usize = 120;

/// Receives the answer to a question.
#[derive(Debug)]
pub(super) struct AnswerSink {
    appender: Appender,
    question: Question,
    /// The command, or the call of libvirt, that is named as executed.
    executed: &'static str,
    answered: oneshot::Sender<()>,
    clock: Clock,
}

impl AnswerSink {
    pub(super) fn new(
        appender: Appender,
        question: Question,
        executed: &'static str,
        answered: oneshot::Sender<()>,
        clock: Clock,
    ) -> Self {
        Self { appender, question, executed, answered, clock }
    }
}

impl ReplySink for AnswerSink {
    fn is_cancelled(&self) -> bool {
        self.answered.is_closed()
    }

    fn deliver(self: Box<Self>, result: Result<Box<str>, ExecuteError>) {
        // Without a receiver, the missing answer is recorded already.
        if self.answered.send(()).is_ok() {
            record(&self.appender, &self.question, self.executed, &result, self.clock.now());
        }
    }

    fn waits_for_events(&self) -> bool {
        // The events before it were appended, and its record follows them.
        false
    }
}

/// Appends the record of an answer, or of its failure. The end of a connection has another record.
pub(super) fn record(
    appender: &Appender,
    question: &Question,
    executed: &'static str,
    result: &Result<Box<str>, ExecuteError>,
    received: UnixMicros,
) {
    let Some((summary, mut data)) = described(executed, result) else { return };
    data["execute"] = executed.into();
    data.as_object().into_iter().for_each(|data| assert_listed(QUERY, data));
    let summary = format!("{executed}: {summary}").into();
    let (finding, causes, data) = (QUERY.into(), vec![question.cause], Some(data.to_string().into()));
    let body = Body::Finding { finding, summary, causes, data };
    let mut batch = Batch::new();
    batch.push(&Draft { vm: &question.vm, received, body });
    // Without room the epoch ends, and the question with it.
    let _ = appender.append(&mut batch);
}

/// A sentence, and the members `return` or `error`; `None` if there is nothing to record.
fn described(execute: &str, result: &Result<Box<str>, ExecuteError>) -> Option<(String, Value)> {
    let error = |class: &str, desc: String| {
        let summary = format!("{class}: {}", shortened(&desc));
        Some((summary, json!({"error": {"class": class, "desc": desc}})))
    };
    match result {
        Ok(text) if text.len() > ANSWER_MAX_BYTES => {
            error("TooLong", format!("the answer has {} bytes", text.len()))
        }
        Ok(text) => match serde_json::from_str::<Value>(text) {
            Ok(value) => Some((summary(execute, &value), json!({"return": value}))),
            Err(reason) => error("InvalidReply", reason.to_string()),
        },
        Err(ExecuteError::Refused(refused)) => error(&refused.class, refused.desc.to_string()),
        Err(ExecuteError::Closed { .. } | ExecuteError::NotAttached) => None,
        Err(reason @ ExecuteError::TimedOut { .. }) => error("TimedOut", reason.to_string()),
        Err(reason) => error("GenericError", reason.to_string()),
    }
}

fn summary(execute: &str, value: &Value) -> String {
    let text = |value: &Value, member: &str| value.get(member).and_then(Value::as_str).map(shortened);
    if execute == LIBVIRT_STATE {
        let [state, reason] = ["state", "reason"].map(|member| text(value, member).unwrap_or_default());
        return format!("{state} ({reason})");
    }
    let Some(jobs) = value.as_array().filter(|_| execute == "query-jobs") else {
        return text(value, "status").unwrap_or_else(|| shortened(&value.to_string()));
    };
    let described = |job: &Value| {
        let id = text(job, "id").unwrap_or_default();
        let status = text(job, "status").unwrap_or_default();
        let error = text(job, "error").map(|error| format!(" ({error})")).unwrap_or_default();
        format!("{id} {status}{error}")
    };
    match jobs.len() {
        0 => "no jobs".to_owned(),
        count => {
            let mut named: Vec<String> = jobs.iter().take(JOBS_NAMED_MAX).map(described).collect();
            if count > JOBS_NAMED_MAX {
                named.push(format!("{} more", count - JOBS_NAMED_MAX));
            }
            named.join(", ")
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use qmp_client::CloseReason;
    use qmp_wire::CommandError;

    use super::*;

    #[test]
    fn answers_are_described_in_short_and_kept_whole() {
        let refused = CommandError { class: "CommandNotFound".into(), desc: "no such command".into() };
        let long = format!("\"{}\"", "x".repeat(ANSWER_MAX_BYTES));
        let cases: [(&str, Result<&str, ExecuteError>, &str); 10] = [
            (
                LIBVIRT_STATE,
                Ok(r#"{"state":"paused","reason":"user"}"#),
                r#"paused (user) {"return":{"reason":"user","state":"paused"}}"#,
            ),
            (
                "query-status",
                Ok("{\"status\": \"internal-error\",\r\n \"running\": false}"),
                r#"internal-error {"return":{"running":false,"status":"internal-error"}}"#,
            ),
            ("query-status", Ok("[]"), r#"[] {"return":[]}"#),
            ("query-jobs", Ok("[]"), r#"no jobs {"return":[]}"#),
            (
                "query-jobs",
                Ok(
                    r#"[{"id": "j0", "status": "concluded", "error": "no snapshot"}, {"id": "j1", "status": "running"}]"#,
                ),
                r#"j0 concluded (no snapshot), j1 running {"return":[{"error":"no snapshot","id":"j0","status":"concluded"},{"id":"j1","status":"running"}]}"#,
            ),
            (
                "query-jobs",
                Err(ExecuteError::Refused(refused)),
                r#"CommandNotFound: no such command {"error":{"class":"CommandNotFound","desc":"no such command"}}"#,
            ),
            (
                "query-status",
                Err(ExecuteError::TimedOut { waited: Duration::from_secs(5) }),
                r#"TimedOut: no reply within 5s; the command may still take effect {"error":{"class":"TimedOut","desc":"no reply within 5s; the command may still take effect"}}"#,
            ),
            ("query-status", Err(ExecuteError::NotAttached), "nothing"),
            ("query-status", Err(ExecuteError::Closed { reason: CloseReason::PeerClosed }), "nothing"),
            (
                "query-status",
                Ok(&long),
                r#"TooLong: the answer has 65538 bytes {"error":{"class":"TooLong","desc":"the answer has 65538 bytes"}}"#,
            ),
        ];
        for (execute, result, expected) in cases {
            let shown = described(execute, &result.map(Into::into))
                .map_or("nothing".to_owned(), |(summary, data)| format!("{summary} {data}"));
            assert_eq!(shown, expected, "{execute}");
        }
    }
}

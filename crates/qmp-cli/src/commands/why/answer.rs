//! The answer of `qmp why`, as text and as JSON.

use jiff::tz::TimeZone;
use qmp_events::EventKind;
use qmp_findings::state::{MissingRecords, VmState};
use qmp_wire::{Body, QualifiedName, Record, UnixMicros};
use serde_json::json;
use serde_json::value::RawValue;

use crate::render::{Palette, Renderer, escape};
use crate::time::write;

/// The state of a VM, and the records that show its reason.
pub(super) struct Answer {
    pub(super) state: VmState,
    pub(super) evidence: Vec<Record<'static>>,
    /// When the VM's last record was received, if its epoch is open in a file: only a running hub knows more.
    pub(super) last_received: Option<UnixMicros>,
    /// The previous epoch, if the open one shows only how the VM was found.
    pub(super) previous: Option<Previous>,
    /// Whether the first record of the epoch is not in the journal any more.
    pub(super) is_beginning_removed: bool,
    /// The end of the epoch, if it was recorded after the requested time, and that time is not certain any more.
    pub(super) detached_later: Option<DetachedLater>,
}

/// An end of an epoch that was recorded after the requested time.
pub(super) struct DetachedLater {
    pub(super) reason: Box<str>,
    pub(super) certain_until: UnixMicros,
}

/// The end of an epoch.
#[derive(Debug, serde::Serialize)]
pub(super) struct Previous {
    pub(super) epoch: u32,
    /// The reason for the VM's state at that time, if it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary: Option<String>,
}

impl Answer {
    pub(super) fn text(&self, vm: &str, palette: Palette, zone: TimeZone) -> String {
        let vm = escape::text(vm);
        let state = self.state.run_state.as_deref().unwrap_or("unknown");
        let is_doubtful = if self.state.silence.is_some() { "?" } else { "" };
        let since = self.state.run_since.map(|at| format!(" since {}", write::local(at, &zone)));
        let mut text = format!(
            "{} · {}{is_doubtful}{}\n",
            palette.bold(&vm),
            escape::text(state),
            since.unwrap_or_default()
        );
        match &self.state.why {
            Some(why) => text += &format!("{}\n", escape::text(&why.summary)),
            None => text += "The journal does not show why.\n",
        }
        if let Some(silence) = self.state.silence {
            let since = write::local(silence.since, &zone);
            text +=
                &format!("Its monitor has not answered since {since}; its state since then is unknown.\n");
        }
        if let Some(missing) = self.missing() {
            text += &format!("{missing}\n");
        }
        if let Some(doubt) = self.doubt(&zone) {
            text += &format!("{}\n", palette.dim(escape::text(&doubt)));
        }
        if let Some(Previous { epoch, summary }) = &self.previous {
            let summary = summary.as_ref().map(|summary| format!(" {}", escape::text(summary)));
            let hint = format!("See `qmp why {vm} --epoch {epoch}`.");
            text += &format!("Epoch {epoch}, before this one:{} {hint}\n", summary.unwrap_or_default());
        }
        let mut lines = Vec::new();
        let mut renderer = Renderer::human(palette, zone);
        self.evidence.iter().for_each(|record| renderer.record(record, &mut lines));
        if !lines.is_empty() {
            text.push('\n');
            text += &String::from_utf8_lossy(&lines);
        }
        if let Some(advice) = self.advice() {
            text += &format!("\n{}\n", palette.dim(advice));
        }
        text
    }

    pub(super) fn json(&self, vm: &str) -> String {
        let evidence: Vec<Box<RawValue>> = self
            .evidence
            .iter()
            .filter_map(|record| {
                let mut line = Vec::new();
                record.write_json(&mut line);
                RawValue::from_string(String::from_utf8(line).ok()?).ok()
            })
            .collect();
        #[derive(serde::Serialize)]
        struct Line<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            host: Option<&'a str>,
            vm: &'a str,
            #[serde(flatten)]
            state: &'a VmState,
            evidence: Vec<Box<RawValue>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            last_received: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            silent_since: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            previous: Option<&'a Previous>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            beginning_removed: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            certain_until: Option<String>,
        }
        let silent_since = self.state.silence.map(|silence| silence.since.to_string());
        let previous = self.previous.as_ref();
        let last_received = self.last_received.map(|at| at.to_string());
        let beginning_removed = self.is_beginning_removed;
        let certain_until = self.detached_later.as_ref().map(|later| later.certain_until.to_string());
        let (host, vm) = QualifiedName::divide(vm);
        let line = Line {
            host,
            vm,
            state: &self.state,
            evidence,
            last_received,
            silent_since,
            previous,
            beginning_removed,
            certain_until,
        };
        // Names, numbers and raw JSON: serializing cannot fail.
        serde_json::to_string(&line).unwrap_or_else(|_| json!({"vm": vm}).to_string()) + "\n"
    }

    /// States which records are missing.
    fn missing(&self) -> Option<String> {
        let Some(MissingRecords { after, before }) = self.state.incomplete else {
            let epoch = self.state.epoch.filter(|_| self.is_beginning_removed)?.0;
            return Some(format!(
                "The beginning of epoch {epoch} is not in the journal any more; this is from a checkpoint and the later \
                 records."
            ));
        };
        let (epoch, first) = (before.0.0, before.1.0);
        let which = match after {
            None => format!("The records of epoch {epoch} before number {first}"),
            Some(after) if after.0 == before.0 => {
                format!("The records of epoch {epoch} between numbers {} and {first}", after.1.0)
            }
            Some(after) => format!(
                "The records between number {} of epoch {} and number {first} of epoch {epoch}",
                after.1.0, after.0.0
            ),
        };
        Some(format!("{which} are missing: removed by [retention], or unreadable. This is from the others."))
    }

    /// States what is uncertain about the answer.
    fn doubt(&self, zone: &TimeZone) -> Option<String> {
        if let Some(at) = self.last_received {
            let at = write::local(at, zone);
            return Some(format!(
                "This is from the file: nothing is certain after {at} unless a hub still writes it."
            ));
        }
        let later = self.detached_later.as_ref().map(|later| (&later.reason, later.certain_until));
        let detached =
            self.state.detached.as_ref().map(|detached| (&detached.reason, detached.certain_until));
        let (reason, certain_until) = later.or(detached)?;
        let is_end = matches!(self.state.run_state.as_deref(), Some("ended" | "gone"));
        (!is_end).then(|| {
            let epoch = self.state.epoch.map_or(0, |epoch| epoch.0);
            let until = write::local(certain_until, zone);
            format!(
                "This is the last known state: epoch {epoch} ended ({reason}), and nothing is certain since {until}."
            )
        })
    }

    /// Refers to the description of the most significant event.
    fn advice(&self) -> Option<String> {
        let name = self.evidence.iter().find_map(|record| match &record.body {
            Body::Event { name, .. } => EventKind::from_name(name).map(EventKind::name),
            _ => None,
        })?;
        Some(format!("qmp events {name} describes that event."))
    }
}

#[cfg(test)]
mod tests;

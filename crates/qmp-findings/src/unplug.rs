//! Devices that were unplugged, or that the guest refused to release; each is reported once.
//!
//! `DEVICE_DELETED` is sent for the device and before it for its parts, such as the back-end of a virtio device. A
//! guest that was asked by ACPI reports its progress (`ACPI_DEVICE_OST`): a refusing guest reports the refusal there,
//! and a guest that has finished names a slot without a device. For a processor under emulation there is no other
//! event. A machine that refuses reports it as well (`DEVICE_UNPLUG_GUEST_ERROR`; before 9.1 also `MEM_UNPLUG_ERROR`).

use qmp_events::EventKind as K;
use serde_json::{Value, json};

use crate::conclusion::Conclusions;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::finding::Id;
use crate::limits::{CAUSES_MAX, UNPLUG_PARTS_MAX, UNPLUG_SILENT_MAX, UNPLUGS_TRACKED_MAX};
use crate::local_time::Moment;
use crate::observation::{Event, Observation, ObservationKind};
use crate::persist::{persist, persist_enum};
use crate::text;

pub(super) const HOT_UNPLUG: &str = "hot-unplug";

/// The sources of an `ACPI_DEVICE_OST` about an ejection: requested by the host, or by the guest's operator. Source:
/// ACPI specification, `_OST`, source events 3 and 0x103.
const EJECTIONS: [u64; 2] = [3, 0x103];

/// The statuses of an ejection that is not refused: done, and in progress. Source: ACPI specification, `_OST`, status
/// codes of an ejection request.
const DONE: u64 = 0;
const IN_PROGRESS: u64 = 0x84;

/// Unplugs in progress of one VM.
#[derive(Debug, Default)]
pub(super) struct Unplugs {
    pending: Vec<PendingUnplug>,
}

#[derive(Debug)]
struct PendingUnplug {
    sign: Sign,
    causes: Vec<Id>,
    since: Moment,
    until: Moment,
}

/// The last event of an unplug.
#[derive(Debug)]
enum Sign {
    /// A part of the device was deleted.
    Part { path: Box<str> },
    /// The guest reports its progress.
    Guest(Guest),
    /// The guest refused, by the older event; the newer one may follow.
    Refused { device: Box<str>, message: Box<str> },
}

/// The reports of a guest about one device.
#[derive(Debug, Default)]
struct Guest {
    device: Box<str>,
    /// The kind and name of the slot: the only members that are left once the device is removed.
    slot: [Box<str>; 2],
    statuses: Vec<u64>,
    /// The number of removed parts of the device, if the device is removed.
    removed_parts: Option<usize>,
}

persist!(Unplugs { pending });
persist!(PendingUnplug { sign, causes, since, until });
persist_enum!(Sign { Part { path: path }, Guest { 0: guest }, Refused { device: device, message: message } });
persist!(Guest { device, slot, statuses, removed_parts });

impl Guest {
    fn refuses(&self) -> bool {
        self.statuses.last().is_some_and(|status| ![DONE, IN_PROGRESS].contains(status))
    }

    /// Summary and data from its reports alone, after no other event for `span`.
    fn conclude(&self, span: std::time::Duration) -> (String, Value) {
        let (device, statuses) = (&self.device, &self.statuses);
        let shown = text::shown(device);
        if let Some(parts) = self.removed_parts {
            let summary = format!("Device {shown} was unplugged: its guest reports that its slot is empty.");
            let data =
                json!({"device": device, "result": "unplugged", "parts": parts, "guest_statuses": statuses});
            return (summary, data);
        }
        let (summary, result) = if self.refuses() {
            (format!("The guest refused to release device {shown}."), "refused")
        } else {
            let silent = text::span(span);
            (
                format!("The guest began to release device {shown} and did not finish within {silent}."),
                "unfinished",
            )
        };
        (summary, json!({"device": device, "result": result, "guest_statuses": statuses}))
    }
}

impl Correlator for Unplugs {
    fn take(&mut self, input: &Observation<'_>, _span: &Span, found: &mut Conclusions) {
        match input.kind {
            ObservationKind::Attached(_) => self.pending.clear(),
            ObservationKind::Detached(..) => self.expire(|_| true, input.now, found),
            ObservationKind::Event(event) => match event.kind {
                Some(K::DeviceDeleted) => self.deleted(event, input, found),
                Some(K::DeviceUnplugGuestError) => self.refused(event, input, found),
                Some(K::MemUnplugError) => {
                    let message = event.text("msg").unwrap_or_default().into();
                    let device = event.text("device").unwrap_or_default().into();
                    self.wait(Sign::Refused { device, message }, UNPLUG_PARTS_MAX, input, found);
                }
                Some(K::AcpiDeviceOst) => self.guest_reports(event, input, found),
                _ => {}
            },
            ObservationKind::Command(_) | ObservationKind::ProcessEnded(_) | ObservationKind::Answer(_) => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        self.pending.iter().map(|pending| pending.until).min()
    }

    fn overdue(&mut self, now: Moment, _span: &Span, found: &mut Conclusions) {
        self.expire(|pending| pending.until <= now, now, found);
    }
}

impl Unplugs {
    fn deleted(&mut self, event: &Event<'_>, input: &Observation<'_>, found: &mut Conclusions) {
        let path = event.text("path").unwrap_or_default();
        let Some(device) = event.named("device") else {
            // A path below another device is a part; a device without an id is reported alone.
            self.wait(Sign::Part { path: path.into() }, UNPLUG_PARTS_MAX, input, found);
            return;
        };
        let inside = format!("{path}/");
        let of_it = |pending: &PendingUnplug| match &pending.sign {
            Sign::Part { path } => path.starts_with(&inside),
            Sign::Guest(guest) => *guest.device == *device,
            Sign::Refused { .. } => false,
        };
        let signs = self.take_out(of_it);
        let parts = signs.iter().map(|pending| match &pending.sign {
            Sign::Part { .. } => 1,
            Sign::Guest(guest) => guest.removed_parts.unwrap_or(0),
            Sign::Refused { .. } => 0,
        });
        let parts: usize = parts.sum();
        let guest_since = signs.iter().filter(|w| matches!(w.sign, Sign::Guest(_))).map(|w| w.since).min();
        let took = guest_since.map(|since| input.now.since(since));
        let after = took.map(|took| format!(", {} after its guest began with it", text::span(took)));
        let summary = format!("Device {} was unplugged{}.", text::shown(device), after.unwrap_or_default());
        let causes = signs.iter().flat_map(|pending| pending.causes.clone()).chain([input.id]).collect();
        let data = json!({
            "device": device,
            "path": path,
            "result": "unplugged",
            "parts": parts,
            "guest_statuses": statuses(&signs),
            "duration_seconds": took.map(text::seconds),
        });
        found.push(HOT_UNPLUG, summary, causes, data);
    }

    fn refused(&mut self, event: &Event<'_>, input: &Observation<'_>, found: &mut Conclusions) {
        let (device, path) = (event.named("device"), event.text("path").unwrap_or_default());
        let name = device.unwrap_or(path);
        let of_it = |pending: &PendingUnplug| match &pending.sign {
            Sign::Part { .. } => false,
            Sign::Guest(Guest { device: known, .. }) | Sign::Refused { device: known, .. } => {
                Some(&**known) == device
            }
        };
        let signs = self.take_out(of_it);
        let message = signs.iter().find_map(|pending| match &pending.sign {
            Sign::Refused { message, .. } => Some(message.clone()),
            _ => None,
        });
        let why = message.as_deref().map(|message| format!(" ({})", text::shown(message)));
        let summary =
            format!("The guest refused to release device {}{}.", text::shown(name), why.unwrap_or_default());
        let causes = signs.iter().flat_map(|pending| pending.causes.clone()).chain([input.id]).collect();
        let data = json!({
            "device": device,
            "path": path,
            "result": "refused",
            "message": message,
            "guest_statuses": statuses(&signs),
        });
        found.push(HOT_UNPLUG, summary, causes, data);
    }

    /// Takes a guest's report about the ejection of a device.
    fn guest_reports(&mut self, event: &Event<'_>, input: &Observation<'_>, found: &mut Conclusions) {
        let info = |member: &str| event.data.pointer(&format!("/info/{member}"));
        let text = |member: &str| info(member).and_then(Value::as_str).filter(|text| !text.is_empty());
        let is_ejection =
            info("source").and_then(Value::as_u64).is_some_and(|source| EJECTIONS.contains(&source));
        let (true, Some(status)) = (is_ejection, info("status").and_then(Value::as_u64)) else { return };
        let slot = ["slot-type", "slot"].map(|member| text(member).unwrap_or_default().into());
        let Some(device) = text("device") else {
            if status == DONE {
                self.slot_emptied(&slot, input);
            }
            return;
        };
        let at = match self.of_guest(|guest| *guest.device == *device) {
            Some(at) => at,
            // The device may still be there.
            None if status == DONE => return,
            None => {
                let guest = Guest { device: device.into(), slot, ..Guest::default() };
                self.wait(Sign::Guest(guest), UNPLUG_SILENT_MAX, input, found);
                self.pending.len() - 1
            }
        };
        self.pending[at].add_report(status, input);
    }

    /// Takes the report that this slot is empty: its device is removed, with the parts that were reported.
    fn slot_emptied(&mut self, slot: &[Box<str>; 2], input: &Observation<'_>) {
        let Some(at) = self.of_guest(|guest| guest.slot == *slot) else { return };
        let mut pending = self.pending.remove(at);
        pending.add_report(DONE, input);
        if let Sign::Guest(guest) = &mut pending.sign {
            let inside = format!("/{}/", guest.device);
            let parts =
                self.take_out(|other| matches!(&other.sign, Sign::Part { path } if path.contains(&inside)));
            guest.removed_parts = Some(parts.len());
            pending.causes.splice(1..1, parts.into_iter().flat_map(|part| part.causes));
            pending.causes.truncate(CAUSES_MAX);
            // An event of the device itself may follow.
            pending.until = input.now.after(UNPLUG_PARTS_MAX);
        }
        self.pending.push(pending);
    }

    fn of_guest(&self, is_it: impl Fn(&Guest) -> bool) -> Option<usize> {
        self.pending.iter().position(|pending| matches!(&pending.sign, Sign::Guest(guest) if is_it(guest)))
    }

    fn wait(
        &mut self,
        sign: Sign,
        span: std::time::Duration,
        input: &Observation<'_>,
        found: &mut Conclusions,
    ) {
        if self.pending.len() >= UNPLUGS_TRACKED_MAX {
            self.pending.remove(0).report_alone(input.now, found);
        }
        let (since, until) = (input.now, input.now.after(span));
        self.pending.push(PendingUnplug { sign, causes: vec![input.id], since, until });
    }

    fn take_out(&mut self, is_it: impl Fn(&PendingUnplug) -> bool) -> Vec<PendingUnplug> {
        let (out, rest) = std::mem::take(&mut self.pending).into_iter().partition(is_it);
        self.pending = rest;
        out
    }

    /// Reports unplugs whose deadline expired.
    fn expire(&mut self, is_due: impl Fn(&PendingUnplug) -> bool, now: Moment, found: &mut Conclusions) {
        for pending in self.take_out(is_due) {
            pending.report_alone(now, found);
        }
    }
}

impl PendingUnplug {
    /// Adds a report of the guest.
    fn add_report(&mut self, status: u64, input: &Observation<'_>) {
        let Sign::Guest(guest) = &mut self.sign else { return };
        if guest.statuses.len() < CAUSES_MAX {
            guest.statuses.push(status);
        }
        if self.causes.last() != Some(&input.id) && self.causes.len() < CAUSES_MAX {
            self.causes.push(input.id);
        }
        // A machine that also refuses does so at once.
        let span = if guest.refuses() { UNPLUG_PARTS_MAX } else { UNPLUG_SILENT_MAX };
        self.until = input.now.after(span);
    }

    /// Reports the unplug without further events.
    fn report_alone(self, now: Moment, found: &mut Conclusions) {
        let (summary, data) = match &self.sign {
            Sign::Part { path } => {
                let summary = format!("A device without an id was unplugged: {}.", text::shown(path));
                (summary, json!({"device": null, "path": path, "result": "unplugged", "parts": 0}))
            }
            Sign::Refused { device, message } => {
                let (device_shown, message_shown) = (text::shown(device), text::shown(message));
                let summary =
                    format!("The guest refused to release device {device_shown} ({message_shown}).");
                (summary, json!({"device": device, "result": "refused", "message": message}))
            }
            Sign::Guest(guest) => guest.conclude(now.since(self.since)),
        };
        found.push(HOT_UNPLUG, summary, self.causes, data);
    }
}

fn statuses(signs: &[PendingUnplug]) -> Vec<u64> {
    let of = |pending: &PendingUnplug| match &pending.sign {
        Sign::Guest(guest) => guest.statuses.clone(),
        _ => Vec::new(),
    };
    signs.iter().flat_map(of).collect()
}

//! Devices that were unplugged, or that the guest would not let go, each told once.
//!
//! `DEVICE_DELETED` comes for the device and before it for its parts, such as the back-end of a virtio device. A guest
//! that was asked by ACPI reports on the way (`ACPI_DEVICE_OST`): one that refuses says so there, and one that is done
//! names a slot without a device. For a processor under emulation that is all there is. A machine that refuses says so
//! as well (`DEVICE_UNPLUG_GUEST_ERROR`; before 9.1 `MEM_UNPLUG_ERROR` besides).

use qmp_events::EventKind as K;
use serde_json::{Value, json};

use crate::conclusion::Found;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::finding::Id;
use crate::limits::{CAUSES_MAX, UNPLUG_PARTS_MAX, UNPLUG_SILENT_MAX, UNPLUGS_TRACKED_MAX};
use crate::local_time::Moment;
use crate::observation::{Event, Input, What};
use crate::saved::{saved, saved_enum};
use crate::text;

pub(super) const HOT_UNPLUG: &str = "hot-unplug";

/// The source of an `ACPI_DEVICE_OST` that tells of an ejection: asked by the host, or by the guest's operator.
/// Source: ACPI specification, `_OST`, source events 3 and 0x103.
const EJECTIONS: [u64; 2] = [3, 0x103];

/// The statuses of an ejection that refuse nothing: done, and in progress.
/// Source: ACPI specification, `_OST`, status codes of an ejection request.
const DONE: u64 = 0;
const IN_PROGRESS: u64 = 0x84;

/// Devices of one VM on their way out.
#[derive(Debug, Default)]
pub(super) struct Unplugs {
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    sign: Sign,
    causes: Vec<Id>,
    since: Moment,
    until: Moment,
}

/// What was seen of a device.
#[derive(Debug)]
enum Sign {
    /// A part of it was deleted.
    Part { path: Box<str> },
    /// The guest is at it.
    Guest(Guest),
    /// The guest refused, by the older event; the newer one may follow.
    Refused { device: Box<str>, message: Box<str> },
}

/// What a guest has reported of one device.
#[derive(Debug, Default)]
struct Guest {
    device: Box<str>,
    /// The kind of slot and which one: all that is told once the device is gone.
    slot: [Box<str>; 2],
    statuses: Vec<u64>,
    /// Parts of the device that are gone, if the device is.
    gone: Option<usize>,
}

saved!(Unplugs { waiting });
saved!(Waiting { sign, causes, since, until });
saved_enum!(Sign { Part { path: path }, Guest { 0: guest }, Refused { device: device, message: message } });
saved!(Guest { device, slot, statuses, gone });

impl Guest {
    fn refuses(&self) -> bool {
        self.statuses.last().is_some_and(|status| ![DONE, IN_PROGRESS].contains(status))
    }

    /// What its reports say when nobody else has said anything for so long.
    fn told_alone(&self, span: std::time::Duration) -> (String, Value) {
        let (device, statuses) = (&self.device, &self.statuses);
        let shown = text::shown(device);
        if let Some(parts) = self.gone {
            let summary = format!("Device {shown} was unplugged: its guest says that its slot is empty.");
            let data =
                json!({"device": device, "result": "unplugged", "parts": parts, "guest_statuses": statuses});
            return (summary, data);
        }
        let (summary, result) = if self.refuses() {
            (format!("The guest did not let device {shown} go."), "refused")
        } else {
            let silent = text::span(span);
            (format!("The guest began to let device {shown} go and has not within {silent}."), "unfinished")
        };
        (summary, json!({"device": device, "result": result, "guest_statuses": statuses}))
    }
}

impl Correlator for Unplugs {
    fn take(&mut self, input: &Input<'_>, _span: &Span, found: &mut Found) {
        match input.what {
            What::Attached(_) => self.waiting.clear(),
            What::Detached(_) => self.let_go(|_| true, input.now, found),
            What::Event(event) => match event.kind {
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
            What::Command(_) | What::ProcessEnded(_) | What::Answer(_) => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        self.waiting.iter().map(|waiting| waiting.until).min()
    }

    fn overdue(&mut self, now: Moment, _span: &Span, found: &mut Found) {
        self.let_go(|waiting| waiting.until <= now, now, found);
    }
}

impl Unplugs {
    fn deleted(&mut self, event: &Event<'_>, input: &Input<'_>, found: &mut Found) {
        let path = event.text("path").unwrap_or_default();
        let Some(device) = event.named("device") else {
            // Only what hangs below another device is a part; the rest has no name and is whole.
            self.wait(Sign::Part { path: path.into() }, UNPLUG_PARTS_MAX, input, found);
            return;
        };
        let inside = format!("{path}/");
        let of_it = |waiting: &Waiting| match &waiting.sign {
            Sign::Part { path } => path.starts_with(&inside),
            Sign::Guest(guest) => *guest.device == *device,
            Sign::Refused { .. } => false,
        };
        let signs = self.take_out(of_it);
        let parts = signs.iter().map(|waiting| match &waiting.sign {
            Sign::Part { .. } => 1,
            Sign::Guest(guest) => guest.gone.unwrap_or(0),
            Sign::Refused { .. } => 0,
        });
        let parts: usize = parts.sum();
        let guest_since = signs.iter().filter(|w| matches!(w.sign, Sign::Guest(_))).map(|w| w.since).min();
        let took = guest_since.map(|since| input.now.since(since));
        let after = took.map(|took| format!(", {} after its guest began with it", text::span(took)));
        let summary = format!("Device {} was unplugged{}.", text::shown(device), after.unwrap_or_default());
        let causes = signs.iter().flat_map(|waiting| waiting.causes.clone()).chain([input.id]).collect();
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

    fn refused(&mut self, event: &Event<'_>, input: &Input<'_>, found: &mut Found) {
        let (device, path) = (event.named("device"), event.text("path").unwrap_or_default());
        let name = device.unwrap_or(path);
        let of_it = |waiting: &Waiting| match &waiting.sign {
            Sign::Part { .. } => false,
            Sign::Guest(Guest { device: known, .. }) | Sign::Refused { device: known, .. } => {
                Some(&**known) == device
            }
        };
        let signs = self.take_out(of_it);
        let message = signs.iter().find_map(|waiting| match &waiting.sign {
            Sign::Refused { message, .. } => Some(message.clone()),
            _ => None,
        });
        let why = message.as_deref().map(|message| format!(" ({})", text::shown(message)));
        let summary =
            format!("The guest did not let device {} go{}.", text::shown(name), why.unwrap_or_default());
        let causes = signs.iter().flat_map(|waiting| waiting.causes.clone()).chain([input.id]).collect();
        let data = json!({
            "device": device,
            "path": path,
            "result": "refused",
            "message": message,
            "guest_statuses": statuses(&signs),
        });
        found.push(HOT_UNPLUG, summary, causes, data);
    }

    /// The guest says how far it is with the ejection of a device.
    fn guest_reports(&mut self, event: &Event<'_>, input: &Input<'_>, found: &mut Found) {
        let info = |member: &str| event.data.pointer(&format!("/info/{member}"));
        let text = |member: &str| info(member).and_then(Value::as_str).filter(|text| !text.is_empty());
        let is_ejection =
            info("source").and_then(Value::as_u64).is_some_and(|source| EJECTIONS.contains(&source));
        let (true, Some(status)) = (is_ejection, info("status").and_then(Value::as_u64)) else { return };
        let slot = ["slot-type", "slot"].map(|member| text(member).unwrap_or_default().into());
        let Some(device) = text("device") else {
            if status == DONE {
                self.emptied(&slot, input);
            }
            return;
        };
        let at = match self.of_guest(|guest| *guest.device == *device) {
            Some(at) => at,
            // It may well be there still.
            None if status == DONE => return,
            None => {
                let guest = Guest { device: device.into(), slot, ..Guest::default() };
                self.wait(Sign::Guest(guest), UNPLUG_SILENT_MAX, input, found);
                self.waiting.len() - 1
            }
        };
        self.waiting[at].reports(status, input);
    }

    /// What was in this slot is gone, and with it the parts that were told of.
    fn emptied(&mut self, slot: &[Box<str>; 2], input: &Input<'_>) {
        let Some(at) = self.of_guest(|guest| guest.slot == *slot) else { return };
        let mut waiting = self.waiting.remove(at);
        waiting.reports(DONE, input);
        if let Sign::Guest(guest) = &mut waiting.sign {
            let inside = format!("/{}/", guest.device);
            let parts =
                self.take_out(|other| matches!(&other.sign, Sign::Part { path } if path.contains(&inside)));
            guest.gone = Some(parts.len());
            waiting.causes.splice(1..1, parts.into_iter().flat_map(|part| part.causes));
            waiting.causes.truncate(CAUSES_MAX);
            // The device itself may be told of, too.
            waiting.until = input.now.after(UNPLUG_PARTS_MAX);
        }
        self.waiting.push(waiting);
    }

    fn of_guest(&self, is_it: impl Fn(&Guest) -> bool) -> Option<usize> {
        self.waiting.iter().position(|waiting| matches!(&waiting.sign, Sign::Guest(guest) if is_it(guest)))
    }

    fn wait(&mut self, sign: Sign, span: std::time::Duration, input: &Input<'_>, found: &mut Found) {
        if self.waiting.len() >= UNPLUGS_TRACKED_MAX {
            self.waiting.remove(0).tell_alone(input.now, found);
        }
        let (since, until) = (input.now, input.now.after(span));
        self.waiting.push(Waiting { sign, causes: vec![input.id], since, until });
    }

    fn take_out(&mut self, is_it: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let (out, rest) = std::mem::take(&mut self.waiting).into_iter().partition(is_it);
        self.waiting = rest;
        out
    }

    /// Tells what waited in vain.
    fn let_go(&mut self, is_due: impl Fn(&Waiting) -> bool, now: Moment, found: &mut Found) {
        for waiting in self.take_out(is_due) {
            waiting.tell_alone(now, found);
        }
    }
}

impl Waiting {
    /// The guest has reported this.
    fn reports(&mut self, status: u64, input: &Input<'_>) {
        let Sign::Guest(guest) = &mut self.sign else { return };
        if guest.statuses.len() < CAUSES_MAX {
            guest.statuses.push(status);
        }
        if self.causes.last() != Some(&input.id) && self.causes.len() < CAUSES_MAX {
            self.causes.push(input.id);
        }
        // A machine that refuses besides does so at once.
        let span = if guest.refuses() { UNPLUG_PARTS_MAX } else { UNPLUG_SILENT_MAX };
        self.until = input.now.after(span);
    }

    /// Nothing followed: says what there is to say.
    fn tell_alone(self, now: Moment, found: &mut Found) {
        let (summary, data) = match &self.sign {
            Sign::Part { path } => {
                let summary = format!("A device without an id was unplugged: {}.", text::shown(path));
                (summary, json!({"device": null, "path": path, "result": "unplugged", "parts": 0}))
            }
            Sign::Refused { device, message } => {
                let (device_shown, message_shown) = (text::shown(device), text::shown(message));
                let summary = format!("The guest did not let device {device_shown} go ({message_shown}).");
                (summary, json!({"device": device, "result": "refused", "message": message}))
            }
            Sign::Guest(guest) => guest.told_alone(now.since(self.since)),
        };
        found.push(HOT_UNPLUG, summary, self.causes, data);
    }
}

fn statuses(signs: &[Waiting]) -> Vec<u64> {
    let of = |waiting: &Waiting| match &waiting.sign {
        Sign::Guest(guest) => guest.statuses.clone(),
        _ => Vec::new(),
    };
    signs.iter().flat_map(of).collect()
}

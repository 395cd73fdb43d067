//! Reports an unplug request without any event about the device afterwards.
//!
//! QEMU accepts `device_del` and asks the guest to release the device. The result is reported by `DEVICE_DELETED`, by
//! `DEVICE_UNPLUG_GUEST_ERROR` or `MEM_UNPLUG_ERROR`, and the progress by `ACPI_DEVICE_OST`; a guest that does not
//! react, because it has not booted yet or has no driver for it, causes none of them. The command is known from its
//! record, so a command that bypassed the hub is unknown. Some devices need no guest and are deleted before the reply:
//! the record of the command then follows the event.

use std::collections::VecDeque;
use std::time::Duration;

use qmp_events::EventKind as K;
use serde_json::{Value, json};

use crate::conclusion::Conclusions;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::finding::Id;
use crate::limits::{COMMAND_RECORD_MAX, DEVICE_KEPT_MAX_BYTES, GUEST_SIGN_MAX, UNPLUGS_TRACKED_MAX};
use crate::local_time::Moment;
use crate::observation::{Event, Observation, ObservationKind};
use crate::persist::persist;
use crate::text;

pub(super) const UNPLUG_IGNORED: &str = "unplug-ignored";

/// The unplug requests of one VM.
#[derive(Debug, Default)]
pub(super) struct IgnoredUnplugs {
    /// Boxed, because most VMs have none.
    unplugs: Option<Box<Unplugs>>,
    /// Whether the VM runs, if known: a guest that does not run cannot react.
    running: Option<bool>,
}

#[derive(Debug, Default)]
struct Unplugs {
    /// In the order of their records.
    requests: VecDeque<Request>,
    /// The last reports of devices; the record of the command may follow.
    reports: VecDeque<(Device, Moment)>,
}

/// A `device_del` that was accepted.
#[derive(Debug)]
struct Request {
    id: Id,
    device: Box<str>,
    client: Option<Box<str>>,
    until: Moment,
}

/// A device as an event names it.
#[derive(Debug)]
struct Device {
    name: Option<Box<str>>,
    path: Option<Box<str>>,
}

persist!(IgnoredUnplugs { unplugs, running });
persist!(Unplugs { requests, reports });
persist!(Request { id, device, client, until });
persist!(Device { name, path });

impl Correlator for IgnoredUnplugs {
    fn take(&mut self, input: &Observation<'_>, _span: &Span, _found: &mut Conclusions) {
        match input.kind {
            ObservationKind::Attached(snapshot) => {
                *self = Self { running: snapshot.running, ..Self::default() }
            }
            ObservationKind::Detached(..) => *self = Self::default(),
            ObservationKind::Command(command) => {
                if let Some(request) = Request::of(command, input) {
                    self.unplugs.get_or_insert_default().request(request, command, input.now);
                }
            }
            ObservationKind::Event(event) => match event.kind {
                Some(K::Stop) => self.running = Some(false),
                Some(K::Resume) => self.running = Some(true),
                _ => {
                    if let Some(device) = Device::of(event) {
                        self.unplugs.get_or_insert_default().report(device, input.now);
                    }
                }
            },
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        // All requests have the same time limit.
        Some(self.unplugs.as_ref()?.requests.front()?.until)
    }

    fn overdue(&mut self, now: Moment, _span: &Span, found: &mut Conclusions) {
        let Some(unplugs) = &mut self.unplugs else { return };
        while unplugs.requests.front().is_some_and(|request| request.until <= now) {
            let Some(request) = unplugs.requests.pop_front() else { return };
            request.report(self.running, found);
        }
    }
}

impl Unplugs {
    fn request(&mut self, request: Request, command: &Value, now: Moment) {
        let took_ms = command.get("took_ms").and_then(Value::as_u64).unwrap_or(0);
        let window = Duration::from_millis(took_ms).saturating_add(COMMAND_RECORD_MAX);
        let is_reported =
            self.reports.iter().any(|(known, at)| known.is(&request.device) && now.since(*at) <= window);
        // QEMU may accept a second request: the deadline of the first one stays.
        if is_reported || self.requests.iter().any(|known| known.device == request.device) {
            return;
        }
        if self.requests.len() >= UNPLUGS_TRACKED_MAX {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }

    fn report(&mut self, device: Device, now: Moment) {
        self.requests.retain(|request| !device.is(&request.device));
        let is_long =
            |text: &Option<Box<str>>| text.as_deref().is_some_and(|text| text.len() > DEVICE_KEPT_MAX_BYTES);
        if is_long(&device.name) || is_long(&device.path) {
            return;
        }
        // A slower reply of `device_del` is not matched with a report before it.
        self.reports.retain(|(_, at)| now.since(*at) <= GUEST_SIGN_MAX);
        if self.reports.len() >= UNPLUGS_TRACKED_MAX {
            self.reports.pop_front();
        }
        self.reports.push_back((device, now));
    }
}

impl Device {
    /// The device of an event about the result or progress of an unplug.
    fn of(event: &Event<'_>) -> Option<Self> {
        let boxed = |text: Option<&str>| text.map(Box::from);
        match event.kind? {
            K::DeviceDeleted | K::DeviceUnplugGuestError | K::MemUnplugError => {
                Some(Self { name: boxed(event.named("device")), path: boxed(event.named("path")) })
            }
            K::AcpiDeviceOst => {
                let name = event.data.pointer("/info/device").and_then(Value::as_str);
                Some(Self { name: boxed(name.filter(|name| !name.is_empty())), path: None })
            }
            _ => None,
        }
    }

    /// Whether `device_del` with this id or path names this device.
    fn is(&self, id: &str) -> bool {
        let last = id.rsplit('/').next();
        self.path.as_deref() == Some(id) || (self.name.is_some() && self.name.as_deref() == last)
    }
}

impl Request {
    /// The request of a recorded command; `None` unless QEMU accepted a `device_del`.
    fn of(command: &Value, input: &Observation<'_>) -> Option<Self> {
        let text = |pointer: &str| command.pointer(pointer).and_then(Value::as_str);
        let is_accepted = text("/execute") == Some("device_del") && text("/result") == Some("done");
        is_accepted.then_some(())?;
        Some(Self {
            id: input.id,
            device: text("/arguments/id")?.into(),
            client: text("/client").map(Box::from),
            until: input.now.after(GUEST_SIGN_MAX),
        })
    }

    fn report(self, running: Option<bool>, found: &mut Conclusions) {
        let Self { id, device, client, .. } = self;
        let by = client.as_deref().map(|client| format!(", which {} asked for", text::shown(client)));
        let paused = match running {
            Some(false) => "; the VM is paused, and its guest cannot react",
            _ => "",
        };
        let summary = format!(
            "QEMU accepted the unplug of device {}{}, and no event about the device came within {}{paused}.",
            text::shown(&device),
            by.unwrap_or_default(),
            text::span(GUEST_SIGN_MAX)
        );
        let data = json!({
            "device": device,
            "client": client,
            "waited_seconds": GUEST_SIGN_MAX.as_secs(),
            "running": running,
        });
        found.push(UNPLUG_IGNORED, summary, vec![id], data);
    }
}

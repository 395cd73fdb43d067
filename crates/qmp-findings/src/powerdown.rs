//! Reports a power button that was pressed without any sign of the guest afterwards.
//!
//! `POWERDOWN` reports that the button was pressed; no event reports that the guest noticed. A sign is any event that
//! only a running guest causes, related to the button or not: a guest that takes minutes to stop its services closes
//! the port of its agent or takes its network down first. Events that the host can cause as well (a tray opens, a
//! device is deleted) are not signs, nor is `WATCHDOG`, which shows that the guest did nothing.

use qmp_events::EventKind as K;
use serde_json::json;

use crate::conclusion::Conclusions;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::finding::Id;
use crate::limits::GUEST_SIGN_MAX;
use crate::local_time::Moment;
use crate::observation::{Observation, ObservationKind};
use crate::persist::persist;
use crate::text;

pub(super) const POWERDOWN_IGNORED: &str = "powerdown-ignored";

/// The power button of one VM.
#[derive(Debug, Default)]
pub(super) struct Powerdown {
    /// Boxed, because it is rarely present.
    pressed: Option<Box<ButtonPress>>,
    /// Whether the VM runs, if known: a guest that does not run cannot react.
    running: Option<bool>,
}

/// Presses of the button without a sign since.
#[derive(Debug)]
struct ButtonPress {
    first: Id,
    last: Id,
    times: u64,
    until: Moment,
}

persist!(Powerdown { pressed, running });
persist!(ButtonPress { first, last, times, until });

impl Correlator for Powerdown {
    fn take(&mut self, input: &Observation<'_>, _span: &Span, _found: &mut Conclusions) {
        match input.kind {
            ObservationKind::Attached(snapshot) => *self = Self { pressed: None, running: snapshot.running },
            ObservationKind::Detached(..) => self.pressed = None,
            ObservationKind::Event(event) => match event.kind {
                Some(K::Powerdown) => self.press(input),
                Some(K::Stop) => self.running = Some(false),
                Some(K::Resume) => self.running = Some(true),
                Some(kind) if is_sign_of_the_guest(kind) => self.pressed = None,
                _ => {}
            },
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        self.pressed.as_ref().map(|pressed| pressed.until)
    }

    fn overdue(&mut self, now: Moment, _span: &Span, found: &mut Conclusions) {
        if let Some(pressed) = self.pressed.take_if(|pressed| pressed.until <= now) {
            pressed.report(self.running, found);
        }
    }
}

/// Whether the event is caused only by a running guest, or makes the button irrelevant.
fn is_sign_of_the_guest(kind: K) -> bool {
    matches!(
        kind,
        K::Shutdown
            | K::Reset
            | K::Suspend
            | K::SuspendDisk
            | K::Wakeup
            | K::GuestPanicked
            | K::GuestCrashloaded
            | K::GuestPvshutdown
            | K::VserportChange
            | K::NicRxFilterChanged
            | K::RtcChange
            | K::BalloonChange
            | K::HvBalloonStatusReport
            | K::MemoryDeviceSizeChange
            | K::AcpiDeviceOst
            | K::BlockIoError
    )
}

impl Powerdown {
    /// Counts a press. The deadline is that of the first press, so that repeated presses do not extend it.
    fn press(&mut self, input: &Observation<'_>) {
        let (id, until) = (input.id, input.now.after(GUEST_SIGN_MAX));
        let pressed = self
            .pressed
            .get_or_insert_with(|| Box::new(ButtonPress { first: id, last: id, times: 0, until }));
        (pressed.last, pressed.times) = (id, pressed.times + 1);
    }
}

impl ButtonPress {
    fn report(self, running: Option<bool>, found: &mut Conclusions) {
        let times = if self.times == 1 { String::new() } else { format!(" {} times", self.times) };
        let paused = match running {
            Some(false) => "; the VM is paused, and its guest cannot react",
            _ => "",
        };
        let summary = format!(
            "The power button was pressed{times}, and no sign of the guest came within {}{paused}.",
            text::span(GUEST_SIGN_MAX)
        );
        let data =
            json!({"presses": self.times, "waited_seconds": GUEST_SIGN_MAX.as_secs(), "running": running});
        found.push(POWERDOWN_IGNORED, summary, vec![self.first, self.last], data);
    }
}

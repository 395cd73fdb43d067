//! A power button that was pressed, and of which no sign of the guest came.
//!
//! `POWERDOWN` says that the button was pressed; no event says that the guest took notice. A sign is any event that
//! only a guest at work causes, whether it has to do with the button or not: one that takes minutes to stop its services
//! closes the port of its agent or takes its network down first. What the host can cause as well (a tray that opens, a
//! device that is deleted) is none, nor is `WATCHDOG`, which says that the guest did nothing.

use qmp_events::EventKind as K;
use serde_json::json;

use crate::conclusion::Found;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::finding::Id;
use crate::limits::GUEST_SIGN_MAX;
use crate::local_time::Moment;
use crate::observation::{Input, What};
use crate::saved::saved;
use crate::text;

pub(super) const POWERDOWN_IGNORED: &str = "powerdown-ignored";

/// What is waited for in one VM.
#[derive(Debug, Default)]
pub(super) struct Powerdown {
    /// Boxed, because a VM rarely has one.
    pressed: Option<Box<Pressed>>,
    /// Whether the VM runs, if that is known: the guest of one that does not cannot react.
    running: Option<bool>,
}

/// A button that was pressed, and no sign since.
#[derive(Debug)]
struct Pressed {
    first: Id,
    last: Id,
    times: u64,
    until: Moment,
}

saved!(Powerdown { pressed, running });
saved!(Pressed { first, last, times, until });

impl Correlator for Powerdown {
    fn take(&mut self, input: &Input<'_>, _span: &Span, _found: &mut Found) {
        match input.what {
            What::Attached(snapshot) => *self = Self { pressed: None, running: snapshot.running },
            What::Detached(_) => self.pressed = None,
            What::Event(event) => match event.kind {
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

    fn overdue(&mut self, now: Moment, _span: &Span, found: &mut Found) {
        if let Some(pressed) = self.pressed.take_if(|pressed| pressed.until <= now) {
            pressed.report(self.running, found);
        }
    }
}

/// Whether only a guest at work causes the event, or one after which the button does not matter.
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
    /// The first of several counts: a button that is pressed again and again is waited for no longer.
    fn press(&mut self, input: &Input<'_>) {
        let (id, until) = (input.id, input.now.after(GUEST_SIGN_MAX));
        let pressed =
            self.pressed.get_or_insert_with(|| Box::new(Pressed { first: id, last: id, times: 0, until }));
        (pressed.last, pressed.times) = (id, pressed.times + 1);
    }
}

impl Pressed {
    fn report(self, running: Option<bool>, found: &mut Found) {
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

//! Run control: executes transitions of the whole machine and notifies its devices.

use qmp_events::{EventKind, ShutdownCause};
use qmp_server::{Refusal, RunState};
use serde_json::Value;

use crate::{
    devices,
    event::RaisedEvent,
    guest::{Guest, SHUTDOWN_AFTER},
    transitions::{MachineEvent, Reaction, WatchdogPolicy, react},
    vm::Vm,
};

impl Vm {
    /// Applies an event to the machine.
    ///
    /// # Errors
    ///
    /// The refusals of `cont` and `system_wakeup`.
    pub(crate) fn apply(&mut self, event: MachineEvent) -> Result<(), Refusal> {
        let resets = matches!(event, MachineEvent::Reset(_) | MachineEvent::Watchdog);
        let resumes = matches!(event, MachineEvent::Cont);
        let at_once = matches!(event, MachineEvent::Watchdog)
            && self.status.policy.watchdog == WatchdogPolicy::Poweroff;
        let presses = matches!(event, MachineEvent::Powerdown | MachineEvent::Watchdog);
        let before = self.status.state;
        let Reaction { events, status, exit } = react(self.status, event, self.release)?;
        let was_reset = resets && events.iter().any(|event| *event.name == *EventKind::Reset.name());
        let was_pressed = presses && events.iter().any(|event| *event.name == *EventKind::Powerdown.name());
        self.status = status;
        let known = |event: &RaisedEvent| {
            EventKind::from_name(&event.name).is_some_and(|kind| kind.desc().exists_in(self.release))
        };
        let events: Vec<_> = events.into_iter().filter(known).collect();
        events.into_iter().for_each(|event| self.raise_as_is(event));
        if was_reset {
            devices::at_reset(self);
        }
        if was_pressed {
            self.press_power_button();
        }
        if resumes && before != status.state {
            devices::at_resume(self);
        }
        match exit {
            // The process is dead before it can reply.
            Some(status) if at_once => self.exit(status),
            Some(status) => self.leave(status),
            None => {}
        }
        Ok(())
    }

    /// Stops the machine for the reason `why`; does nothing if it does not run.
    pub(crate) fn stop(&mut self, why: RunState) {
        self.force(MachineEvent::Stop(why));
    }

    /// Shuts the machine down, as its policy says.
    pub(crate) fn shut_down(&mut self, cause: ShutdownCause) {
        self.force(MachineEvent::Shutdown(cause));
    }

    /// Applies an event that is never refused.
    pub(crate) fn force(&mut self, event: MachineEvent) {
        // Only `cont` and `system_wakeup` are refused.
        let _ = self.apply(event);
    }

    /// Returns whether the guest's processors run.
    pub(crate) fn is_running(&self) -> bool {
        self.status.state == RunState::Running
    }

    /// Cleans up, then exits after the reply to the current command.
    fn leave(&mut self, status: i32) {
        devices::at_exit(self);
        self.soon(move |vm| vm.exit(status));
    }

    /// Returns whether the guest reacts to requests and runs.
    pub(crate) fn guest_listens(&self) -> bool {
        self.config.guest == Guest::Attentive && self.is_running()
    }

    /// Presses the power button.
    pub(crate) fn press_power_button(&mut self) {
        if self.guest_listens() {
            self.later(SHUTDOWN_AFTER, |vm| {
                if vm.guest_listens() {
                    vm.shut_down(ShutdownCause::GuestShutdown);
                }
            });
        }
    }

    /// Raises an event without data.
    pub(crate) fn raise_bare(&mut self, kind: EventKind) {
        self.raise(kind, Value::Null);
    }
}

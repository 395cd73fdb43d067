//! The commands that start, stop, reset and end the machine, and the guest's acts of that kind.

use qmp_events::{EventKind, Release, ShutdownCause};
use qmp_server::{ObjectType, RUN_STATES, Refusal, RunState, Type};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    commands::Entry,
    refusals::generic,
    transitions::{MachineEvent, PanicAction, PanicSource, RebootAction, ShutdownAction, WatchdogPolicy},
    vm::Vm,
};

/// Source: measured; 5.2 replies to these commands before the event, 7.2 after it.
const EVENT_BEFORE_REPLY_SINCE: Release = Release::new(6, 0);
/// Source: the member was removed with the option `-singlestep`.
const SINGLESTEP_REMOVED: Release = Release::new(9, 0);

pub(crate) fn commands() -> Vec<Entry> {
    [monitor_commands(), policies(), guest_commands(), host_commands()].into_iter().flatten().collect()
}

fn monitor_commands() -> Vec<Entry> {
    vec![
        Entry::plain("stop", |vm| {
            vm.stop(RunState::Paused);
            Ok(())
        }),
        Entry::plain("cont", |vm| vm.apply(MachineEvent::Cont)),
        Entry::plain("system_reset", |vm| {
            at_once(vm, MachineEvent::Reset(ShutdownCause::HostQmpSystemReset))
        }),
        Entry::plain("system_powerdown", |vm| at_once(vm, MachineEvent::Powerdown)),
        Entry::plain("system_wakeup", |vm| {
            if vm.status.state != RunState::Suspended {
                return vm.apply(MachineEvent::Wakeup);
            }
            at_once(vm, MachineEvent::Wakeup)
        })
        .since(1, 1),
        Entry::plain("quit", |vm| at_once(vm, MachineEvent::Shutdown(ShutdownCause::HostQmpQuit))),
        Entry::plain("query-status", |vm| {
            let singlestep = (vm.release < SINGLESTEP_REMOVED).then_some(false);
            let mut status = json!({"running": vm.is_running(), "status": vm.status.state.as_str()});
            if let (Some(singlestep), Value::Object(members)) = (singlestep, &mut status) {
                members.insert("singlestep".into(), singlestep.into());
            }
            Ok(status)
        })
        .returns(status_type())
        .in_preconfig(),
    ]
}

fn status_type() -> ObjectType {
    let states = Type::one_of("RunState", RUN_STATES.map(RunState::as_str));
    let ty = ObjectType::new("StatusInfo").required("running", Type::Bool).optional("singlestep", Type::Bool);
    ty.required("status", states)
}

/// Applies an event before the reply, or after it in a release that does so.
fn at_once(vm: &mut Vm, event: MachineEvent) -> Result<(), Refusal> {
    if vm.release >= EVENT_BEFORE_REPLY_SINCE {
        return vm.apply(event);
    }
    vm.soon(move |vm| vm.force(event));
    Ok(())
}

#[derive(Deserialize)]
struct SetAction {
    reboot: Option<RebootAction>,
    shutdown: Option<ShutdownAction>,
    panic: Option<PanicAction>,
    watchdog: Option<WatchdogPolicy>,
}

#[derive(Deserialize)]
struct WatchdogSetAction {
    action: WatchdogPolicy,
}

fn watchdog_actions() -> Type {
    let actions = ["reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"];
    Type::one_of("WatchdogAction", actions)
}

fn policies() -> Vec<Entry> {
    let describe = |arguments: ObjectType| {
        arguments
            .optional("reboot", Type::one_of("RebootAction", ["reset", "shutdown"]))
            .optional("shutdown", Type::one_of("ShutdownAction", ["poweroff", "pause"]))
            .optional("panic", Type::one_of("PanicAction", ["pause", "shutdown", "exit-failure", "none"]))
            .optional("watchdog", watchdog_actions())
    };
    let set = |vm: &mut Vm, SetAction { reboot, shutdown, panic, watchdog }: SetAction| {
        let policy = &mut vm.status.policy;
        policy.reboot = reboot.unwrap_or(policy.reboot);
        policy.shutdown = shutdown.unwrap_or(policy.shutdown);
        policy.panic = panic.unwrap_or(policy.panic);
        policy.watchdog = watchdog.unwrap_or(policy.watchdog);
        Ok(())
    };
    let watchdog = |vm: &mut Vm, WatchdogSetAction { action }: WatchdogSetAction| {
        vm.status.policy.watchdog = action;
        Ok(())
    };
    vec![
        Entry::new("set-action", describe, set).since(6, 0).in_preconfig(),
        Entry::new(
            "watchdog-set-action",
            |arguments| arguments.required("action", watchdog_actions()),
            watchdog,
        )
        .since(2, 11),
    ]
}

#[derive(Deserialize)]
struct Panic {
    info: Option<Value>,
}

fn guest_commands() -> Vec<Entry> {
    let with_info = |arguments: ObjectType| arguments.optional("info", Type::Any);
    vec![
        guest("x-guest-shutdown", |vm| vm.shut_down(ShutdownCause::GuestShutdown)),
        guest("x-guest-reset", |vm| vm.force(MachineEvent::Reset(ShutdownCause::GuestReset))),
        guest("x-guest-suspend", |vm| vm.force(MachineEvent::Suspend)),
        guest("x-guest-hibernate", |vm| {
            vm.raise_bare(EventKind::SuspendDisk);
            vm.shut_down(ShutdownCause::GuestShutdown);
        }),
        Entry::plain("x-guest-wakeup", |vm| vm.apply(MachineEvent::Wakeup)),
        Entry::new("x-guest-panic", with_info, |vm, Panic { info }| {
            expect_running(vm)?;
            vm.apply(MachineEvent::Panic { info, source: PanicSource::Guest })
        }),
        Entry::new("x-guest-crashload", with_info, |vm, Panic { info }| {
            expect_running(vm)?;
            vm.raise(EventKind::GuestCrashloaded, json!({"action": "run", "info": info}));
            Ok(())
        }),
        guest("x-guest-pvshutdown", |vm| {
            vm.raise_bare(EventKind::GuestPvshutdown);
            vm.shut_down(ShutdownCause::GuestShutdown);
        }),
        guest("x-guest-watchdog", |vm| vm.force(MachineEvent::Watchdog)),
        guest("x-guest-internal-error", |vm| vm.stop(RunState::InternalError)),
        guest("x-guest-breakpoint", |vm| {
            vm.raise_bare(EventKind::Debug);
            vm.stop(RunState::Debug);
        }),
    ]
}

fn host_commands() -> Vec<Entry> {
    vec![
        Entry::plain("x-host-signal", |vm| {
            vm.shut_down(ShutdownCause::HostSignal);
            Ok(())
        }),
        Entry::plain("x-host-close-window", |vm| {
            vm.shut_down(ShutdownCause::HostUi);
            Ok(())
        }),
        Entry::plain("x-host-error", |vm| {
            vm.shut_down(ShutdownCause::HostError);
            Ok(())
        }),
    ]
}

/// Creates a command for an act of the guest, which requires a running guest.
pub(crate) fn guest(name: &'static str, run: impl Fn(&mut Vm) + Send + Sync + 'static) -> Entry {
    Entry::plain(name, move |vm| {
        expect_running(vm)?;
        run(vm);
        Ok(())
    })
}

/// Checks that the guest runs: it does nothing while its processors are stopped.
pub(crate) fn expect_running(vm: &Vm) -> Result<(), Refusal> {
    if vm.is_running() {
        return Ok(());
    }
    Err(generic(format!("the guest does nothing: the run state is {}", vm.status.state.as_str())))
}

//! The VMs that the hub knows, and how things stand with each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qmp_client::{Address, Commander};
use qmp_wire::UnixMicros;

use crate::VmName;
use crate::vm_counts::VmCounts;

/// Every VM of the hub, by name and in the order of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Vms {
    in_order: Vec<Arc<Vm>>,
    by_name: HashMap<VmName, Arc<Vm>>,
}

/// One VM: who it is, how to command it, how it stands.
#[derive(Debug)]
pub(crate) struct Vm {
    pub(crate) name: VmName,
    pub(crate) address: Address,
    pub(crate) commander: Commander,
    pub(crate) counts: VmCounts,
    standing: Mutex<Standing>,
}

/// How things stand with a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) state: State,
    pub(crate) since: UnixMicros,
    /// Why it is not attached, or what the last attempt met.
    pub(crate) error: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not attached since the hub started.
    Connecting,
    /// An epoch is open: nothing is missed.
    Attached,
    /// The epoch closed; the hub tries to open the next one.
    Detached,
    /// The monitor is read, but the journal has no room: events are thrown away.
    Overrun,
}

impl State {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Attached => "attached",
            Self::Detached | Self::Overrun => "detached",
        }
    }
}

impl Vms {
    /// Adds a VM; hands it back if its name is taken.
    pub(crate) fn insert(&mut self, vm: Arc<Vm>) -> Result<(), Arc<Vm>> {
        if self.by_name.contains_key(&vm.name) {
            return Err(vm);
        }
        self.by_name.insert(vm.name.clone(), Arc::clone(&vm));
        self.in_order.push(vm);
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Vm>> {
        self.by_name.get(name)
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Arc<Vm>> {
        self.in_order.iter()
    }
}

impl Vm {
    pub(crate) fn new(name: VmName, address: Address, commander: Commander, now: UnixMicros) -> Self {
        let standing = Mutex::new(Standing { state: State::Connecting, since: now, error: None });
        Self { name, address, commander, counts: VmCounts::default(), standing }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.lock().clone()
    }

    /// An epoch opened.
    pub(crate) fn attached(&self, now: UnixMicros) {
        *self.lock() = Standing { state: State::Attached, since: now, error: None };
    }

    /// The epoch closed, because of `reason`.
    pub(crate) fn detached(&self, reason: &str, now: UnixMicros) {
        *self.lock() = Standing { state: State::Detached, since: now, error: Some(reason.into()) };
    }

    /// The journal had no room for what the VM said.
    pub(crate) fn overrun(&self, now: UnixMicros) {
        let error = Some("the journal has no room; events are thrown away until it has".into());
        *self.lock() = Standing { state: State::Overrun, since: now, error };
    }

    /// Whether events are being thrown away.
    pub(crate) fn is_overrun(&self) -> bool {
        self.lock().state == State::Overrun
    }

    /// An attempt to attach failed. Returns whether the last one failed with another error, or there was none.
    pub(crate) fn attempt_failed(&self, error: &str) -> bool {
        let mut standing = self.lock();
        let changed = standing.error.as_deref() != Some(error);
        if changed {
            standing.error = Some(error.into());
        }
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        // What it guards is replaced whole, so it is sound even if a thread died while it held the lock.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_news_once() {
        let vm = vm("web1");
        //  error               is it news
        let cases = [
            ("no such file", true),
            ("no such file", false),
            ("connection refused", true),
            ("connection refused", false),
            ("no such file", true),
        ];
        for (error, news) in cases {
            assert_eq!(vm.attempt_failed(error), news, "{error}");
            assert_eq!(vm.standing().error.as_deref(), Some(error));
        }
        vm.attached(UnixMicros(1));
        assert_eq!(vm.standing(), Standing { state: State::Attached, since: UnixMicros(1), error: None });
        assert!(vm.attempt_failed("no such file"), "after an epoch it is news again");
    }

    #[test]
    fn states_have_names() {
        let vm = vm("web1");
        assert_eq!((vm.standing().state.name(), vm.is_overrun()), ("connecting", false));
        vm.attached(UnixMicros(1));
        assert_eq!((vm.standing().state.name(), vm.is_overrun()), ("attached", false));
        vm.overrun(UnixMicros(2));
        assert_eq!((vm.standing().state.name(), vm.is_overrun()), ("detached", true));
        vm.detached("peer closed", UnixMicros(3));
        assert_eq!((vm.standing().state.name(), vm.is_overrun()), ("detached", false));
        assert_eq!(vm.standing().since, UnixMicros(3));
    }

    #[test]
    fn names_stand_once_and_keep_their_order() {
        let mut vms = Vms::default();
        for name in ["b", "a", "c"] {
            assert!(vms.insert(Arc::new(vm(name))).is_ok(), "{name}");
        }
        assert_eq!(vms.insert(Arc::new(vm("a"))).map_err(|vm| vm.name.to_string()), Err("a".to_owned()));
        let names: Vec<_> = vms.iter().map(|vm| vm.name.as_str()).collect();
        assert_eq!(names, ["b", "a", "c"]);
        assert!(vms.get("a").is_some() && vms.get("d").is_none());
    }

    fn vm(name: &str) -> Vm {
        let address: Address = "/vm.sock".parse().expect("an address");
        let follow = qmp_client::follow(address.clone(), qmp_client::FollowConfig::default());
        Vm::new(name.parse().expect("a name"), address, follow.commander(), UnixMicros(0))
    }
}

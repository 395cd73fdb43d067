//! The greeting of a VM, which a relay sends in its place.

use std::sync::{Arc, Mutex, Weak};

use qmp_host::lock;
use qmp_wire::dialect::Value;
use qmp_wire::server::Profile;

/// The greeting of the VM.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct VmGreeting {
    /// The whole greeting, without capabilities that the relay cannot serve.
    pub(super) greeting: Value,
    pub(super) version: (u32, u32, u32),
    pub(super) package: Box<str>,
    pub(super) out_of_band: bool,
}

/// Greetings of VMs, one for all VMs of one release.
#[derive(Debug, Default)]
pub(super) struct Greetings(Mutex<Vec<Weak<VmGreeting>>>);

impl Greetings {
    /// The same, shared with those that greeted alike.
    pub(super) fn shared(&self, greeted: VmGreeting) -> Arc<VmGreeting> {
        let mut known = lock(&self.0);
        known.retain(|known| known.strong_count() > 0);
        if let Some(known) = known.iter().filter_map(Weak::upgrade).find(|known| **known == greeted) {
            return known;
        }
        let greeted = Arc::new(greeted);
        known.push(Arc::downgrade(&greeted));
        greeted
    }
}

impl VmGreeting {
    pub(super) fn of_snapshot(snapshot: &str) -> Self {
        match Value::read_printed(snapshot.as_bytes()) {
            Value::Object(mut snapshot) => snapshot.take("greeting").map_or_else(Self::unknown, Self::of),
            _ => Self::unknown(),
        }
    }

    /// Reads the greeting that a snapshot has. What is missing is as with the oldest QEMU.
    pub(super) fn of(greeting: Value) -> Self {
        let Value::Object(mut qmp) = greeting else { return Self::unknown() };
        let mut greeted = Self::unknown();
        if let Some(Value::Object(version)) = qmp.get("version") {
            if let Some(Value::String(package)) = version.get("package") {
                greeted.package = package.as_str().into();
            }
            if let Some(Value::Object(numbers)) = version.get("qemu") {
                let number = |name| match numbers.get(name) {
                    Some(Value::Int(number)) => u32::try_from(*number).unwrap_or(0),
                    _ => 0,
                };
                greeted.version = (number("major"), number("minor"), number("micro"));
            }
        }
        if let Some(Value::List(capabilities)) = qmp.take("capabilities") {
            let served = |capability: &Value| matches!(capability, Value::String(name) if name == "oob");
            let capabilities: Vec<_> = capabilities.into_iter().filter(served).collect();
            greeted.out_of_band = !capabilities.is_empty();
            qmp.insert("capabilities", Value::List(capabilities));
        }
        greeted.greeting = Value::Object([("QMP", Value::Object(qmp))].into_iter().collect());
        greeted
    }

    fn unknown() -> Self {
        let qmp = [("version", Value::Object(Default::default())), ("capabilities", Value::List(Vec::new()))];
        let greeting =
            Value::Object([("QMP", Value::Object(qmp.into_iter().collect()))].into_iter().collect());
        Self { greeting, version: (0, 12, 0), package: "".into(), out_of_band: false }
    }

    pub(super) fn profile(&self, pretty: bool) -> Profile {
        let (package, out_of_band) = (self.package.clone(), self.out_of_band);
        Profile { version: self.version, package, out_of_band, pretty }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_greet_alike_share_the_greeting() {
        let greeted = |minor: u32| {
            let version =
                format!(r#"{{"qemu": {{"major": 7, "minor": {minor}, "micro": 22}}, "package": ""}}"#);
            VmGreeting::of_snapshot(&format!(
                r#"{{"greeting": {{"version": {version}, "capabilities": ["oob"]}}}}"#
            ))
        };
        let greetings = Greetings::default();
        let first = greetings.shared(greeted(2));
        assert!(Arc::ptr_eq(&first, &greetings.shared(greeted(2))));
        let other = greetings.shared(greeted(3));
        assert_eq!((first.version, other.version), ((7, 2, 22), (7, 3, 22)));
        drop(first);
        // A greeting without users is not kept.
        drop(greetings.shared(greeted(2)));
        drop(greetings.shared(greeted(3)));
        assert_eq!(greetings.0.lock().expect("not poisoned").len(), 1);
    }
}

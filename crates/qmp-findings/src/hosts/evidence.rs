//! The records of several hosts that a finding rests on, and the identity of such a finding.

use qmp_wire::{Body, Epoch, QualifiedName, Record, Seq};
use serde_json::{Map, Value, json};

use crate::finding::Id;

/// A record of a VM of another host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Evidence {
    /// `HOST/VM`.
    pub(super) vm: Box<str>,
    pub(super) id: Id,
}

/// What makes a finding over hosts another one than all others: its kind and its evidence.
pub(super) type FindingIdentity = (Box<str>, Vec<Evidence>);

impl Evidence {
    pub(super) fn new(vm: &str, id: Id) -> Self {
        Self { vm: vm.into(), id }
    }

    /// The evidence as in the data of a finding.
    pub(super) fn json(&self) -> Value {
        let (host, vm) = QualifiedName::divide(&self.vm);
        json!({"host": host, "vm": vm, "epoch": self.id.0.0, "seq": self.id.1.0})
    }

    fn read(value: &Value) -> Option<Self> {
        let text = |member: &str| value.get(member)?.as_str();
        let number = |member: &str| value.get(member)?.as_u64();
        let vm = QualifiedName::join(text("host")?, text("vm")?)?;
        let epoch = Epoch(u32::try_from(number("epoch")?).ok()?);
        Some(Self { vm: vm.into(), id: (epoch, Seq(number("seq")?)) })
    }
}

/// The identity and the data of a recorded finding over hosts; `None` for other records.
pub(super) fn recorded(record: &Record<'_>) -> Option<(FindingIdentity, Map<String, Value>)> {
    let Body::Finding { finding, data: Some(data), .. } = &record.body else { return None };
    if QualifiedName::parse(&record.vm).is_some() {
        return None;
    }
    let data: Map<String, Value> = serde_json::from_str(data).ok()?;
    let evidence = data.get("evidence")?.as_array()?.iter().filter_map(Evidence::read).collect();
    Some(((finding.as_ref().into(), evidence), data))
}

/// The host of `HOST/VM`.
pub(super) fn qualified_host(vm: &str) -> &str {
    QualifiedName::divide(vm).0.unwrap_or_default()
}

/// The host of `HOST/VM`, whichever of its journals has the VM.
pub(super) fn host(vm: &str) -> &str {
    let host = qualified_host(vm);
    host.split_once('~').map_or(host, |(host, _)| host)
}

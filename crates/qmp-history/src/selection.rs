//! The names that a request selects, by their ids in the journal.

use std::collections::HashMap;

use qmp_journal::{Class, JournalError, Name, Query, Reader, RecordKind, SegmentCounts, VmSelection};

use crate::severity::Severity;

/// The number of classes.
const CLASSES: usize = 8;

/// The names of a journal, and which of them a request selects.
#[derive(Debug)]
pub(crate) struct Selection {
    names: HashMap<u32, Name>,
    /// The selected VMs, by name.
    pub(crate) vms: Vec<(Box<str>, u32)>,
    /// Their ids, in ascending order.
    vm_ids: Vec<u32>,
    /// Whether every VM is selected.
    pub(crate) has_every_vm: bool,
    /// Whether records of some names are left out.
    pub(crate) narrows_records: bool,
    /// By id and class: the severity of the records, if they are selected.
    severities: Vec<[Option<Severity>; CLASSES]>,
}

impl Selection {
    pub(crate) fn of(reader: &Reader, query: &Query) -> Result<Self, JournalError> {
        let all = reader.names()?;
        let last = all.last().and_then(|name| usize::try_from(name.id).ok()).unwrap_or(0);
        let mut severities = vec![[None; CLASSES]; last + 1];
        let mut vms = Vec::new();
        for name in &all {
            if name.is_vm {
                if query.has_vm(&name.name) {
                    vms.push((name.name.clone(), name.id));
                }
            } else if has(query, name)
                && let Some(by_class) = severities.get_mut(index(name.id))
            {
                for (class, severity) in (0..).map(Class::new).zip(by_class) {
                    *severity = Some(match name.kind {
                        Some(kind) => Severity::of_kind(kind, class),
                        None => Severity::of_event(&name.name, class),
                    });
                }
            }
        }
        vms.sort_unstable();
        let vm_ids = ascending_ids(&vms);
        let narrows_records = !query.event.is_any() || !query.kind.is_empty() || !query.where_.is_empty();
        let names = all.into_iter().map(|name| (name.id, name)).collect();
        Ok(Self { names, vms, vm_ids, has_every_vm: query.has_every_vm(), narrows_records, severities })
    }

    /// The severity of records with this name and class; `None` if they are not selected.
    #[inline]
    pub(crate) fn severity(&self, name: u32, class: Class) -> Option<Severity> {
        self.severities.get(index(name))?[usize::from(class.number())]
    }

    /// The severity of each name and class of a segment; `None` where they are not selected.
    pub(crate) fn severities(&self, counts: &SegmentCounts<'_>) -> Vec<Option<Severity>> {
        counts.keys().iter().map(|(name, class)| self.severity(*name, *class)).collect()
    }

    /// One more than the highest id of a name.
    pub(crate) fn ids_end(&self) -> usize {
        self.severities.len()
    }

    /// The name of an id.
    pub(crate) fn name(&self, id: u32) -> &str {
        self.names.get(&id).map_or("", |name| &name.name)
    }

    /// The kind that an id stands for; `None` for an event.
    pub(crate) fn kind(&self, id: u32) -> Option<RecordKind> {
        self.names.get(&id).and_then(|name| name.kind)
    }

    /// The selected VMs, as a reader of summaries takes them.
    pub(crate) fn vm_selection(&self) -> VmSelection<'_> {
        if self.has_every_vm { VmSelection::Every } else { VmSelection::These(&self.vm_ids) }
    }

    /// The ids of all names by kind and text, for records that were read whole.
    pub(crate) fn ids(&self) -> Ids<'_> {
        let mut ids = Ids { vms: HashMap::new(), others: HashMap::new() };
        for name in self.names.values() {
            if name.is_vm {
                ids.vms.insert(&name.name, name.id);
            } else {
                ids.others.insert((name.kind.is_some(), &name.name), name.id);
            }
        }
        ids
    }
}

/// The ids of names.
#[derive(Debug)]
pub(crate) struct Ids<'s> {
    pub(crate) vms: HashMap<&'s str, u32>,
    /// Whether it is a kind, and the name.
    pub(crate) others: HashMap<(bool, &'s str), u32>,
}

/// The ids of these VMs, in ascending order.
pub(crate) fn ascending_ids(vms: &[(Box<str>, u32)]) -> Vec<u32> {
    let mut ids: Vec<u32> = vms.iter().map(|(_, id)| *id).collect();
    ids.sort_unstable();
    ids
}

/// Whether a query has records with this name, by event and kind.
fn has(query: &Query, name: &Name) -> bool {
    let kind = name.kind.unwrap_or(RecordKind::Event);
    let has_kind = query.kind.is_empty() || query.kind.contains(&kind);
    let has_event = match name.kind {
        // The name of events: no record has it.
        Some(RecordKind::Event) => false,
        Some(_) => query.event.is_any(),
        None => query.event.matches(&name.name),
    };
    has_kind && has_event
}

pub(crate) fn index(id: u32) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

//! Descriptors that clients leave with the machine: `getfd`, `add-fd`, and related commands.
//!
//! Source: behaviour and texts of QEMU 7.2.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{Arc, Mutex},
};

use qmp_host::lock;
use qmp_wire::server::Refusal;
use serde::{Deserialize, Serialize};

use crate::{
    caller::Caller,
    command::{Command, NoArguments},
    types::{ObjectType, Type},
};

/// Descriptors that clients passed by a name (`getfd`) or into a set (`add-fd`). Cheap to clone; all clones are one store.
///
/// Register its [`commands`](Self::commands) with [`MonitorBuilder::descriptors`](crate::MonitorBuilder::descriptors).
#[derive(Clone, Debug, Default)]
pub struct DescriptorStore {
    descriptors: Arc<Mutex<Descriptors>>,
}

#[derive(Debug, Default)]
struct Descriptors {
    named: BTreeMap<Box<str>, OwnedFd>,
    sets: BTreeMap<u32, Vec<SetDescriptor>>,
}

#[derive(Debug)]
struct SetDescriptor {
    descriptor: OwnedFd,
    opaque: Option<Box<str>>,
}

#[derive(Deserialize)]
struct NameArguments {
    fdname: Box<str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Add {
    fdset_id: Option<i64>,
    opaque: Option<Box<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Remove {
    fdset_id: i64,
    fd: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct AddedDescriptor {
    fd: i32,
    fdset_id: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Set {
    fds: Vec<Info>,
    fdset_id: u32,
}

#[derive(Serialize)]
struct Info {
    fd: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    opaque: Option<Box<str>>,
}

impl DescriptorStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes the descriptor that a client named with `getfd`, as a command with an argument `fd` or `fdname`
    /// does.
    #[must_use]
    pub fn take(&self, name: &str) -> Option<OwnedFd> {
        lock(&self.descriptors).named.remove(name)
    }

    /// Duplicates the first descriptor of a set for which `accepts` is true, as opening `/dev/fdset/ID` does.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is none, or a system error.
    pub fn open_set(&self, id: u32, accepts: impl Fn(&OwnedFd) -> bool) -> io::Result<OwnedFd> {
        let descriptors = lock(&self.descriptors);
        let members = descriptors.sets.get(&id).into_iter().flatten();
        let found = members.map(|member| &member.descriptor).find(|descriptor| accepts(descriptor));
        found.ok_or(io::ErrorKind::NotFound)?.as_fd().try_clone_to_owned()
    }

    /// Returns `getfd`, `closefd`, `add-fd`, `remove-fd` and `query-fdsets`, as QEMU has them.
    #[must_use]
    pub fn commands(&self) -> [Command; 5] {
        let added = ObjectType::new("AddfdInfo").required("fdset-id", Type::Int).required("fd", Type::Int);
        let info = ObjectType::new("FdsetFdInfo").required("fd", Type::Int).optional("opaque", Type::Str);
        let set =
            ObjectType::new("FdsetInfo").required("fdset-id", Type::Int).required("fds", Type::list(info));
        let [get, close, add, remove, query] = std::array::from_fn(|_| self.clone());
        [
            Command::new("getfd")
                .required("fdname", Type::Str)
                .run_for(move |caller, NameArguments { fdname }| get.name(caller, fdname)),
            Command::new("closefd").required("fdname", Type::Str).run(move |NameArguments { fdname }| {
                close.take(&fdname).map(drop).ok_or_else(|| not_found(&fdname))
            }),
            Command::new("add-fd")
                .optional("fdset-id", Type::Int)
                .optional("opaque", Type::Str)
                .returns(added)
                .run_for(move |caller, arguments| add.add(caller, arguments)),
            Command::new("remove-fd")
                .required("fdset-id", Type::Int)
                .optional("fd", Type::Int)
                .run(move |arguments| remove.remove(&arguments)),
            Command::new("query-fdsets").returns(Type::list(set)).run(move |NoArguments {}| Ok(query.sets())),
        ]
    }

    fn name(&self, caller: &Caller, name: Box<str>) -> Result<(), Refusal> {
        let descriptor = supplied(caller)?;
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(Refusal::generic("Parameter 'fdname' expects a name not starting with a digit"));
        }
        let replaced = lock(&self.descriptors).named.insert(name, descriptor);
        // Closed without the lock.
        drop(replaced);
        Ok(())
    }

    fn add(&self, caller: &Caller, Add { fdset_id, opaque }: Add) -> Result<AddedDescriptor, Refusal> {
        let descriptor = supplied(caller)?;
        let mut descriptors = lock(&self.descriptors);
        let fdset_id = match fdset_id {
            Some(id) => u32::try_from(id)
                .map_err(|_| Refusal::generic("Parameter 'fdset-id' expects a non-negative value"))?,
            None => (0..).find(|id| !descriptors.sets.contains_key(id)).unwrap_or_default(),
        };
        let fd = descriptor.as_raw_fd();
        descriptors.sets.entry(fdset_id).or_default().insert(0, SetDescriptor { descriptor, opaque });
        Ok(AddedDescriptor { fd, fdset_id })
    }

    fn remove(&self, Remove { fdset_id, fd }: &Remove) -> Result<(), Refusal> {
        let missing = || {
            let fd = fd.map_or(String::new(), |fd| format!(", fd:{fd}"));
            not_found(&format!("fdset-id:{fdset_id}{fd}"))
        };
        let mut descriptors = lock(&self.descriptors);
        let id = u32::try_from(*fdset_id).map_err(|_| missing())?;
        let members = descriptors.sets.get_mut(&id).ok_or_else(missing)?;
        let count = members.len();
        members.retain(|member| fd.is_some_and(|fd| fd != i64::from(member.descriptor.as_raw_fd())));
        if members.len() == count {
            return Err(missing());
        }
        if members.is_empty() {
            descriptors.sets.remove(&id);
        }
        Ok(())
    }

    /// Returns the sets, the one with the highest number first.
    fn sets(&self) -> Vec<Set> {
        let descriptors = lock(&self.descriptors);
        let info = |member: &SetDescriptor| Info {
            fd: member.descriptor.as_raw_fd(),
            opaque: member.opaque.clone(),
        };
        let sets = descriptors.sets.iter().rev();
        sets.map(|(id, members)| Set { fdset_id: *id, fds: members.iter().map(info).collect() }).collect()
    }
}

fn supplied(caller: &Caller) -> Result<OwnedFd, Refusal> {
    caller.take_descriptor().ok_or_else(|| Refusal::generic("No file descriptor supplied via SCM_RIGHTS"))
}

fn not_found(name: &str) -> Refusal {
    Refusal::generic(format!("File descriptor named '{name}' not found"))
}

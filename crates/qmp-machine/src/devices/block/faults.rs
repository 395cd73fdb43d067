//! Faults of a node, and the requests that they fail.

use qmp_server::{ObjectType, Type};
use serde::Deserialize;

use super::nodes::expect_mut;
use crate::{commands::Entry, vm::Vm};

/// A fault of a node.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) operation: Operation,
    pub(crate) error: Errno,
    /// Number of requests that fail; `None` for all.
    pub(crate) times: Option<u64>,
}

/// An operation on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Operation {
    Read,
    Write,
    Flush,
}

impl Operation {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
        }
    }
}

/// The error code of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Errno {
    #[serde(rename = "EIO")]
    Io,
    #[serde(rename = "ENOSPC")]
    NoSpace,
    #[serde(rename = "EACCES")]
    Access,
    /// No error: the data differ from those of the other children of a quorum.
    #[serde(rename = "differs")]
    Differs,
}

impl Errno {
    /// Returns the host's error text.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Io | Self::Differs => "Input/output error",
            Self::NoSpace => "No space left on device",
            Self::Access => "Permission denied",
        }
    }
}

/// An error that `blkdebug` injects.
#[derive(Deserialize)]
pub(super) struct Inject {
    iotype: Option<Box<str>>,
    errno: Option<u32>,
    once: Option<bool>,
}

impl Inject {
    /// Returns the faults that the injection causes: of reads, of writes, or of both.
    pub(super) fn faults(&self) -> impl Iterator<Item = Fault> {
        const NO_SPACE: u32 = 28;
        const ACCESS: u32 = 13;
        let error = match self.errno {
            Some(NO_SPACE) => Errno::NoSpace,
            Some(ACCESS) => Errno::Access,
            _ => Errno::Io,
        };
        let times = self.once.unwrap_or(false).then_some(1);
        let operations = [Operation::Read, Operation::Write, Operation::Flush].into_iter();
        let iotype = self.iotype.clone();
        operations
            .filter(move |operation| iotype.as_deref().is_none_or(|iotype| iotype == operation.as_str()))
            .map(move |operation| Fault { operation, error, times })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MakeFault {
    node_name: Box<str>,
    operation: Operation,
    error: Option<Errno>,
    times: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Name {
    node_name: Box<str>,
}

pub(super) fn commands() -> Vec<Entry> {
    let name = |arguments: ObjectType| arguments.required("node-name", Type::Str);
    let fault = |arguments: ObjectType| {
        arguments
            .required("node-name", Type::Str)
            .required("operation", Type::one_of("BlockOperation", ["read", "write", "flush"]))
            .optional("error", Type::one_of("HostError", ["EIO", "ENOSPC", "EACCES", "differs"]))
            .optional("times", Type::Uint64)
    };
    vec![
        Entry::new("x-host-block-fault", fault, |vm, MakeFault { node_name, operation, error, times }| {
            vm.expect_room()?;
            let error = error.unwrap_or(Errno::Io);
            expect_mut(vm, &node_name)?.faults.push(Fault { operation, error, times });
            Ok(())
        }),
        Entry::new("x-host-block-repair", name, |vm, Name { node_name }| {
            let node = expect_mut(vm, &node_name)?;
            node.faults.clear();
            node.corruption = None;
            Ok(())
        }),
    ]
}

/// Performs an operation on a node and the nodes below it; returns the error of the first node that fails.
pub(crate) fn access(vm: &mut Vm, name: &str, operation: Operation) -> Result<(), Errno> {
    let Some(node) = vm.devices.block.nodes.get_mut(name) else { return Err(Errno::Io) };
    if let Some(index) = node.faults.iter().position(|fault| fault.operation == operation) {
        let fault = &mut node.faults[index];
        let error = fault.error;
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                node.faults.remove(index);
            }
        }
        return Err(error);
    }
    let (driver, children) = (node.driver.clone(), node.children.clone());
    // A quorum accesses its children by itself.
    if &*driver == "quorum" {
        return Ok(());
    }
    children.first().map_or(Ok(()), |child| access(vm, child, operation))
}

//! Exports of block devices.

use qmp_events::EventKind;
use qmp_server::{ObjectType, Refusal, Type};
use serde::Deserialize;
use serde_json::{Value, json};

use super::block;
use crate::{
    commands::{Entry, optional_any},
    refusals::generic,
    vm::Vm,
};

/// The exports, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Export {
    exports: Vec<BlockExport>,
    nbd_server: bool,
}

impl Export {
    /// Returns the number of exports.
    pub(super) fn len(&self) -> usize {
        self.exports.len()
    }
}

#[derive(Debug)]
struct BlockExport {
    id: Box<str>,
    kind: Box<str>,
    node: Box<str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Add {
    id: Box<str>,
    #[serde(rename = "type")]
    kind: Box<str>,
    node_name: Box<str>,
}

#[derive(Deserialize)]
struct Id {
    id: Box<str>,
}

pub(crate) fn commands() -> Vec<Entry> {
    nbd_server().into_iter().chain(exports()).collect()
}

fn nbd_server() -> Vec<Entry> {
    let server = |arguments: ObjectType| {
        let arguments = arguments.required("addr", Type::Any).optional("tls-creds", Type::Str);
        arguments.optional("tls-authz", Type::Str).optional("max-connections", Type::Uint32)
    };
    vec![
        Entry::new("nbd-server-start", server, |vm, _: Value| {
            if std::mem::replace(&mut vm.devices.export.nbd_server, true) {
                return Err(generic("NBD server already running"));
            }
            Ok(())
        })
        .since(1, 3),
        Entry::plain("nbd-server-stop", |vm| {
            if !std::mem::take(&mut vm.devices.export.nbd_server) {
                return Err(generic("NBD server not running"));
            }
            delete_where(vm, |export| &*export.kind == "nbd");
            Ok(())
        })
        .since(1, 3),
    ]
}

fn exports() -> Vec<Entry> {
    const OPTIONS: &str = "\
    addr allow-other bitmaps description iothread logical-block-size mountpoint name num-queues \
    writethrough";
    let add = |arguments: ObjectType| {
        let kinds = Type::one_of("BlockExportType", ["nbd", "vhost-user-blk", "fuse", "vduse-blk"]);
        let arguments = arguments
            .required("type", kinds)
            .required("id", Type::Str)
            .optional("fixed-iothread", Type::Bool)
            .required("node-name", Type::Str)
            .optional("writable", Type::Bool);
        optional_any(arguments, OPTIONS)
    };
    let delete = |arguments: ObjectType| {
        arguments
            .required("id", Type::Str)
            .optional("mode", Type::one_of("BlockExportRemoveMode", ["safe", "hard"]))
    };
    vec![
        Entry::new("block-export-add", add, export_add).since(5, 2),
        Entry::new("block-export-del", delete, |vm, Id { id }| {
            if !vm.devices.export.exports.iter().any(|export| export.id == id) {
                return Err(generic(format!("Export '{id}' is not found")));
            }
            delete_where(vm, |export| export.id == id);
            Ok(())
        })
        .since(5, 2),
        Entry::plain("query-block-exports", |vm| {
            let exports = vm.devices.export.exports.iter().map(|export| {
                json!({"id": export.id, "type": export.kind, "node-name": export.node, "shutting-down": false})
            });
            Ok(Value::Array(exports.collect()))
        })
        .since(5, 2),
    ]
}

fn export_add(vm: &mut Vm, Add { id, kind, node_name }: Add) -> Result<(), Refusal> {
    vm.expect_room()?;
    if vm.devices.export.exports.iter().any(|export| export.id == id) {
        return Err(generic(format!("Block export id '{id}' is already in use")));
    }
    if &*kind == "nbd" && !vm.devices.export.nbd_server {
        return Err(generic("NBD server not running"));
    }
    block::expect(vm, &node_name)?;
    vm.devices.export.exports.push(BlockExport { id, kind, node: node_name });
    Ok(())
}

fn delete_where(vm: &mut Vm, which: impl Fn(&BlockExport) -> bool) {
    let (deleted, kept) =
        std::mem::take(&mut vm.devices.export.exports).into_iter().partition::<Vec<_>, _>(which);
    vm.devices.export.exports = kept;
    for export in deleted {
        vm.raise(EventKind::BlockExportDeleted, json!({"id": export.id}));
    }
}

/// Deletes all exports when the process exits.
pub(super) fn at_exit(vm: &mut Vm) {
    delete_where(vm, |_| true);
}

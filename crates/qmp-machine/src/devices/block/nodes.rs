//! Nodes of the block graph.

use qmp_events::{EventKind, Release};
use qmp_server::{ObjectType, Refusal, Type};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::faults::{Fault, Inject};
use crate::{
    commands::{Entry, one_of, optional_any},
    refusals::generic,
    vm::Vm,
};

/// A node of the block graph.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: Box<str>,
    pub(crate) driver: Box<str>,
    pub(crate) size_bytes: u64,
    /// Names of its children: the file below a format, the images of a quorum, the backing file.
    pub(crate) children: Vec<Box<str>>,
    /// Number of children of a quorum that have to agree.
    pub(crate) vote_threshold: u64,
    /// Whether a quorum reads child by child (`read-pattern`).
    pub(crate) first_in_first_out: bool,
    /// The offset above which a write raises an event; 0 for none.
    pub(crate) write_threshold: u64,
    pub(crate) faults: Vec<Fault>,
    pub(crate) corruption: Option<Corruption>,
    /// Whether damage was reported, by severity: not fatal, fatal.
    pub(crate) reported_corruption: [bool; 2],
}

/// Damage of an image's metadata.
#[derive(Clone, Debug)]
pub(crate) struct Corruption {
    pub(crate) fatal: bool,
    pub(crate) msg: Box<str>,
    pub(crate) region: Option<(u64, u64)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Add {
    driver: Box<str>,
    node_name: Option<Box<str>>,
    size: Option<u64>,
    file: Option<Value>,
    image: Option<Value>,
    backing: Option<Value>,
    children: Option<Vec<Value>>,
    vote_threshold: Option<u64>,
    read_pattern: Option<Box<str>>,
    filename: Option<Box<str>>,
    inject_error: Option<Vec<Inject>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Name {
    node_name: Box<str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Threshold {
    node_name: Box<str>,
    write_threshold: u64,
}

/// The drivers that `blockdev-add` accepts.
const DRIVERS: &str = "\
    blkdebug blkverify copy-on-read file ftp host_cdrom host_device http https io_uring iscsi luks nbd \
    null-aio null-co nvme qcow2 quorum raw throttle";

/// Options that are accepted and ignored.
const OPTIONS: &str = "\
    auto-read-only cache config detect-zeroes discard drop-cache encrypt export filename force-share \
    inject-error latency-ns lazy-refcounts offset read-only read-zeroes";

pub(super) fn commands() -> Vec<Entry> {
    let add = |arguments: ObjectType| {
        let arguments = arguments
            .required("driver", one_of("BlockdevDriver", DRIVERS))
            .optional("node-name", Type::Str)
            .optional("size", Type::Int)
            .optional("file", Type::Any)
            .optional("image", Type::Any)
            .optional("backing", Type::Any)
            .optional("children", Type::list(Type::Any))
            .optional("vote-threshold", Type::Int)
            .optional("read-pattern", Type::one_of("QuorumReadPattern", ["quorum", "fifo"]));
        optional_any(arguments, OPTIONS)
    };
    let name = |arguments: ObjectType| arguments.required("node-name", Type::Str);
    let threshold = |arguments: ObjectType| {
        arguments.required("node-name", Type::Str).required("write-threshold", Type::Uint64)
    };
    vec![
        Entry::new("blockdev-add", add, |vm, add| blockdev_add(vm, &add)).since(2, 9),
        Entry::new("blockdev-del", name, |vm, Name { node_name }| blockdev_del(vm, &node_name)).since(2, 9),
        Entry::new("block-set-write-threshold", threshold, |vm, Threshold { node_name, write_threshold }| {
            let node = vm.devices.block.nodes.get_mut(&node_name);
            let node = node.ok_or_else(|| generic(format!("Device '{node_name}' not found")))?;
            node.write_threshold = write_threshold;
            Ok(())
        })
        .since(2, 3),
        Entry::plain("query-named-block-nodes", |vm| Ok(query_nodes(vm))).since(2, 0),
    ]
}

/// Source: reworded between 7.2 and 11.1; assumed to be the release that reworked the message.
const DUPLICATE_SINCE: Release = Release::new(2, 6);

fn blockdev_add(vm: &mut Vm, add: &Add) -> Result<(), Refusal> {
    let Some(name) = add.node_name.clone() else {
        return Err(generic("'node-name' must be specified for the root node"));
    };
    create(vm, &name, add)
}

fn create(vm: &mut Vm, name: &str, add: &Add) -> Result<(), Refusal> {
    vm.expect_room()?;
    if vm.devices.block.nodes.contains_key(name) {
        let message = if vm.release >= DUPLICATE_SINCE {
            "Duplicate nodes with node-name="
        } else {
            "Duplicate node name "
        };
        return Err(generic(format!("{message}'{name}'")));
    }
    let mut children = Vec::new();
    let below =
        [&add.file, &add.image, &add.backing].into_iter().flatten().chain(add.children.iter().flatten());
    for child in below.filter(|child| !child.is_null()) {
        children.push(child_of(vm, name, children.len(), child)?);
    }
    let block = &vm.devices.block;
    let created = || block.created.get(add.filename.as_ref()?).copied();
    let formatted = || block.formatted.get(children.first()?).copied();
    let below = || block.nodes.get(children.first()?).map(|node| node.size_bytes);
    let size_bytes = add.size.or_else(created).or_else(formatted).or_else(below);
    let node = Node {
        name: name.into(),
        driver: add.driver.clone(),
        size_bytes: size_bytes.unwrap_or(1 << 30),
        children,
        vote_threshold: add.vote_threshold.unwrap_or(0),
        first_in_first_out: add.read_pattern.as_deref() == Some("fifo"),
        write_threshold: 0,
        faults: add.inject_error.iter().flatten().flat_map(Inject::faults).collect(),
        corruption: None,
        reported_corruption: [false; 2],
    };
    vm.devices.block.nodes.insert(name.into(), node);
    Ok(())
}

/// Returns the name of a child: of an existing node, or of one created here.
fn child_of(vm: &mut Vm, parent: &str, number: usize, child: &Value) -> Result<Box<str>, Refusal> {
    if let Some(name) = child.as_str() {
        let missing = || generic(format!("Cannot find device='{name}' nor node-name='{name}'"));
        return vm.devices.block.nodes.get(name).map(|node| node.name.clone()).ok_or_else(missing);
    }
    let members: Map<String, Value> = serde_json::from_value(child.clone()).map_err(generic)?;
    let add: Add = serde_json::from_value(Value::Object(members)).map_err(generic)?;
    let name = add.node_name.clone().unwrap_or_else(|| format!("#{parent}.{number}").into());
    create(vm, &name, &add)?;
    Ok(name)
}

fn blockdev_del(vm: &mut Vm, name: &str) -> Result<(), Refusal> {
    let Some(node) = vm.devices.block.nodes.get(name).cloned() else {
        return Err(generic(format!("Failed to find node with node-name='{name}'")));
    };
    if vm.devices.bus.iter().any(|device| device.text("drive") == Some(name)) {
        return Err(generic(format!("Node {name} is in use")));
    }
    vm.devices.jobs.expect_unused(name)?;
    if vm.devices.block.nodes.values().any(|node| node.children.iter().any(|child| **child == *name)) {
        return Err(generic(format!("Block device {name} is in use")));
    }
    vm.devices.block.nodes.remove(name);
    for child in node.children.iter().filter(|child| child.starts_with('#')) {
        vm.devices.block.nodes.remove(child);
    }
    Ok(())
}

fn query_nodes(vm: &Vm) -> Value {
    let nodes = vm.devices.block.nodes.values().map(|node| {
        json!({
            "node-name": node.name, "drv": node.driver, "ro": false, "encrypted": false, "backing_file_depth": 0,
            "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0, "detect_zeroes": "off",
            "write_threshold": node.write_threshold, "file": node.name,
            "cache": {"no-flush": false, "direct": false, "writeback": true},
            "image": {"filename": node.name, "format": node.driver, "virtual-size": node.size_bytes},
        })
    });
    Value::Array(nodes.collect())
}

/// Returns the node of that name.
///
/// # Errors
///
/// The error of jobs and exports for an unknown node.
pub(crate) fn expect<'a>(vm: &'a Vm, name: &str) -> Result<&'a Node, Refusal> {
    let missing = || generic(format!("Cannot find device='{name}' nor node-name='{name}'"));
    vm.devices.block.nodes.get(name).ok_or_else(missing)
}

pub(super) fn expect_mut<'a>(vm: &'a mut Vm, name: &str) -> Result<&'a mut Node, Refusal> {
    let missing = || generic(format!("Cannot find device='{name}' nor node-name='{name}'"));
    vm.devices.block.nodes.get_mut(name).ok_or_else(missing)
}

/// Raises the event for a write beyond the threshold and clears the threshold.
pub(super) fn note_write(vm: &mut Vm, name: &str, end: u64) {
    let Some(node) = vm.devices.block.nodes.get_mut(name) else { return };
    let threshold = node.write_threshold;
    let children = node.children.clone();
    if threshold > 0 && end > threshold {
        node.write_threshold = 0;
        let exceeded = end - threshold;
        let data = json!({"node-name": name, "amount-exceeded": exceeded, "write-threshold": threshold});
        vm.raise(EventKind::BlockWriteThreshold, data);
    }
    if let Some(child) = children.first() {
        note_write(vm, child, end);
    }
}

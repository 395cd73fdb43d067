//! The parameters of migrations: their types, the releases that have them, and their ranges.

use std::{collections::BTreeMap, ops::RangeInclusive};

use qmp_events::Release;
use qmp_server::{ObjectType, Refusal, Type};
use serde_json::{Map, Value};

use crate::{
    commands::{Entry, one_of},
    refusals::generic,
    vm::Vm,
};

/// A parameter: its name, its type, the first release that has it, and the first that no longer has it.
type Parameter = (&'static str, fn() -> Type, (u16, u16), Option<(u16, u16)>);

/// The parameters in QAPI's order.
///
/// Source: QEMU `qapi/migration.json`, `MigrateSetParameters`; types and errors measured on 7.2.
const PARAMETERS: &[Parameter] = &[
    ("announce-initial", || Type::Size, (4, 0), None),
    ("announce-max", || Type::Size, (4, 0), None),
    ("announce-rounds", || Type::Size, (4, 0), None),
    ("announce-step", || Type::Size, (4, 0), None),
    ("compress-level", || Type::Uint8, (2, 4), Some((9, 1))),
    ("compress-threads", || Type::Uint8, (2, 4), Some((9, 1))),
    ("compress-wait-thread", || Type::Bool, (3, 1), Some((9, 1))),
    ("decompress-threads", || Type::Uint8, (2, 4), Some((9, 1))),
    ("throttle-trigger-threshold", || Type::Uint8, (5, 0), None),
    ("cpu-throttle-initial", || Type::Uint8, (2, 7), None),
    ("cpu-throttle-increment", || Type::Uint8, (2, 7), None),
    ("cpu-throttle-tailslow", || Type::Bool, (5, 1), None),
    ("tls-creds", text_or_null, (2, 7), None),
    ("tls-hostname", text_or_null, (2, 7), None),
    ("tls-authz", text_or_null, (4, 0), None),
    ("max-bandwidth", || Type::Size, (2, 8), None),
    ("avail-switchover-bandwidth", || Type::Size, (8, 2), None),
    ("downtime-limit", || Type::Uint64, (2, 8), None),
    ("x-checkpoint-delay", || Type::Uint32, (2, 8), None),
    ("block-incremental", || Type::Bool, (2, 11), Some((9, 1))),
    ("multifd-channels", || Type::Uint8, (4, 0), None),
    ("xbzrle-cache-size", || Type::Size, (2, 11), None),
    ("max-postcopy-bandwidth", || Type::Size, (3, 0), None),
    ("max-cpu-throttle", || Type::Uint8, (3, 1), None),
    ("multifd-compression", || one_of("MultiFDCompression", COMPRESSIONS), (5, 0), None),
    ("multifd-zlib-level", || Type::Uint8, (5, 0), None),
    ("multifd-qatzip-level", || Type::Uint8, (9, 2), None),
    ("multifd-zstd-level", || Type::Uint8, (5, 0), None),
    ("block-bitmap-mapping", mapping, (5, 2), None),
    ("x-vcpu-dirty-limit-period", || Type::Uint64, (8, 1), None),
    ("vcpu-dirty-limit", || Type::Uint64, (8, 1), None),
    ("mode", || one_of("MigMode", "normal cpr-reboot cpr-transfer cpr-exec"), (8, 2), None),
    ("zero-page-detection", || one_of("ZeroPageDetection", "none legacy multifd"), (9, 0), None),
    ("direct-io", || Type::Bool, (9, 1), None),
];

const COMPRESSIONS: &str = "none zlib zstd qatzip qpl uadk";

/// The numbers that are limited, in the order in which they are checked, and the text of the error.
///
/// Source: measured on QEMU 7.2. All parameters of a machine are checked, also those that a command leaves as they are.
const RANGES: &[(&str, RangeInclusive<u64>, &str)] = &[
    ("compress-level", 0..=9, "a value between 0 and 9"),
    ("compress-threads", 1..=255, "a value between 1 and 255"),
    ("decompress-threads", 1..=255, "a value between 1 and 255"),
    ("throttle-trigger-threshold", 1..=100, "an integer in the range of 1 to 100"),
    ("cpu-throttle-initial", 1..=99, "an integer in the range of 1 to 99"),
    ("cpu-throttle-increment", 1..=99, "an integer in the range of 1 to 99"),
    ("downtime-limit", 0..=2_000_000, "an integer in the range of 0 to (2000 * 1000) ms"),
    ("multifd-channels", 1..=255, "a value between 1 and 255"),
    (CACHE_SIZE, 4096..=u64::MAX, "a power of two no less than the target page size"),
    (MAX_THROTTLE, 0..=99, "an integer in the range of cpu_throttle_initial to 99"),
    ("announce-initial", 0..=100_000, "a value between 0 and 100000"),
    ("announce-max", 0..=100_000, "a value between 0 and 100000"),
    ("announce-rounds", 0..=1000, "a value between 0 and 1000"),
    ("announce-step", 1..=10_000, "a value between 0 and 10000"),
];

const CACHE_SIZE: &str = "xbzrle-cache-size";
const MAX_THROTTLE: &str = "max-cpu-throttle";
const INITIAL_THROTTLE: &str = "cpu-throttle-initial";

/// The value of `cpu-throttle-initial` and of `max-cpu-throttle` at the start.
const THROTTLES: (u64, u64) = (20, 99);

/// Returns one command for each set of parameters that releases have.
pub(super) fn commands() -> Vec<Entry> {
    let mut changes: Vec<_> =
        PARAMETERS.iter().flat_map(|(.., since, removed)| [Some(*since), *removed]).flatten().collect();
    changes.sort_unstable();
    changes.dedup();
    let ends = changes.iter().skip(1).copied().map(Some).chain([None]);
    let command = |((major, minor), end): ((u16, u16), Option<(u16, u16)>)| {
        let entry = Entry::new("migrate-set-parameters", |ty| describe(ty, Release::new(major, minor)), set);
        let entry = entry.since(major, minor);
        match end {
            Some((major, minor)) => entry.removed(major, minor),
            None => entry,
        }
    };
    changes.iter().copied().zip(ends).map(command).collect()
}

fn describe(arguments: ObjectType, release: Release) -> ObjectType {
    let exists = |since: (u16, u16), removed: Option<(u16, u16)>| {
        let first = |(major, minor)| Release::new(major, minor);
        release >= first(since) && removed.is_none_or(|removed| release < first(removed))
    };
    let parameters = PARAMETERS.iter().filter(|(.., since, removed)| exists(*since, *removed));
    parameters.fold(arguments, |arguments, (name, ty, ..)| arguments.optional(name, ty()))
}

fn text_or_null() -> Type {
    Type::alternate("StrOrNull", [Type::Str, Type::Null])
}

fn mapping() -> Type {
    let bitmap = ObjectType::new("BitmapMigrationBitmapAlias")
        .required("name", Type::Str)
        .required("alias", Type::Str)
        .optional("transform", Type::Any);
    let node = ObjectType::new("BitmapMigrationNodeAlias")
        .required("node-name", Type::Str)
        .required("alias", Type::Str)
        .required("bitmaps", Type::list(bitmap));
    Type::list(node)
}

fn set(vm: &mut Vm, parameters: Map<String, Value>) -> Result<(), Refusal> {
    let mut numbers = vm.devices.migration.parameters.clone();
    numbers.extend(parameters.into_iter().filter_map(|(name, value)| Some((name.into(), value.as_u64()?))));
    check(&numbers)?;
    let migration = &mut vm.devices.migration;
    let number = |name: &str| numbers.get(name).copied();
    migration.max_bandwidth = number("max-bandwidth").or(migration.max_bandwidth);
    migration.downtime_limit_ms = number("downtime-limit").or(migration.downtime_limit_ms);
    migration.parameters = numbers;
    Ok(())
}

fn check(numbers: &BTreeMap<Box<str>, u64>) -> Result<(), Refusal> {
    let throttle = |name: &str, default| numbers.get(name).copied().unwrap_or(default);
    let (initial, max) = (throttle(INITIAL_THROTTLE, THROTTLES.0), throttle(MAX_THROTTLE, THROTTLES.1));
    for (name, range, expected) in RANGES {
        let number = numbers.get(*name).copied();
        let fits = match *name {
            CACHE_SIZE => number.is_none_or(|size| range.contains(&size) && size.is_power_of_two()),
            MAX_THROTTLE => range.contains(&max) && max >= initial,
            _ => number.is_none_or(|number| range.contains(&number)),
        };
        if !fits {
            // QEMU writes the name of the member in C.
            return Err(generic(format!("Parameter '{}' expects {expected}", name.replace('-', "_"))));
        }
    }
    Ok(())
}

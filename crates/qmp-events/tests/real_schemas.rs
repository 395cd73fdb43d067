//! Compares the catalogue with the introspection of real QEMUs.
//!
//! `tests/schemas/RELEASE.json` is the part for events of that release's reply to `query-qmp-schema`, from a QEMU
//! for x86-64. For others set `QMP_SCHEMA_FILES` to a comma-separated list of `RELEASE=FILE`.

use qmp_events::Release;
use qmp_events::introspection::{Schema, Severity, compare};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "return")]
    schema: Box<RawValue>,
}

#[test]
fn schema_of_release_equals_the_catalogue() {
    let cases =
        [("7.2.22", include_str!("schemas/7.2.json"), 52), ("11.1.3", include_str!("schemas/11.1.json"), 57)];
    for (release, schema, events) in cases {
        let schema = Schema::parse(schema).unwrap();
        assert_eq!(schema.events().count(), events, "{release}");
        assert_eq!(differences(&schema, release.parse().unwrap()), [""; 0], "{release}");
    }
}

/// The schema of one release differs from the catalogue at another, in both directions.
#[test]
fn schema_of_other_release_differs_from_the_catalogue() {
    let schema = Schema::parse(include_str!("schemas/7.2.json")).unwrap();
    let cases = [
        ("7.1", "NETDEV_STREAM_CONNECTED: not known of QEMU 7.1"),
        ("6.2", "RTC_CHANGE qom-path: member not known of QEMU 6.2"),
        ("6.2", "SHUTDOWN reason: value snapshot-load not known of QEMU 6.2"),
        ("6.1", "MEM_UNPLUG_ERROR: deprecated, not expected in QEMU 6.1"),
        ("8.2", "HV_BALLOON_STATUS_REPORT: missing, expected in QEMU 8.2"),
        ("9.1", "MEM_UNPLUG_ERROR: not known of QEMU 9.1"),
        ("9.1", "MIGRATION status: value postcopy-recover-setup missing, expected in QEMU 9.1"),
        ("9.2", "BLOCK_IO_ERROR qom-path: member missing, expected in QEMU 9.2"),
        ("10.1", "NETDEV_STREAM_CONNECTED addr.keep-alive-idle: member missing, expected in QEMU 10.1"),
        ("2.11", "BLOCK_IO_ERROR node-name: optional, expected to be always there"),
    ];
    for (release, expected) in cases {
        let found = all(&schema, release.parse().unwrap());
        assert!(found.iter().any(|one| one == expected), "{expected:?} is not in {found:#?}");
    }
}

#[test]
fn schema_files_of_environment_equal_the_catalogue() {
    let files = std::env::var("QMP_SCHEMA_FILES").unwrap_or_default();
    for file in files.split(',').filter(|file| !file.is_empty()) {
        let (release, path) = file.split_once('=').unwrap();
        let reply: Reply = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let schema = Schema::parse(reply.schema.get()).unwrap();
        assert!(schema.events().count() > 20, "{path}");
        assert_eq!(differences(&schema, release.parse().unwrap()), [""; 0], "{path}");
    }
}

fn differences(schema: &Schema, release: Release) -> Vec<String> {
    let all = compare(schema, release).into_iter();
    all.filter(|one| one.severity == Severity::Difference).map(|one| one.to_string()).collect()
}

fn all(schema: &Schema, release: Release) -> Vec<String> {
    compare(schema, release).iter().map(ToString::to_string).collect()
}

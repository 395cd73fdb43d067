//! Typed commands and jobs of an installed QEMU.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

mod fake;
mod qemu;

use std::collections::BTreeMap;

use fake::next_line;
use qemu::{Qemu, reach, unix};
use qmp_client::commands::{
    COMMANDS, Cont, DeviceAdd, DeviceDel, JobComplete, JobDismiss, JobFinalize, Migrate, MigrateCancel,
    QueryBalloon, QueryBlock, QueryBlockJobs, QueryJobs, QueryMigrate, QueryName, QueryStatus, QueryUuid,
    QueryVersion, Quit, Screendump, Stop, SystemPowerdown, SystemReset, SystemWakeup,
};
use qmp_client::{EventItem, Events, ExecuteError, JobEnd, MonitorClient};
use qmp_events::{Event, JobStatus, MigrationStatus, RunState};
use serde_json::{Value, json};

/// A QEMU with one monitor and one empty drive, and a client of it; `None` where none is installed.
async fn start(directory: &std::path::Path) -> Option<(Qemu, MonitorClient, Events)> {
    let arguments = [
        "-qmp",
        "unix:qmp,server=on,wait=off",
        "-name",
        "vm1",
        "-drive",
        "if=none,id=disk0,file.driver=null-co,file.size=65536,format=raw",
    ];
    let qemu = Qemu::start(directory, &arguments)?;
    let (monitor, events) = reach(&unix(directory.join("qmp"), false)).await;
    Some((qemu, monitor, events))
}

/// The class of the error with which QEMU refuses.
fn class<T: std::fmt::Debug>(result: Result<T, ExecuteError>) -> String {
    match result {
        Err(ExecuteError::Refused(error)) => error.class.into(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn typed_queries_read_the_replies_of_qemu() {
    let directory = tempfile::tempdir().unwrap();
    let Some((_qemu, monitor, _events)) = start(directory.path()).await else { return };
    let status = monitor.run(&QueryStatus::new()).await.unwrap();
    assert_eq!((status.running, status.run_state()), (false, Ok(RunState::Prelaunch)));
    assert_eq!(monitor.run(&QueryName::new()).await.unwrap().name.as_deref(), Some("vm1"));
    let uuid = monitor.run(&QueryUuid::new()).await.unwrap().uuid;
    assert_eq!(&*uuid, "00000000-0000-0000-0000-000000000000");
    let version = monitor.run(&QueryVersion::new()).await.unwrap().qemu;
    let greeted = monitor.greeting().version.unwrap();
    assert_eq!((version.major, version.minor), (greeted.major, greeted.minor));
    assert!(monitor.run(&QueryJobs::new()).await.unwrap().is_empty());
    assert!(monitor.run(&QueryBlockJobs::new()).await.unwrap().is_empty());
    let block = monitor.run(&QueryBlock::new()).await.unwrap();
    let inserted = block[0].inserted.as_ref().unwrap();
    assert_eq!((&*block[0].device, &*inserted.drv, inserted.ro), ("disk0", "raw", false));
    assert_eq!(monitor.run(&QueryMigrate::new()).await.unwrap().status, None);
    assert_eq!(class(monitor.run(&QueryBalloon::new()).await), "DeviceNotActive");
}

#[tokio::test]
async fn typed_commands_act_on_qemu() {
    let directory = tempfile::tempdir().unwrap();
    let Some((_qemu, monitor, mut events)) = start(directory.path()).await else { return };
    monitor.run(&Cont::new()).await.unwrap();
    assert_eq!(monitor.run(&QueryStatus::new()).await.unwrap().run_state(), Ok(RunState::Running));
    monitor.run(&SystemReset::new()).await.unwrap();
    monitor.run(&SystemPowerdown::new()).await.unwrap();
    assert_eq!(class(monitor.run(&SystemWakeup::new()).await), "GenericError");
    assert_eq!(class(monitor.run(&DeviceAdd::new("no-such-device").with("x", 1)).await), "GenericError");
    assert_eq!(class(monitor.run(&DeviceDel::new("none")).await), "DeviceNotFound");
    assert_eq!(class(monitor.run(&Screendump::new("screen.ppm")).await), "GenericError");
    monitor.run(&Stop::new()).await.unwrap();
    monitor.run(&MigrateCancel::new()).await.unwrap();
    let capabilities = json!({"capabilities": [{"capability": "events", "state": true}]});
    monitor.execute("migrate-set-capabilities", capabilities).await.unwrap();
    monitor.run(&Migrate::new("exec:cat > /dev/null")).await.unwrap();
    loop {
        let Some(EventItem::Event(event)) = events.next().await else { panic!("the migration ends") };
        match Event::try_from(&event).unwrap() {
            Event::Migration(migration) if migration.status == MigrationStatus::Completed => break,
            _ => {}
        }
    }
    let migration = monitor.run(&QueryMigrate::new()).await.unwrap();
    assert_eq!(migration.status, Some(MigrationStatus::Completed));
    assert!(migration.ram.is_some() && migration.total_time.is_some(), "{migration:?}");
    monitor.run(&Quit::new()).await.unwrap();
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.starts_with("ended")) {
        lines.push(next_line(&mut events).await);
    }
    assert!(lines.iter().any(|line| line.starts_with("SHUTDOWN")), "{lines:?}");
}

/// Every command and every argument of the table is in the release that answers, if the table says so, and only then.
#[tokio::test]
async fn table_of_commands_equals_the_schema_of_qemu() {
    let directory = tempfile::tempdir().unwrap();
    let Some((_qemu, monitor, _events)) = start(directory.path()).await else { return };
    let release = monitor.release().unwrap();
    let version = monitor.run(&QueryVersion::new()).await.unwrap().qemu;
    assert_eq!((version.major, version.minor), (release.major.into(), release.minor.into()));
    let listed: Vec<Value> = monitor.execute_as("query-commands", ()).await.unwrap();
    let schema: Vec<Value> = monitor.execute_as("query-qmp-schema", ()).await.unwrap();
    let entities: BTreeMap<&str, &Value> =
        schema.iter().map(|entity| (entity["name"].as_str().unwrap(), entity)).collect();
    for command in COMMANDS {
        let is_listed = listed.iter().any(|one| one["name"] == command.name);
        assert_eq!(is_listed, command.is_in(release), "{}", command.name);
        let Some(entity) = entities.get(command.name) else { continue };
        let members = entities[entity["arg-type"].as_str().unwrap()]["members"].as_array().unwrap();
        for argument in command.arguments {
            let member = members.iter().find(|member| member["name"] == argument.name);
            let name = format!("{} {}", command.name, argument.name);
            assert_eq!(member.is_some(), argument.is_in(release), "{name}");
            let is_mandatory = member.is_some_and(|member| member.get("default").is_none());
            assert_eq!(is_mandatory, argument.is_mandatory_in(release), "{name}");
        }
        for member in members.iter().filter(|member| member.get("default").is_none()) {
            let is_known = command.arguments.iter().any(|argument| member["name"] == argument.name);
            assert!(is_known, "{} needs {}", command.name, member["name"]);
        }
    }
}

/// Creates an image with a job.
async fn create(monitor: &MonitorClient, id: &str, options: Value) -> JobEnd {
    monitor.execute("blockdev-create", json!({"job-id": id, "options": options})).await.unwrap();
    let end = monitor.wait_for_job(id).await.unwrap();
    monitor.run(&JobDismiss::new(id)).await.unwrap();
    end
}

#[tokio::test]
async fn wait_for_job_follows_jobs_of_qemu_to_their_end() {
    let directory = tempfile::tempdir().unwrap();
    let Some((_qemu, monitor, _events)) = start(directory.path()).await else { return };
    let missing = json!({"driver": "file", "filename": "no/such/directory/image", "size": 1_048_576});
    let end = create(&monitor, "create0", missing).await;
    assert!(matches!(&end, JobEnd::Concluded(job) if job.error.is_some()), "{end:?}");
    let image = json!({"driver": "file", "filename": "image", "size": 0});
    let end = create(&monitor, "create1", image).await;
    assert!(matches!(&end, JobEnd::Concluded(job) if job.error.is_none()), "{end:?}");
    let file = json!({"driver": "file", "filename": "image", "node-name": "file"});
    monitor.execute("blockdev-add", file).await.unwrap();
    let end = create(&monitor, "create2", json!({"driver": "qcow2", "file": "file", "size": 65536})).await;
    assert!(matches!(&end, JobEnd::Concluded(job) if job.error.is_none()), "{end:?}");
    let target = json!({"driver": "qcow2", "file": "file", "node-name": "target"});
    monitor.execute("blockdev-add", target).await.unwrap();

    // By hand, step by step.
    let mirror = json!({
        "job-id": "mirror0", "device": "disk0", "target": "target", "sync": "full", "auto-finalize": false,
        "auto-dismiss": false
    });
    monitor.execute("blockdev-mirror", mirror).await.unwrap();
    let end = monitor.wait_for_job("mirror0").await.unwrap();
    assert!(matches!(end, JobEnd::Ready(_)), "{end:?}");
    let block_jobs = monitor.run(&QueryBlockJobs::new()).await.unwrap();
    assert_eq!((&*block_jobs[0].device, block_jobs[0].auto_dismiss), ("mirror0", Some(false)));
    monitor.run(&JobComplete::new("mirror0")).await.unwrap();
    let end = monitor.wait_for_job_past("mirror0", JobStatus::Ready).await.unwrap();
    assert!(matches!(end, JobEnd::Pending(_)), "{end:?}");
    monitor.run(&JobFinalize::new("mirror0")).await.unwrap();
    let end = monitor.wait_for_job_past("mirror0", JobStatus::Pending).await.unwrap();
    assert!(matches!(&end, JobEnd::Concluded(job) if job.error.is_none()), "{end:?}");
    monitor.run(&JobDismiss::new("mirror0")).await.unwrap();
    assert_eq!(monitor.wait_for_job("mirror0").await.unwrap(), JobEnd::Dismissed { last: None });

    // By default a block job dismisses itself.
    monitor
        .execute("blockdev-add", json!({"driver": "null-co", "size": 65536, "node-name": "null"}))
        .await
        .unwrap();
    let mirror = json!({"job-id": "mirror1", "device": "disk0", "target": "null", "sync": "full"});
    monitor.execute("blockdev-mirror", mirror).await.unwrap();
    let end = monitor.wait_for_job("mirror1").await.unwrap();
    assert!(matches!(end, JobEnd::Ready(_)), "{end:?}");
    monitor.run(&JobComplete::new("mirror1")).await.unwrap();
    let end = monitor.wait_for_job_past("mirror1", JobStatus::Ready).await.unwrap();
    assert!(matches!(end, JobEnd::Dismissed { .. }), "{end:?}");
}

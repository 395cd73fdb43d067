//! Typed commands and jobs, against a scripted server.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

mod fake;

use std::time::Duration;

use fake::{STOP, attached};
use qmp_client::commands::{
    Balloon, DeviceAdd, Migrate, QueryBlock, QueryJobs, QueryStatus, QueryVersion, Screendump,
};
use qmp_client::{CommandDesc, ConnectConfig, ExecuteError, JobEnd, TypedCommand, connect_stream};
use qmp_events::{JobStatus, RunState};
use qmp_testing::{Peer, command_name};
use serde_json::{Value, json};
use tokio::time::Instant;

#[tokio::test]
async fn typed_command_sends_its_arguments_and_reads_its_reply() {
    let (monitor, _events, mut peer) = attached().await;
    let mut heard = Vec::new();
    let server = async {
        for reply in [
            r#"{"status": "of-tomorrow", "running": false, "new-member": 1}"#,
            r#"{"status": "paused", "running": false, "singlestep": false}"#,
            r#"{"qemu": {"major": 9, "minor": 2, "micro": 1}, "package": ""}"#,
            "{}",
            "{}",
            "{}",
            "{}",
            r#"[{"device": "ide0", "type": "unknown", "removable": true, "locked": false, "tray_open": false}]"#,
        ] {
            let command = peer.hear().await;
            peer.returns(&command, reply).await;
            heard.push(format!(
                "{} {}",
                command_name(&command),
                command.get("arguments").unwrap_or(&Value::Null)
            ));
        }
    };
    let client = async {
        let status = monitor.run(&QueryStatus::new()).await.unwrap();
        assert!(!status.running && &*status.status == "of-tomorrow" && status.run_state().is_err());
        assert_eq!(monitor.run(&QueryStatus::new()).await.unwrap().run_state(), Ok(RunState::Paused));
        assert_eq!(monitor.run(&QueryVersion::new()).await.unwrap().qemu.major, 9);
        monitor.run(&Balloon::new(1 << 30)).await.unwrap();
        monitor.run(&Screendump::new("/tmp/x.png").format("png")).await.unwrap();
        monitor.run(&Migrate::new("tcp:host:4444").resume(true)).await.unwrap();
        monitor.run(&DeviceAdd::new("virtio-net-pci").id("nic1").with("mq", true)).await.unwrap();
        let blocks = monitor.run(&QueryBlock::new()).await.unwrap();
        assert!(blocks[0].removable && blocks[0].inserted.is_none());
    };
    tokio::join!(server, client);
    assert_eq!(
        heard,
        [
            "query-status null",
            "query-status null",
            "query-version null",
            r#"balloon {"value":1073741824}"#,
            r#"screendump {"filename":"/tmp/x.png","format":"png"}"#,
            r#"migrate {"resume":true,"uri":"tcp:host:4444"}"#,
            r#"device_add {"driver":"virtio-net-pci","id":"nic1","mq":true}"#,
            "query-block null",
        ]
    );
}

#[test]
fn typed_command_knows_its_releases() {
    let jobs = CommandDesc::by_name(QueryJobs::NAME).unwrap();
    assert!(!jobs.is_in(qmp_events::Release::new(2, 12)) && jobs.is_in(qmp_events::Release::new(7, 2)));
    let migrate = CommandDesc::by_name("migrate").unwrap();
    let argument = |name: &str| migrate.arguments.iter().find(|argument| argument.name == name).unwrap();
    assert!(argument("uri").mandatory && !argument("blk").mandatory);
    assert!(argument("blk").is_in(qmp_events::Release::new(9, 0)));
    assert!(!argument("blk").is_in(qmp_events::Release::new(9, 1)));
    assert!(argument("uri").is_mandatory_in(qmp_events::Release::new(7, 2)));
    assert!(!argument("uri").is_mandatory_in(qmp_events::Release::new(9, 0)));
    assert!(CommandDesc::by_name("device_add").unwrap().accepts_others);
    assert!(CommandDesc::by_name("query-kvm").is_none());
}

/// One way in which the list of jobs develops: the replies to `query-jobs`, one after another.
async fn wait_with(replies: &[&str]) -> Result<JobEnd, ExecuteError> {
    let (monitor, _events, mut peer) = attached().await;
    let server = async {
        for reply in replies {
            let command = peer.hear().await;
            assert_eq!(command_name(&command), "query-jobs");
            peer.returns(&command, reply).await;
            peer.say(r#"{"event": "JOB_STATUS_CHANGE", "data": {"id": "job0", "status": "running"}}"#).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        end = monitor.wait_for_job("job0") => end,
        () = server => unreachable!(),
    }
}

fn job(status: &str) -> String {
    json!([{
        "id": "job0", "type": "mirror", "status": status, "current-progress": 1, "total-progress": 2
    }])
    .to_string()
}

#[tokio::test]
async fn wait_for_job_returns_when_the_job_concludes_or_needs_a_command() {
    let cases: [(&str, &[&str], &str); 5] = [
        // name              statuses, "-": not listed          end
        ("concluded", &["running", "concluded"], "concluded"),
        ("dismissed", &["running", "running", "-"], "dismissed, last running"),
        ("never listed", &["-"], "dismissed"),
        ("ready", &["created", "running", "ready"], "ready"),
        ("pending", &["pending"], "pending"),
    ];
    for (case, statuses, expected) in cases {
        let replies: Vec<String> = statuses
            .iter()
            .map(|status| if *status == "-" { "[]".to_owned() } else { job(status) })
            .collect();
        let replies: Vec<&str> = replies.iter().map(String::as_str).collect();
        let end = match wait_with(&replies).await.unwrap() {
            JobEnd::Concluded(_) => "concluded".to_owned(),
            JobEnd::Dismissed { last: None } => "dismissed".to_owned(),
            JobEnd::Dismissed { last: Some(job) } => format!("dismissed, last {}", job.status),
            JobEnd::Ready(_) => "ready".to_owned(),
            JobEnd::Pending(_) => "pending".to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(end, expected, "{case}");
    }
}

#[tokio::test]
async fn wait_for_job_on_release_without_query_jobs_asks_for_block_jobs() {
    let (monitor, _events, mut peer) = attached().await;
    let block_job = |ready| {
        json!([{
            "type": "mirror", "device": "job0", "len": 2, "offset": 1, "speed": 0, "busy": true, "paused": false,
            "io-status": "ok", "ready": ready
        }])
        .to_string()
    };
    let server = async {
        for list in [block_job(false), block_job(true), block_job(true), "[]".to_owned()] {
            let command = peer.hear().await;
            peer.refuses(&command, "CommandNotFound", "The command query-jobs has not been found").await;
            peer.answer("query-block-jobs", &list).await;
            peer.say(STOP).await;
        }
    };
    let client = async {
        let end = monitor.wait_for_job("job0").await.unwrap();
        assert!(matches!(&end, JobEnd::Ready(job) if job.current_progress == 1), "{end:?}");
        let end = monitor.wait_for_job_past("job0", JobStatus::Ready).await.unwrap();
        assert!(matches!(&end, JobEnd::Dismissed { last: Some(job) } if job.total_progress == 2), "{end:?}");
    };
    tokio::join!(client, server);
}

#[tokio::test]
async fn wait_for_job_on_server_without_jobs_names_query_jobs() {
    let (monitor, _events, mut peer) = attached().await;
    let server = async {
        for _ in 0..2 {
            let command = peer.hear().await;
            let desc = format!("The command {} has not been found", command_name(&command));
            peer.refuses(&command, "CommandNotFound", &desc).await;
        }
    };
    let (end, ()) = tokio::join!(monitor.wait_for_job("job0"), server);
    let error = end.unwrap_err().to_string();
    assert!(error.contains("The command query-jobs has not been found"), "{error}");
}

/// A job stays ready for a moment after `job-complete`: a program that completes each ready job would send it again.
#[tokio::test]
async fn wait_for_job_past_a_status_ignores_that_status() {
    let (monitor, _events, mut peer) = attached().await;
    let server = async {
        for status in ["ready", "ready", "waiting", "concluded"] {
            let command = peer.hear().await;
            peer.returns(&command, &job(status)).await;
            peer.say(r#"{"event": "JOB_STATUS_CHANGE", "data": {"id": "job0", "status": "waiting"}}"#).await;
        }
    };
    let (end, ()) = tokio::join!(monitor.wait_for_job_past("job0", JobStatus::Ready), server);
    assert!(matches!(end, Ok(JobEnd::Concluded(_))), "{end:?}");
}

#[tokio::test]
async fn wait_for_job_cancelled_in_select_can_be_repeated() {
    let (monitor, _events, mut peer) = attached().await;
    tokio::select! {
        biased;
        end = monitor.wait_for_job("job0") => panic!("{end:?}"),
        command = peer.hear() => peer.returns(&command, &job("running")).await,
    }
    let server = async {
        let command = peer.hear().await;
        peer.returns(&command, &job("concluded")).await;
    };
    let (end, ()) = tokio::join!(monitor.wait_for_job("job0"), server);
    assert!(matches!(end, Ok(JobEnd::Concluded(_))), "{end:?}");
}

/// How long a wait takes on a clock that stands still while anything can go on. `event` follows the first reply.
async fn time_of_wait(event: Option<&str>) -> Duration {
    let (ours, theirs) = tokio::io::duplex(1024);
    let address = "unix:/in/memory".parse().unwrap();
    let config = ConnectConfig::default();
    let mut peer = Peer::new(theirs);
    let (connected, ()) = tokio::join!(connect_stream(ours, &address, &config), peer.negotiate());
    let (monitor, _events) = connected.unwrap();
    let begun = Instant::now();
    let server = async {
        peer.answer("query-jobs", &job("running")).await;
        if let Some(event) = event {
            peer.say(event).await;
        }
        peer.answer("query-jobs", &job("concluded")).await;
    };
    let (end, ()) = tokio::join!(monitor.wait_for_job("job0"), server);
    assert!(matches!(end, Ok(JobEnd::Concluded(_))), "{end:?}");
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn wait_for_job_queries_after_an_event_and_once_a_second() {
    assert!(time_of_wait(Some(STOP)).await < Duration::from_millis(100));
    let waited = time_of_wait(None).await;
    assert!(waited >= Duration::from_secs(1) && waited < Duration::from_secs(2), "{waited:?}");
}

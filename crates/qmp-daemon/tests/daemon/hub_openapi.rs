//! `GET /v1/openapi.json`: the document describes the hub's responses; and the catalogue.

use std::path::Path;

use crate::support::client::{Lines, connect, get, get_json, send_request};
use crate::support::schema::check;
use crate::support::{Watcher, config};
use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyper::Request;
use qmp_daemon::Daemon;
use qmp_events::{catalogue, describe};
use qmp_hub::relay::RelayConfig;
use qmp_testing::Monitor;
use serde_json::{Value, json};

/// The description of a response in the document: its schema and its example.
fn description_of<'d>(document: &'d Value, path: &str, method: &str, status: u16, media: &str) -> &'d Value {
    let content = &document["paths"][path][method]["responses"][status.to_string()]["content"][media];
    assert!(content.is_object(), "{method} {path} {status} {media} has no description");
    content
}

/// A hub with a VM of every kind of record, attached and paused, and an absent VM.
async fn start_busy(home: &Path) -> (Daemon, Vec<Box<dyn std::any::Any>>) {
    let monitor = Monitor::bind(home, "vm1");
    let mut config = config(home, &["vm1", "absent"]);
    config.findings = true;
    config.relays.push(("vm1".parse().expect("a name"), RelayConfig::new(home.join("vm1.qmp"))));
    config.rules = crate::support::rules(
        "[[rule]]\nname = 'r'\nrun = '/nonexistent/program'\n\
         [[rule]]\nname = 'stopped'\nstate = ['paused', 'io-error']\nrun = '/nonexistent/program'",
    );
    let hub = Daemon::start(config).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    let first = monitor.accept().await;
    first.emit("STOP", "");
    first.emit("X_UNKNOWN", r#"[1, {"a": null}]"#);
    journal.until(r#"vm1 1.2 X_UNKNOWN [1, {"a": null}]"#).await;
    first.close().await;
    let session = monitor.accept().await;
    session.emit("JOB_STATUS_CHANGE", r#"{"id": "backup", "status": "running"}"#);
    session
        .emit("BLOCK_IO_ERROR", r#"{"device": "d", "operation": "write", "action": "stop", "reason": "x"}"#);
    session.emit("STOP", "");
    // Waits for the finding about the unknown event, or about the stop of the VM.
    while !journal.next().await.body.kind().eq("finding") {}
    (hub, vec![Box::new(monitor), Box::new(session)])
}

#[tokio::test]
async fn responses_match_their_schemas() {
    let home = tempfile::tempdir().expect("a directory");
    let (hub, _alive) = start_busy(home.path()).await;
    let (_, document) = get_json(home.path(), "/v1/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");

    //  path in the document         method  request path                        body               status
    let cases: [(&str, &str, &str, &str, u16); 48] = [
        ("/v1/hub", "get", "/v1/hub", "", 200),
        ("/v1/vms", "get", "/v1/vms", "", 200),
        ("/v1/vms", "get", "/v1/vms?left=86400", "", 200),
        ("/v1/vms", "get", "/v1/vms?left=1d", "", 400),
        ("/v1/vms/{name}", "get", "/v1/vms/vm1", "", 200),
        ("/v1/vms/{name}", "get", "/v1/vms/absent", "", 200),
        ("/v1/vms/{name}", "get", "/v1/vms/vm2", "", 404),
        ("/v1/vms/{name}/checkpoint", "get", "/v1/vms/vm1/checkpoint", "", 404),
        ("/v1/relays", "get", "/v1/relays", "", 200),
        ("/v1/records", "get", "/v1/records?evnt=STOP", "", 400),
        ("/v1/records/{offset}", "get", "/v1/records/1", "", 200),
        ("/v1/records/{offset}", "get", "/v1/records/999999", "", 404),
        ("/v1/records/{offset}", "get", "/v1/records/x", "", 400),
        ("/v1/vms/{name}/records/{epoch}/{seq}", "get", "/v1/vms/vm1/records/1/1", "", 200),
        ("/v1/vms/{name}/records/{epoch}/{seq}", "get", "/v1/vms/vm1/records/9/1", "", 404),
        ("/v1/timeline", "get", "/v1/timeline?since=2026-01-01T00:00:00Z", "", 200),
        ("/v1/timeline", "get", "/v1/timeline?sort=trouble&where=reason=guest-reset", "", 200),
        ("/v1/timeline", "get", "/v1/timeline?buckets=0", "", 400),
        ("/v1/counts", "get", "/v1/counts?by=event&by=vm&by=finding&by=hour", "", 200),
        ("/v1/findings", "get", "/v1/findings", "", 200),
        ("/v1/findings", "get", "/v1/findings?open=maybe", "", 400),
        ("/v1/gaps", "get", "/v1/gaps", "", 200),
        ("/v1/gaps", "get", "/v1/gaps?limit=0", "", 400),
        ("/v1/events", "get", "/v1/events?evnt=STOP", "", 400),
        ("/v1/catalogue", "get", "/v1/catalogue", "", 200),
        ("/v1/catalogue", "get", "/v1/catalogue?release=2.3", "", 200),
        ("/v1/catalogue", "get", "/v1/catalogue?release=new", "", 400),
        ("/v1/sinks", "get", "/v1/sinks", "", 200),
        ("/v1/alerts", "get", "/v1/alerts", "", 200),
        (
            "/v1/silences",
            "post",
            "/v1/silences",
            r#"{"vms": "vm*", "rule": "r", "seconds": 60, "reason": "x"}"#,
            200,
        ),
        ("/v1/silences", "get", "/v1/silences", "", 200),
        ("/v1/silences", "post", "/v1/silences", r#"{"vms": "web9", "seconds": 60, "reason": "x"}"#, 404),
        ("/v1/silences", "post", "/v1/silences", r#"{"vms": "web*", "seconds": 60, "reason": "x"}"#, 200),
        ("/v1/silences", "post", "/v1/silences", r#"{"vms": "web*", "seconds": 0}"#, 200),
        ("/v1/silences", "post", "/v1/silences", r#"{"vms": "web*", "seconds": 0}"#, 404),
        (
            "/v1/silences",
            "post",
            "/v1/silences",
            r#"{"vms": "vm*", "rule": "s", "seconds": 60, "reason": "x"}"#,
            404,
        ),
        ("/v1/silences", "post", "/v1/silences", r#"{"vms": "vm*", "seconds": 60}"#, 400),
        ("/v1/vms/{name}/notes", "post", "/v1/vms/vm1/notes", r#"{"text": "seen", "about": 1}"#, 200),
        ("/v1/vms/{name}/notes", "post", "/v1/vms/vm1/notes", r#"{"text": "seen", "about": 999999}"#, 404),
        ("/v1/vms/{name}/notes", "post", "/v1/vms/vm1/notes", r#"{"text": " "}"#, 400),
        ("/v1/health", "get", "/v1/health", "", 200),
        ("/v1/openapi.json", "get", "/v1/openapi.json", "", 200),
        ("/v1/vms/{name}/execute", "post", "/v1/vms/vm1/execute", r#"{"execute": "cont"}"#, 200),
        ("/v1/vms/{name}/execute", "post", "/v1/vms/vm1/execute", r#"{"exec-oob": "query-yank"}"#, 200),
        ("/v1/vms/{name}/execute", "post", "/v1/vms/vm1/execute", r#"{"execute": "refuse"}"#, 200),
        ("/v1/vms/{name}/execute", "post", "/v1/vms/vm1/execute", "{}", 400),
        ("/v1/vms/{name}/execute", "post", "/v1/vms/vm2/execute", r#"{"execute": "cont"}"#, 404),
        ("/v1/vms/{name}/execute", "post", "/v1/vms/absent/execute", r#"{"execute": "cont"}"#, 503),
    ];
    for (path, method, uri, body, expected) in cases {
        let request = Request::builder().method(&*method.to_uppercase()).uri(uri).header("host", "hub");
        let request = request.header("content-type", "application/json");
        let request = request.body(Full::from(body.to_owned())).expect("a request");
        let answer = send_request(connect(home.path()).await, request).await;
        assert_eq!(answer.headers()["content-type"], "application/json", "{uri}");
        let (status, answer) = crate::support::client::json(answer).await;
        assert_eq!(status, expected, "{uri} {body}: {answer}");
        let content = description_of(&document, path, method, status, "application/json");
        assert_eq!(check(&document, &content["schema"], &answer, uri), [""; 0]);
    }
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn streams_match_their_schemas() {
    let home = tempfile::tempdir().expect("a directory");
    let (hub, _alive) = start_busy(home.path()).await;
    let (_, document) = get_json(home.path(), "/v1/openapi.json").await;
    hub.stop().await.expect("stops");
    // A second start, so that the journal has the end of an epoch.
    let hub = Daemon::start(config(home.path(), &[])).await.expect("starts");

    let content = description_of(&document, "/v1/records", "get", 200, "application/x-ndjson");
    let mut kinds = std::collections::BTreeSet::new();
    let mut records = Lines::new(get(home.path(), "/v1/records").await);
    while let Some(line) = records.next().await {
        let record: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(check(&document, &content["schema"], &record, "record"), [""; 0]);
        kinds.insert(record["kind"].as_str().expect("a kind").to_owned());
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["attached", "detached", "event", "finding"]);

    for (path, media) in [("/v1/events", "text/event-stream"), ("/metrics", "text/plain")] {
        description_of(&document, path, "get", 200, media);
        let answer = get(home.path(), path).await;
        let found = answer.headers()["content-type"].to_str().expect("text").to_owned();
        assert_eq!(found.split(';').next(), Some(media), "{path}");
    }
    hub.stop().await.expect("stops");
}

/// Examples match their schemas, and documented parameters are accepted.
#[tokio::test]
async fn examples_are_valid_and_parameters_are_accepted() {
    let home = tempfile::tempdir().expect("a directory");
    let hub = Daemon::start(config(home.path(), &[])).await.expect("starts");
    let (_, document) = get_json(home.path(), "/v1/openapi.json").await;
    let mut examples = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in
            item.as_object().expect("an item").iter().filter(|(key, _)| *key != "parameters")
        {
            let responses = operation["responses"].as_object().expect("responses").values();
            let bodies = responses.chain(operation.get("requestBody"));
            for (media, content) in bodies.filter_map(|body| body["content"].as_object()).flatten() {
                let Some(example) = content.get("example") else { continue };
                let value = match example.as_str() {
                    Some(text) if media == "application/x-ndjson" => {
                        serde_json::from_str(text).expect("JSON")
                    }
                    _ => example.clone(),
                };
                assert_eq!(
                    check(&document, &content["schema"], &value, &format!("{method} {path}")),
                    [""; 0]
                );
                examples += 1;
            }
            if method == "get" && operation.get("x-endless").is_none() {
                assert_parameters_are_accepted(home.path(), &document, path, operation).await;
            }
        }
    }
    assert!(examples > 15, "{examples} examples");
    hub.stop().await.expect("stops");
}

async fn assert_parameters_are_accepted(home: &Path, document: &Value, path: &str, operation: &Value) {
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let parameter = match parameter["$ref"].as_str() {
            Some(reference) => document.pointer(&reference[1..]).expect("a parameter"),
            None => parameter,
        };
        if parameter["in"] == "path" {
            continue;
        }
        let name = parameter["name"].as_str().expect("a name");
        let value = match name {
            "since" | "until" => "2026-01-02T03:04:05Z",
            "after" => "0",
            "last" | "left" | "buckets" | "lanes" | "marks" | "top" | "limit" => "1",
            "by" => "vm",
            "open" => "true",
            "sort" => "trouble",
            "zone" => "%2B02:00",
            "where" => "a=b",
            "kind" => "event",
            "severity" => "news",
            "follow" => "false",
            "release" => "7.2",
            _ => "x",
        };
        let uri = format!("{path}?{name}={value}");
        assert_eq!(get(home, &uri).await.status(), 200, "{uri}");
    }
}

#[tokio::test]
async fn catalogue_equals_that_of_the_program() {
    let home = tempfile::tempdir().expect("a directory");
    let hub = Daemon::start(config(home.path(), &[])).await.expect("starts");
    for (query, release) in [("", None), ("?release=7.2", Some("7.2")), ("?release=2.3.1", Some("2.3.1"))] {
        let release = release.map(|release| release.parse().expect("a release"));
        let listed = catalogue().iter().filter(|desc| release.is_none_or(|release| desc.exists_in(release)));
        let expected: Vec<Value> = listed.map(|desc| describe::event_json(desc, release)).collect();
        let (status, answer) = get_json(home.path(), &format!("/v1/catalogue{query}")).await;
        assert_eq!((status, answer), (200, json!(expected)), "{query}");
    }
    let answer = get(home.path(), "/v1/catalogue").await.into_body().collect().await.expect("a response");
    let text = String::from_utf8(answer.to_bytes().into()).expect("UTF-8");
    assert_eq!(text.lines().count(), catalogue().len() + 2, "one event a line");
    //  query              message
    let cases =
        [("?release=new", "release=new: "), ("?relase=7.2", "unknown parameter \"relase\"; known: release")];
    for (query, expected) in cases {
        let (status, answer) = get_json(home.path(), &format!("/v1/catalogue{query}")).await;
        let desc = answer["error"]["desc"].as_str().expect("a text");
        assert!(status == 400 && desc.starts_with(expected), "{desc}");
    }
    hub.stop().await.expect("stops");
}

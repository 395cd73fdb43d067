//! Logins: TLS, certificates of clients, and credentials with a JWT. Each works; a wrong one is a state that says what to do.

mod files;

use std::path::Path;

use qmp_testing::{NatsServer, wait_for};
use serde_json::Value;
use tempfile::TempDir;

use crate::hosts::{FleetHub, Host};
use crate::support::pty::OnTerminal;
use crate::support::{Process, directory, line_with, qmp};
use files::{Authority, Operator};

/// A server, the right lines of a rule and of `[[from]]`, and wrong ones with a part of the fault.
struct Case {
    server: NatsServer,
    /// With which `qmp tail --from` logs in.
    tail: Vec<String>,
    right: String,
    wrong: Vec<(&'static str, String, &'static str)>,
    home: TempDir,
}

/// A server whose certificate is of an authority of its own.
fn tls(program: &Path, is_mutual: bool) -> Case {
    let home = directory();
    let (ours, other) = (Authority::new(home.path(), "ours"), Authority::new(home.path(), "other"));
    let server = ours.certificate("server", &["127.0.0.1"]);
    let verify =
        if is_mutual { format!("ca_file: {:?}, verify: true, ", ours.path()) } else { String::new() };
    let config = format!("tls {{ {verify}cert_file: {server:?}, key_file: {server:?} }}");
    let server = NatsServer::start(program, &home.path().join("nats"), &config);
    let url = server.url();
    let trusting =
        |authority: &Authority| format!("nats = '{url}'\nca-file = '{}'", authority.path().display());
    let with = |certificate: &Path| format!("{}\ncertificate = '{}'", trusting(&ours), certificate.display());
    let ours_file = ours.path().display().to_string();
    let client = ours.certificate("client", &["node1"]);
    let (right, tail, wrong) = if is_mutual {
        let wrong = vec![
            ("no certificate", trusting(&ours), "certificate"),
            ("of another authority", with(&other.certificate("client", &["node1"])), "certificate"),
            ("missing file", with(&home.path().join("none.pem")), "none.pem"),
        ];
        (
            with(&client),
            vec!["--ca-file".into(), ours_file, "--certificate".into(), client.display().to_string()],
            wrong,
        )
    } else {
        let wrong = vec![
            ("the system's authorities", format!("nats = '{url}'"), "ca-file"),
            ("another authority", trusting(&other), "ca-file"),
            ("missing file", format!("nats = '{url}'\nca-file = '/nonexistent.pem'"), "/nonexistent.pem"),
        ];
        (trusting(&ours), vec!["--ca-file".into(), ours_file], wrong)
    };
    Case { server, tail, right, wrong, home }
}

/// A server of an operator, whose users log in with a file of credentials.
fn credentials(program: &Path) -> Case {
    let home = directory();
    let (ours, other) = (Operator::new(), Operator::new());
    let server = NatsServer::start(program, &home.path().join("nats"), &ours.config());
    let with = |path: &Path| format!("nats = '{}'\ncredentials-file = '{}'", server.url(), path.display());
    let right = ours.credentials(&home.path().join("ours.creds"));
    let garbage = home.path().join("garbage.creds");
    std::fs::write(&garbage, "garbage").expect("writes");
    let wrong = vec![
        (
            "of another operator",
            with(&other.credentials(&home.path().join("other.creds"))),
            "credentials-file",
        ),
        ("no credentials", format!("nats = '{}'", server.url()), "credentials-file"),
        ("missing file", with(&home.path().join("none.creds")), "cannot read the credentials in"),
        ("no file of credentials", with(&garbage), "garbage.creds"),
    ];
    let tail = vec!["--credentials-file".into(), right.display().to_string()];
    Case { tail, right: with(&right), wrong, home, server }
}

/// What `qmp status` shows on a terminal.
fn status(home: &TempDir) -> Value {
    let shown = OnTerminal::start(&mut qmp(home.path(), ["status", "--color", "never"]), 24).end();
    assert_eq!(shown.0, Some(0), "{shown:?}");
    shown.1.into()
}

fn check(case: Case) {
    let Case { server, tail, right, wrong, home } = case;
    // All at once: each needs a moment to connect.
    let refused: Vec<(Host, FleetHub)> = wrong
        .iter()
        .map(|(_, lines, _)| (Host::start("node9", &["web1"], lines), FleetHub::start(lines)))
        .collect();
    let (host, hub) = (Host::start("node1", &["web1"], &right), FleetHub::start(&right));
    host.execute("web1", "query-stop");
    hub.wait_for_records_of(&[&host]);
    let url = server.url();
    let tail: Vec<&str> = tail.iter().map(String::as_str).collect();
    let tail = Process::start(home.path(), &[&["tail", "--from", &url, "--since", "1h"], &tail[..]].concat());
    line_with(&tail.stdout, "\"event\":\"STOP\"");
    assert_eq!(tail.interrupt(), Some(0));
    for ((name, _, fault), (host, hub)) in wrong.iter().zip(refused) {
        let failing = wait_for(name, || {
            let source = hub.get("/v1/hub")["from"][0].clone();
            (source["state"] == "failing").then_some(source)
        });
        let says = |text: &Value, place: &str| {
            let text = text.as_str().unwrap_or_default();
            assert!(text.contains(fault), "{name}: {place}: {fault:?} in {text:?}");
        };
        says(&failing["problem"], "source");
        let health = hub.get("/v1/health");
        let problems = health["problems"].as_array().into_iter().flatten();
        let classes: Vec<&str> = problems.filter_map(|problem| problem["class"].as_str()).collect();
        assert_eq!(classes, ["FleetSource"], "{name}: {health}");
        says(&health["problems"].to_string().into(), "health");
        assert!(
            hub.get_text("/metrics").contains(&format!("qmp_fleet_reading{{source=\"{url}/qmp\"}} 0")),
            "{name}"
        );
        says(&status(&hub.home), "status of the fleet hub");
        // The host's records wait in its journal.
        host.execute("web1", "query-stop");
        let sink = wait_for(name, || {
            let sink = host.get("/v1/sinks")[0].clone();
            (sink["state"] == "retrying" && !sink["last_error"].is_null()).then_some(sink)
        });
        says(&sink["last_error"], "rule");
        let problem = host.get("/v1/health")["problems"][0].clone();
        assert_eq!(problem["class"], "RuleFailing", "{name}: {problem}");
        says(&problem["desc"], "health of the host");
        let metric = "qmp_sink_retrying{rule=\"fleet\",kind=\"nats\"} 1";
        assert!(host.get_text("/metrics").contains(metric), "{name}");
        says(&status(&host.home), "status of the host");
    }
}

#[test]
fn certificate_of_the_server_is_checked() {
    NatsServer::programs().iter().for_each(|program| check(tls(program, false)));
}

#[test]
fn certificate_of_the_client_is_sent() {
    NatsServer::programs().iter().for_each(|program| check(tls(program, true)));
}

#[test]
fn credentials_with_a_jwt_log_in() {
    NatsServer::programs().iter().for_each(|program| check(credentials(program)));
}

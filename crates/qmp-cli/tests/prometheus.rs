//! `dist/prometheus` and `dist/grafana`: Debian's Prometheus scrapes the demonstration and answers every expression of
//! the alerts and of the dashboard; their metrics, labels and links exist.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use qmp_testing::{NatsServer, wait_for};
use serde_json::Value;
use support::{Process, directory, lines};

#[test]
fn every_expression_is_answered_by_prometheus() {
    let Some(scraper) = prometheus_command() else { return };
    let home = directory();
    let hub = Demonstration::start(home.path());
    let metrics = get(&hub.address, "/metrics");
    let known = Metrics::of(&metrics);
    let prometheus = Prometheus::start(scraper, home.path(), &hub.address);
    // Two samples of every counter: a rate is answered.
    wait_for("two scrapes", || {
        let found = prometheus.query("count_over_time(qmp_build_info[1m]) >= 2");
        found["data"]["result"].as_array().is_some_and(|result| !result.is_empty()).then_some(())
    });
    let info = prometheus
        .query(r#"qmp_vm_attached * on (vm, instance) group_left (domain, uuid) qmp_vm_info{vm="web1"}"#);
    let labels = &info["data"]["result"][0]["metric"];
    let names = (labels["domain"].as_str(), labels["uuid"].as_str());
    assert_eq!(names, (Some("web1"), Some("00000000-0000-4000-8000-000000000001")), "{info}");

    let alerts = alerts().into_iter().map(|alert| (format!("alert {}", alert.name), alert.expr));
    let dashboard = dashboard();
    for (place, expr) in alerts.chain(expressions(&dashboard)) {
        known.assert_selectors(&place, &expr);
        let expr = with_variables(&expr);
        let found = prometheus.query(&expr);
        assert_eq!(found["status"], "success", "{place}: {expr}: {found}");
        // A comparison filters: no alert has to fire here.
        let is_filter = [" > ", " == ", " unless "].iter().any(|operator| expr.contains(operator));
        let is_answered = found["data"]["result"].as_array().is_some_and(|result| !result.is_empty());
        assert!(is_filter || is_answered, "{place}: nothing for {expr}");
    }
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        if let Some(query) = variable["query"]["query"].as_str() {
            let (selector, label) = query
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')'))
                .and_then(|inner| inner.rsplit_once(", "))
                .expect("label_values(SELECTOR, LABEL)");
            known.assert_selectors(query, selector);
            let found = prometheus.query(&format!("count by ({label}) ({})", with_variables(selector)));
            assert!(found["data"]["result"][0]["metric"][label].is_string(), "{query}: {found}");
        }
    }
}

#[test]
fn every_alert_has_a_firing_and_a_silent_case() {
    let cases = file("dist/prometheus/alerts_test.yml");
    for alert in alerts() {
        let named = format!("alertname: {}\n        exp_alerts:", alert.name);
        let (mut firing, mut silent) = (0, 0);
        for (at, _) in cases.match_indices(&named) {
            let is_silent = cases[at + named.len()..].starts_with(" []");
            *(if is_silent { &mut silent } else { &mut firing }) += 1;
        }
        assert!(firing > 0 && silent > 0, "{}: {firing} firing, {silent} silent cases", alert.name);
        let (page, anchor) = alert.runbook.split_once('#').expect("a section");
        let page = page.rsplit_once("/main/").expect("a page of the repository").1;
        assert!(anchors(&file(page)).contains(anchor), "{}: {page} has no section {anchor}", alert.name);
    }
    let Some(_) = prometheus_command() else { return };
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let directory = root().join("dist/prometheus");
        let output =
            Command::new("promtool").args(arguments).current_dir(directory).output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

/// The rules of Grafana's linter that concern a dashboard without a running Grafana, and the links to the hub's page.
#[test]
fn panels_are_described_and_link_to_the_page_with_the_same_times() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = text(&panel["title"]);
        assert!(!title.is_empty() && ids.insert(panel["id"].as_u64()), "{title}");
        if panel["type"] == "row" {
            continue;
        }
        assert!(text(&panel["description"]).ends_with('.'), "{title} has no description");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        for target in panel["targets"].as_array().expect("targets") {
            let expr = text(&target["expr"]);
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(expr.contains("job=~\"$job\",instance=~\"$instance\""), "{title}: {expr}");
            let has_fixed_range =
                expr.contains('[') && !expr.contains("[$__rate_interval]") && !expr.contains("[$__range]");
            assert!(!has_fixed_range, "{title}: {expr}");
        }
    }
    let mut links = Vec::new();
    collect_links(&dashboard, &mut links);
    let of_vms = links.iter().filter(|link| link.contains("/vm/")).count();
    assert!(links.len() > 10 && of_vms >= 2, "{links:?}");
    for link in links {
        let paths = ["${page:raw}/vm/${__field.labels.vm}", "${page:raw}/"];
        let (path, times) = link.split_once('?').expect("times");
        assert!(paths.contains(&path), "{link}");
        assert_eq!(times, "since=${__from:date:iso}&until=${__to:date:iso}");
    }
    // `writeLocation` of the page.
    let location = file("crates/qmp-http/web/src/location.ts");
    for expected in ["parameters.get(\"since\")", "parameters.get(\"until\")", r"^\/(vm|event)\/([^/]+)$"] {
        assert!(location.contains(expected), "{expected}");
    }
}

/// A hub with emulated machines, a rule, relays and a stream of other hosts, so that every metric has samples.
struct Demonstration {
    address: String,
    _hub: Process,
    _nats: NatsServer,
}

impl Demonstration {
    fn start(home: &Path) -> Self {
        let config = home.join("hub.toml");
        let log = home.join("log.jsonl");
        let program = NatsServer::programs().first().expect("Debian's nats-server");
        let nats = NatsServer::start(program, &home.join("nats"), "");
        let text = format!(
            "[[rule]]\nname = 'log'\nfile = '{}'\n\n[[from]]\nnats = '{}'\n",
            log.display(),
            nats.url()
        );
        std::fs::write(&config, text).expect("writes");
        let (config, relays) = (config.display().to_string(), home.join("relays").display().to_string());
        let arguments =
            ["serve", "--demo=9", "--demo-history", "1h", "--config", &config, "--relay", &relays];
        let hub = Process::start(home, &arguments);
        let line = hub.wait_for("http://");
        let address = line.split("http://").nth(1).expect("an address").trim_end_matches('/').to_owned();
        wait_for("an event of a machine", || {
            get(&address, "/metrics").contains("\nqmp_events_total{").then_some(())
        });
        Self { address, _hub: hub, _nats: nats }
    }
}

/// Metrics with the labels of their samples.
struct Metrics(BTreeMap<String, BTreeSet<String>>);

impl Metrics {
    fn of(text: &str) -> Self {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let labels = found.entry(name.to_owned()).or_default();
            labels.extend(["job", "instance"].map(str::to_owned));
            labels.extend(label_names(line));
        }
        Self(found)
    }

    /// Asserts that each metric of an expression exists, with the labels of its selector, and each label that it groups by.
    fn assert_selectors(&self, place: &str, expr: &str) {
        for word in ["by (", "on (", "group_left ("] {
            for list in expr.split(word).skip(1).filter_map(|rest| rest.split(')').next()) {
                for label in list.split(',').map(str::trim) {
                    let exists = self.0.values().any(|labels| labels.contains(label));
                    assert!(exists, "{place}: no metric has a label {label}");
                }
            }
        }
        let names = expr.match_indices("qmp_").filter(|(at, _)| {
            !expr[..*at].ends_with(|before: char| before.is_alphanumeric() || "_-\"".contains(before))
        });
        for (at, _) in names {
            let rest = &expr[at..];
            let end = rest
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .unwrap_or(rest.len());
            let labels =
                self.0.get(&rest[..end]).unwrap_or_else(|| panic!("{place}: no metric {}", &rest[..end]));
            let selector =
                rest[end..].strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
            for label in label_names(selector) {
                assert!(labels.contains(&label), "{place}: {} has no label {label}", &rest[..end]);
            }
        }
    }
}

/// The names before `="`, `=~"`, `!="` and `!~"`.
fn label_names(text: &str) -> Vec<String> {
    let before_quotes = text.split('"').step_by(2);
    let names = before_quotes.filter_map(|part| part.strip_suffix('=').or(part.strip_suffix('~')));
    names
        .map(|part| part.trim_end_matches(['=', '!', '~']))
        .map(|part| {
            part.rsplit(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .next()
                .unwrap_or(part)
        })
        .map(str::to_owned)
        .collect()
}

/// A running Prometheus, ended on drop.
struct Prometheus {
    address: String,
    _process: Process,
}

impl Prometheus {
    fn start(mut command: Command, home: &Path, target: &str) -> Self {
        let config = home.join("prometheus.yml");
        let rules = root().join("dist/prometheus/alerts.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: ['{}']\nscrape_configs:\n  \
             - job_name: qmp-events\n    static_configs:\n      - targets: ['{target}']\n",
            rules.display()
        );
        std::fs::write(&config, text).expect("writes");
        let mut child = command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", home.join("tsdb").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it ran before");
        let stdout = lines(child.stdout.take().expect("a pipe"));
        let stderr = lines(child.stderr.take().expect("a pipe"));
        let process = Process::of(child, stdout, stderr);
        let line = process.wait_for("msg=\"Listening on\" address=");
        let address =
            line.split("address=").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
        // Before that, queries get 503.
        process.wait_for("Server is ready to receive web requests");
        Self { address: address.to_owned(), _process: process }
    }

    fn query(&self, expr: &str) -> Value {
        let encoded: String = expr.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let reply = get(&self.address, &format!("/api/v1/query?query={encoded}"));
        serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{error}: {reply}"))
    }
}

/// Prometheus' program; `None` if it is not installed, unless `CI` is set.
fn prometheus_command() -> Option<Command> {
    let is_installed = Command::new("prometheus").arg("--version").output().is_ok();
    assert!(is_installed || std::env::var_os("CI").is_none(), "install the package prometheus");
    if !is_installed {
        eprintln!("not tried: prometheus is missing; Debian has it");
    }
    is_installed.then(|| Command::new("prometheus"))
}

/// The body of the reply to a GET.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("writes");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    reply.split_once("\r\n\r\n").expect("a body").1.to_owned()
}

struct Alert {
    name: String,
    expr: String,
    runbook: String,
}

/// The alerts of the file, which has one line for each key.
fn alerts() -> Vec<Alert> {
    let text = file("dist/prometheus/alerts.yml");
    let alerts: Vec<Alert> = text
        .split("- alert: ")
        .skip(1)
        .map(|block| {
            let value = |key: &str| {
                let line = block.lines().find_map(|line| line.trim().strip_prefix(key));
                line.unwrap_or_else(|| panic!("no {key} {block}")).to_owned()
            };
            let name = block.lines().next().unwrap_or_default().to_owned();
            Alert { name, expr: value("expr: "), runbook: value("runbook_url: ") }
        })
        .collect();
    assert!(alerts.len() > 10);
    alerts
}

fn dashboard() -> Value {
    serde_json::from_str(&file("dist/grafana/qmp.json")).expect("JSON")
}

/// Every expression of the dashboard, with its place.
fn expressions(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(|target| {
            (panel["title"].to_string(), target["expr"].as_str().expect("an expression").to_owned())
        })
    });
    let annotations = dashboard["annotations"]["list"].as_array().expect("annotations").iter();
    let annotations = annotations
        .map(|found| (found["name"].to_string(), found["expr"].as_str().expect("an expression").to_owned()));
    targets.chain(annotations).collect()
}

/// An expression with the values that Grafana inserts.
fn with_variables(expr: &str) -> String {
    let values =
        [("$__rate_interval", "10s"), ("$__range", "1m"), ("$job", ".*"), ("$instance", ".*"), ("$vm", ".*")];
    values.iter().fold(expr.to_owned(), |expr, (name, value)| expr.replace(name, value))
}

/// The addresses of all links.
fn collect_links(value: &Value, links: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            links.extend(members.get("url").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect_links(member, links));
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect_links(element, links)),
        _ => {}
    }
}

/// The anchors of the headings of a page, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings =
        page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
    headings
        .map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

fn file(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

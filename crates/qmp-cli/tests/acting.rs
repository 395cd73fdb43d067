//! Rules of the program: deliveries survive a kill of the hub in the middle of a storm.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Content;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;
use qmp_fleet::{ServerConfig, StreamReader, StreamStart};
use qmp_testing::{MonitorThread, NatsServer, respond, wait_for};
use serde_json::Value;
use support::{Process, directory, event, run};

/// Events of one storm; a process is run for each of them.
const STORM: u64 = 150;

/// Deliveries in order, with their ids.
type Deliveries = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A monitor that reports a storm of events at the command `storm`.
fn storm_monitor(home: &Path) -> MonitorThread {
    MonitorThread::start_with(home.join("web1.sock"), |command, request| match command {
        "storm" => {
            let storm =
                (0..STORM).map(|number| event("RTC_CHANGE", Some(&format!("{{\"offset\": {number}}}"))));
            storm.chain(["{\"return\": {}}".to_owned()]).collect()
        }
        _ => respond(command, request),
    })
}

/// Receives webhooks at a free port: the id and body of each request.
fn webhooks() -> (String, Deliveries) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let (address, deliveries) =
        (listener.local_addr().expect("an address").to_string(), Deliveries::default());
    let all = Arc::clone(&deliveries);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, all) = (stream.expect("a client"), Arc::clone(&all));
            std::thread::spawn(move || {
                let mut input = Vec::new();
                while let Some((id, body)) = request(&mut stream, &mut input) {
                    all.lock().expect("no panic").push((id, body));
                    if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, deliveries)
}

fn request(stream: &mut std::net::TcpStream, input: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8(input[..end].to_vec()).expect("text").to_lowercase();
            let header = |name: &str| {
                head.lines()
                    .find_map(|line| Some(line.strip_prefix(name)?.trim_start_matches(':').trim().to_owned()))
            };
            let whole =
                end + 4 + header("content-length").expect("a length").parse::<usize>().expect("a number");
            if input.len() >= whole {
                let body = input[end + 4..whole].to_vec();
                input.drain(..whole);
                return Some((header("webhook-id").unwrap_or_default(), body));
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(bytes) => input.extend_from_slice(&buffer[..bytes]),
        }
    }
}

/// Receives entries as journald does: the record in each.
fn entries(path: &Path) -> Deliveries {
    let socket = UnixDatagram::bind(path).expect("binds");
    let deliveries = Deliveries::default();
    let all = Arc::clone(&deliveries);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(bytes) = socket.recv(&mut buffer) {
            let text = String::from_utf8(buffer[..bytes].to_vec()).expect("text");
            let line = text.lines().find_map(|line| line.strip_prefix("QMP_RECORD=")).expect("a record");
            all.lock().expect("no panic").push((String::new(), line.as_bytes().to_vec()));
        }
    });
    deliveries
}

/// The complete lines of a file.
fn file(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read(path).unwrap_or_default();
    let whole = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    whole.map(|line| line[..line.len() - 1].to_vec()).collect()
}

fn bodies(deliveries: &Deliveries) -> Vec<Vec<u8>> {
    deliveries.lock().expect("no panic").iter().map(|(_, body)| body.clone()).collect()
}

/// The log records of OTLP requests: the id and the offset of each, as a line of JSON.
fn log_records(requests: &Deliveries) -> Vec<(String, Vec<u8>)> {
    let attribute = |record: &LogRecord, name: &str| {
        let found = record.attributes.iter().find(|attribute| attribute.key == name);
        found.and_then(|attribute| attribute.value.clone()?.value).expect("an attribute")
    };
    let mut found = Vec::new();
    for body in bodies(requests) {
        let mut message = Vec::new();
        GzDecoder::new(&*body).read_to_end(&mut message).expect("gzip");
        let request = ExportLogsServiceRequest::decode(&*message).expect("a request");
        let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
        for record in scopes.flat_map(|scope| &scope.log_records) {
            let Content::StringValue(id) = attribute(record, "log.record.uid") else { panic!("{record:?}") };
            let Content::IntValue(offset) = attribute(record, "qmp.offset") else { panic!("{record:?}") };
            found.push((id, format!("{{\"offset\": {offset}}}").into_bytes()));
        }
    }
    found
}

/// The offsets of records in the order of their first delivery, and the number of repetitions.
fn firsts(records: &[Vec<u8>]) -> (Vec<u64>, usize) {
    let mut offsets = Vec::new();
    for record in records {
        let record: Value = serde_json::from_slice(record).expect("whole JSON");
        let offset = record["offset"].as_u64().or(record["data"]["offset"].as_u64()).expect("an offset");
        if !offsets.contains(&offset) {
            offsets.push(offset);
        }
    }
    let again = records.len() - offsets.len();
    (offsets, again)
}

/// The payloads of the messages in the stream `qmp`; none before the stream exists.
fn published(server: &NatsServer) -> Vec<Vec<u8>> {
    let server = ServerConfig {
        addresses: vec![server.url().parse().expect("an address")],
        credentials_file: None,
        ca_file: None,
        certificate: None,
        name: "test".into(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut reader = StreamReader::new(server, "qmp", Vec::new(), StreamStart::After(0));
        let mut payloads = Vec::new();
        while let Ok(message) = reader.next().await {
            payloads.push(message.payload.to_vec());
            if message.pending == 0 {
                break;
            }
        }
        payloads
    })
}

/// Every kind of sink gets every record of two storms although the hub is killed three times; a repeated delivery has the
/// same body and id.
#[test]
fn killed_hub_loses_nothing_and_repeats_with_the_same_id() {
    let home = directory();
    let at = |name: &str| home.path().join(name);
    let vm = storm_monitor(home.path());
    let page = at("page");
    fs::write(&page, "#!/bin/sh\ncat >>\"$1\"\n").expect("writes");
    fs::set_permissions(&page, fs::Permissions::from_mode(0o755)).expect("sets");
    let (address, hooks) = webhooks();
    let (collector, logs) = webhooks();
    let journald = entries(&at("journald"));
    let nats = NatsServer::programs().first().map(|program| NatsServer::start(program, &at("nats"), ""));
    let nats_rule = nats
        .as_ref()
        .map(|nats| format!("[[rule]]\nname = 'nats'\nevent = 'RTC_CHANGE'\nnats = '{}'\n", nats.url()));
    let config = format!(
        "[[rule]]\nname = 'run'\nevent = 'RTC_CHANGE'\nrun = ['{}', '{}']\n\
         [[rule]]\nname = 'hook'\nevent = 'RTC_CHANGE'\nwebhook = 'http://{address}/'\n\
         [[rule]]\nname = 'logs'\nevent = 'RTC_CHANGE'\notlp = 'http://{collector}'\n\
         [[rule]]\nname = 'journal'\nevent = 'RTC_CHANGE'\njournald = '{}'\n\
         [[rule]]\nname = 'file'\nevent = 'RTC_CHANGE'\nfile = '{}'\nmax-size = '16KiB'\nkeep = 99\n{}",
        page.display(),
        at("ran").display(),
        at("journald").display(),
        at("log").display(),
        nats_rule.unwrap_or_default(),
    );
    fs::write(at("hub.toml"), config).expect("writes");
    let hub_toml = at("hub.toml").display().to_string();
    let attach = format!("web1={}", vm.address());
    let start = || {
        let hub = Process::start(
            home.path(),
            &["serve", "--no-findings", "--config", &hub_toml, "--attach", &attach],
        );
        hub.wait_for("web1: attached");
        hub
    };
    let log = || {
        let older = (1..100).rev().map(|index| at(&format!("log.{index}"))).chain([at("log")]);
        older.flat_map(|path| file(&path)).collect::<Vec<_>>()
    };
    let counts = || [file(&at("ran")).len(), bodies(&hooks).len(), bodies(&journald).len(), log().len()];

    for kill in 0..3 {
        let mut hub = start();
        let before = counts();
        if kill < 2 {
            assert_eq!(run(home.path(), &["exec", "web1", "storm"]).code, Some(0));
        }
        // Commands are slowest: each kill is in the middle of their storm; the other sinks are as far or further.
        wait_for("a delivery", || (counts()[0] > before[0] + 20).then_some(()));
        hub.signal("KILL");
        hub.end();
    }
    let hub = start();
    let wanted = run(home.path(), &["log", "--event", "RTC_CHANGE", "--json"]);
    let wanted: Vec<Vec<u8>> = wanted.stdout.lines().map(|line| line.as_bytes().to_vec()).collect();
    assert_eq!(wanted.len() as u64, 2 * STORM);
    let (offsets, _) = firsts(&wanted);
    let deliveries = |kind: &str| match kind {
        "run" => file(&at("ran")),
        "webhook" => bodies(&hooks),
        "otlp" => log_records(&logs).into_iter().map(|(_, offset)| offset).collect(),
        "journald" => bodies(&journald),
        "file" => log(),
        "nats" => nats.as_ref().map(published).unwrap_or_default(),
        kind => panic!("no rule of this test has the action {kind}"),
    };
    let kinds = qmp_sinks::KINDS.iter().map(|kind| kind.key());
    for kind in kinds.filter(|kind| *kind != "nats" || nats.is_some()) {
        wait_for(kind, || (firsts(&deliveries(kind)).0.len() == offsets.len()).then_some(()));
        let (found, again) = firsts(&deliveries(kind));
        assert_eq!(found, offsets, "{kind}: in order, none missing");
        println!("{kind}: {again} repeated");
    }
    for (kind, lines) in [("run", file(&at("ran"))), ("journald", bodies(&journald)), ("file", log())] {
        assert!(lines.iter().all(|line| wanted.contains(line)), "{kind}: the lines of the journal");
    }
    let posted = hooks.lock().expect("no panic").clone();
    for (kind, deliveries) in [("webhook", posted), ("otlp", log_records(&logs))] {
        let mut by_id: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (id, body) in deliveries {
            let first = by_id.entry(id).or_insert_with(|| body.clone());
            assert_eq!(*first, body, "{kind}: the same id, the same body");
        }
        assert_eq!(by_id.len(), offsets.len(), "{kind}: each record has one id");
    }
    assert_eq!(hub.interrupt(), Some(0));
}

/// The hub logs warnings about rules when it starts, and does not start with an invalid rule.
#[test]
fn rule_is_checked_before_the_hub_starts() {
    let home = directory();
    let vm = MonitorThread::start(home.path().join("web1.sock"));
    let path = home.path().join("hub.toml");
    let (config, attach) = (path.display().to_string(), format!("web1={}", vm.address()));
    let arguments = ["serve", "--config", &config, "--attach", &attach];
    fs::write(&path, "[[rule]]\nname = 'a'\nevnt = 'STOP'\nrun = '/bin/true'\n").expect("writes");
    let refused = run(home.path(), &arguments);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("hub.toml:3: unknown key \"evnt\"; did you mean \"event\"?"),
        "{refused:?}"
    );
    fs::write(&path, "[[rule]]\nname = 'a'\nevent = 'SHUTDWON'\nrun = '/bin/true'\n").expect("writes");
    let hub = Process::start(home.path(), &arguments);
    hub.wait_for("unknown event SHUTDWON; did you mean SHUTDOWN?");
    hub.wait_for("web1: attached");
    assert_eq!(hub.interrupt(), Some(0));
}

//! The schema of the configuration: the reader, the JSON Schema, the page and the example agree.

use std::collections::BTreeSet;
use std::path::Path;

use qmp_daemon::{ConfigFile, config_example, config_reference, config_schema};
use qmp_sinks::{KINDS, SinkKind};
use serde_json::Value;

/// Tables with the keys that each must have.
const TABLES: &[(&str, &str, &str)] = &[
    // definition, document, a valid table
    ("", "", ""),
    ("http", "[[http]]\n", "address = '/h'\n"),
    ("retention", "[retention]\n", ""),
    ("vm", "[[vm]]\n", "name = 'a'\naddress = '/a'\n"),
    ("relay", "[[vm]]\nname = 'a'\naddress = '/a'\n[[vm.relay]]\n", "path = '/r'\n"),
    ("discover", "[[discover]]\n", "processes = true\n"),
    ("rule", "[[rule]]\n", "name = 'r'\njournald = true\n"),
];

#[test]
fn every_key_is_read_and_checked_by_schema() {
    let schema = schema();
    for &(definition, document, valid) in TABLES {
        assert_eq!(refused_by(&schema, &format!("{document}{valid}")), (false, false), "{definition}");
        let table = if definition.is_empty() { &schema } else { &schema["$defs"][definition] };
        for (key, property) in table["properties"].as_object().expect("keys") {
            assert!(property["description"].is_string(), "{key}");
            // No key has the form of a date.
            let is_other = |line: &&str| !line.starts_with(&format!("{key} ="));
            let with_owner = if definition == "rule" { rule_with(key) } else { None };
            let valid = with_owner.as_deref().unwrap_or(valid);
            let rest: Vec<&str> = valid.lines().filter(is_other).collect();
            let text = format!("{document}{}\n{key} = 2026-01-02", rest.join("\n"));
            let line = text.lines().count();
            let problems = problems(&text).unwrap_or_else(|| panic!("the reader does not read {text}"));
            let is_named = problems.lines().any(|problem| problem.starts_with(&format!("hub.toml:{line}: ")));
            assert!(is_named && !problems.contains("unknown key"), "{text}\n{problems}");
            assert!(!violations(&schema, &text).is_empty(), "the schema accepts {text}");
        }
    }
}

/// The rule in which a key of a kind of sink is read: an option needs the action, and another action is refused.
fn rule_with(key: &str) -> Option<String> {
    let is_of =
        |kind: &&&SinkKind| kind.key() == key || kind.variant.options.iter().any(|option| option.name == key);
    let kind = KINDS.iter().find(is_of)?;
    Some(format!("name = 'r'\n{} = {}\n", kind.key(), kind.variant.key.example))
}

/// A value that a key has by default is the same as an absent key.
#[test]
fn default_of_schema_is_that_of_reader() {
    let bases = [
        ("", ""),
        ("relay", "[[vm]]\nname = 'a'\naddress = '/a'\n[[vm.relay]]\npath = '/r'\n"),
        ("discover", "[[discover]]\nlisten = '/l'\n"),
        ("discover", "[[discover]]\nlibvirt = 'qemu:///system'\n"),
        ("rule", "[[rule]]\nname = 'r'\nrun = '/bin/true'\n"),
        ("rule", "[[rule]]\nname = 'r'\nwebhook = 'http://x/'\n"),
        ("rule", "[[rule]]\nname = 'r'\notlp = 'http://x/'\n"),
        ("rule", "[[rule]]\nname = 'r'\nnats = 'nats://x'\n"),
        ("from", "[[from]]\nnats = 'nats://x'\n"),
        ("rule", "[[rule]]\nname = 'r'\nfile = '/f'\nmax-size = '1MiB'\n"),
    ];
    let schema = schema();
    let mut compared = BTreeSet::new();
    for (definition, base) in bases {
        let table = if definition.is_empty() { &schema } else { &schema["$defs"][definition] };
        for (key, property) in table["properties"].as_object().expect("keys") {
            let Some(default) = property.get("default") else { continue };
            let text = format!("{base}{key} = {default}\n");
            // An option of another action.
            let Ok(with) = parse(&text) else { continue };
            let without = parse(base).expect("a good file");
            assert_eq!(shown(&with), shown(&without), "{text}");
            compared.insert((definition, key.clone()));
        }
    }
    for &(definition, ..) in TABLES {
        let table = if definition.is_empty() { &schema } else { &schema["$defs"][definition] };
        for (key, property) in table["properties"].as_object().expect("keys") {
            let has_default = property.get("default").is_some();
            assert_eq!(compared.contains(&(definition, key.clone())), has_default, "{definition} {key}");
        }
    }
}

fn shown(file: &ConfigFile) -> String {
    let rules =
        file.rules().iter().map(|rule| format!("{:?} {:?} {}", rule.action, rule.at_most, rule.from_start));
    // The text of a rule, and the values that are absent until the daemon replaces them, differ.
    let debug = format!("{file:?}").replace("Some(true)", "None").replace("Some(Span(30s))", "None");
    let without_rules = debug.split("rules: ").next().unwrap_or_default().to_owned();
    without_rules + &rules.collect::<Vec<_>>().join("\n")
}

#[test]
fn valid_file_is_accepted_by_both() {
    let schema = schema();
    let examples = [
        "http = ['/h', { address = 'tcp:0.0.0.0:8443', certificate = '/c', key = '/k', token-file = '/t' }]",
        "http = 'localhost:1'\nsilent-after = 'off'",
        "retention = {max-age = '1w', max-size = '64MB'}",
        "silent-after = '1m 30.5 s'",
        "[[vm]]\nname = 'a'\naddress = 'fd:3'\nrelay = ['/r', { path = '/s', mode = '0666' }]",
        "[[vm]]\nname = 'a'\naddress = 'tcp:[::1]:4444,server=on'\n[[vm.relay]]\npath = '/r'\nrole = 'operate'\nallow = ['stop']",
        "[[discover]]\nlisten = 'tcp:127.0.0.1:4'\nmode = 0o666",
        "[[discover]]\nlibvirt = 'unix:/run/b.sock'\ncommands = true",
        "[[discover]]\nlayout = 'kata'\nroot = '/srv'\nname = 'x-{stem}'",
        "[[rule]]\nname = 'r'\nkind = ['event', 'detached']\nevent = 'NO_SUCH_EVENT'\nfile = '/f'\nmax-size = 4096\nkeep = 7",
        "[[rule]]\nname = 'r'\nat-most = '5 per hour'\nrun = ['/bin/true', '']\nfrom = 'start'",
        "[[rule]]\nname = 'r'\nwhere = ['info.type=hyper-v', 'a.0=']\nwebhook = 'https://[::1]:8/x?y=z'\ntimeout = '5s'",
        "[[rule]]\nname = 'r'\njournald = '/nonexistent/socket'",
        "[[rule]]\nname = 'r'\nnats = ['nats://a', 'tls://b:4222']\nstream = 'site-1'\nreplicas = 3\nstream-max-bytes = 1048576",
    ];
    for text in examples.map(str::to_owned).into_iter().chain(documented()) {
        assert_eq!(problems(&text), None, "{text}");
        assert_eq!(violations(&schema, &text), [""; 0], "{text}");
    }
}

#[test]
fn invalid_file_is_refused_by_both() {
    let schema = schema();
    let vm = "[[vm]]\nname = 'a'\naddress = '/a'\n";
    let rule = "[[rule]]\nname = 'r'\n";
    let cases = [
        "jurnal = '/j'".to_owned(),
        "journal = 5".into(),
        "journal = ''".into(),
        "silent-after = '30'".into(),
        "silent-after = 'never'".into(),
        "http = 'x'".into(),
        "http = 'ftp://x'".into(),
        "http = {}".into(),
        "http = { address = 'localhost:1', certificate = '/c' }".into(),
        "http = { address = 'localhost:1', key = '/c' }".into(),
        "http = { address = 'localhost:1', client-ca = '/c' }".into(),
        "[retention]\nmax-age = 90".into(),
        "[retention]\nmax-size = 5".into(),
        "[retention]\nmax-size = '5 floppies'".into(),
        "[vm]\nname = 'a'".into(),
        "[[vm]]\nname = '-a'\naddress = '/a'".into(),
        "[[vm]]\nname = 'a'\naddress = 'a'".into(),
        "[[vm]]\naddress = '/a'".into(),
        "[[vm]]\nname = 'a'".into(),
        format!("{vm}relay = {{}}"),
        format!("{vm}relay = {{ path = '/r', role = 'root' }}"),
        format!("{vm}relay = {{ path = '/r', allow = ['stop'] }}"),
        format!("{vm}relay = {{ path = '/r', role = 'operate', allow = [] }}"),
        format!("{vm}relay = {{ path = '/r', mode = 0o4755 }}"),
        format!("{vm}relay = {{ path = '/r', mode = '999' }}"),
        format!("{vm}relay = {{ path = '/r', uids = [-1] }}"),
        "[[discover]]\n".into(),
        "[[discover]]\nprocesses = true\nglob = '/a/*'".into(),
        "[[discover]]\nprocesses = false".into(),
        "[[discover]]\nprocesses = true\nroot = '/a'".into(),
        "[[discover]]\nprocesses = true\nmode = 0o600".into(),
        "[[discover]]\nlayout = 'virt'".into(),
        "[[discover]]\nprocesses = true\nname = 'x'".into(),
        "[[discover]]\nprocesses = true\nonly = []".into(),
        rule.to_owned(),
        "[[rule]]\nname = 'a b'\nfile = '/f'".into(),
        format!("{rule}file = '/f'\njournald = true"),
        format!("{rule}file = '/f'\nsecret-file = '/s'"),
        format!("{rule}file = '/f'\ntimeout = '3s'"),
        format!("{rule}file = '/f'\nat-most = '1 per 1h'"),
        format!("{rule}file = '/f'\nkeep = 3"),
        format!("{rule}file = '/f'\nmax-size = 4095"),
        format!("{rule}file = '/f'\nevent = []"),
        format!("{rule}file = '/f'\nkind = 'evnt'"),
        format!("{rule}file = '/f'\nwhere = 'x'"),
        format!("{rule}file = '/f'\nfrom = 'then'"),
        format!("{rule}run = []"),
        format!("{rule}run = '/bin/true'\nattempts = 0"),
        format!("{rule}run = '/bin/true'\nat-most = 'x'"),
        format!("{rule}webhook = 'ftp://x/'"),
        format!("{rule}webhook = 'https://a:b@x/'"),
        format!("{rule}webhook = 'http://x/'\nbody = ''"),
        format!("{rule}webhook = 'http://x/'\nheaders = 'x'"),
        format!("{rule}file = '/f'\nbody = 'x'"),
        format!("{rule}otlp = 'ftp://x/'"),
        format!("{rule}otlp = 'http://x/'\nbody = 'x'"),
        format!("{rule}journald = false"),
        format!("{rule}nats = 'http://x'"),
        format!("{rule}nats = 'nats://x'\nstream = 'a.b'"),
        format!("{rule}nats = 'nats://x'\nreplicas = 6"),
        format!("{rule}nats = 'nats://x'\nat-most = '1 per 1h'"),
    ];
    for text in cases {
        assert_eq!(refused_by(&schema, &text), (true, true), "by the reader, by the schema: {text}");
    }
}

/// The pattern of a span or a size accepts every unit; the limits are in words.
#[test]
fn limits_of_spans_and_sizes_are_in_descriptions() {
    let schema = schema();
    let cases = [
        (&schema, "silent-after", "span from 1 s to 1 d"),
        (&schema["$defs"]["vm"], "silent-after", "span from 1 s to 1 d"),
        (&schema["$defs"]["retention"], "max-age", "span, at least 1 h"),
        (&schema["$defs"]["retention"], "max-size", "size, at least 16 MiB"),
        (&schema["$defs"]["rule"], "max-size", "size, at least 4 KiB"),
    ];
    for (table, key, limits) in cases {
        let description = table["properties"][key]["description"].as_str().expect("a description");
        assert!(description.contains(limits), "{key}: {description}");
    }
}

#[test]
fn page_is_that_of_schema() {
    compare("docs/configuration.md", &config_reference());
}

#[test]
fn example_file_is_that_of_schema() {
    compare("dist/hub.toml", &config_example());
}

/// Compares a file with its text; writes it if `QMP_UPDATE_PAGES` is set.
fn compare(path: &str, expected: &str) {
    let file = root().join(path);
    if std::env::var_os("QMP_UPDATE_PAGES").is_some() {
        std::fs::write(&file, expected).expect("writes");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "{path} differs from the schema: run the test with QMP_UPDATE_PAGES=1, which writes it"
    );
}

/// The configurations in the manual, and the shipped one, also with its comments enabled.
fn documented() -> Vec<String> {
    let shipped = std::fs::read_to_string(root().join("dist/hub.toml")).expect("a file");
    let enabled: String = shipped.lines().map(|line| uncommented(line) + "\n").collect();
    let first_http = "http = [\"unix:/run/qmp-events/hub.sock\"]\n";
    let mut found = vec![enabled.replacen(first_http, "", 1), shipped];
    for page in
        ["docs/operating.md", "docs/configuration.md", "docs/findings.md", "docs/journal.md", "README.md"]
    {
        let text = std::fs::read_to_string(root().join(page)).expect("a page");
        let blocks =
            text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest).to_owned());
        found.extend(blocks);
    }
    assert!(found.len() > 10, "{} examples", found.len());
    found
}

/// A line without its leading `#`; comments in prose have a blank after it.
fn uncommented(line: &str) -> String {
    match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn schema() -> Value {
    serde_json::from_str(&config_schema()).expect("JSON")
}

fn parse(text: &str) -> Result<ConfigFile, String> {
    ConfigFile::parse(text, Path::new("hub.toml")).map_err(|error| error.to_string())
}

fn problems(text: &str) -> Option<String> {
    parse(text).err()
}

fn violations(schema: &Value, text: &str) -> Vec<String> {
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}: {text}"));
    crate::support::schema::check(schema, schema, &serde_json::to_value(table).expect("JSON"), "")
}

/// Whether the reader and the schema refuse a file.
fn refused_by(schema: &Value, text: &str) -> (bool, bool) {
    (problems(text).is_some(), !violations(schema, text).is_empty())
}

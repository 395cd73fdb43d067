use std::path::Path;

use crate::config::ConfigFile;

const WHOLE: &str = r#"
    [[rule]]
    name = "panic-mail"
    event = ["GUEST_PANICKED", "BLOCK_*"]
    finding = "why-ended"
    kind = "detached"
    vm = "web*"
    where = ["action=poweroff", "info.type=hyper-v"]
    at-most = "1 per 10m"
    run = ["/bin/true", "--urgent", ""]
    timeout = "30s"
    attempts = 3

    [[rule]]
    name = "hook"
    webhook = "https://example.org/hook?token=geheim"
    timeout = "5s"

    [[rule]]
    name = "log"
    from = "start"
    file = "/tmp/events.jsonl"
    max-size = "100MiB"
    max-age = "1d"
    keep = 7

    [[rule]]
    name = "logs"
    otlp = "https://otlp.example.org"
    headers = ["Authorization: Bearer geheim"]

    [[rule]]
    name = "journal"
    journald = "/nonexistent/socket"

    [[rule]]
    name = "fleet"
    nats = ["nats://me:geheim@127.0.0.1:4222", "tls://n2.example.org"]
    replicas = 3
    stream-max-age = "7d"
    stream-max-bytes = "100GiB"
    window = 256
    monitoring = "http://127.0.0.1:8222"
"#;

#[test]
fn rule_of_each_kind_is_parsed() {
    let file = ConfigFile::parse(WHOLE, Path::new("hub.toml")).expect("a good file");
    let shown: Vec<String> = file
        .rules()
        .iter()
        .map(|rule| format!("{} {} {} {}", rule.name(), rule.kind, rule.action.target(), rule.from_start))
        .collect();
    let expected = [
        "panic-mail run /bin/true false",
        "hook webhook https://example.org/… false",
        "log file /tmp/events.jsonl true",
        "logs otlp https://otlp.example.org/… false",
        "journal journald /nonexistent/socket false",
        "fleet nats nats://127.0.0.1:4222, tls://n2.example.org stream qmp false",
    ];
    assert_eq!(shown, expected);
    assert_eq!(file.rules()[0].action.attempts(), 3);
    let warnings: Vec<String> = file.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["hub.toml:34: there is no /nonexistent/socket: entries wait until journald runs"]);
}

#[test]
fn rule_on_states_selects_its_own_alerts() {
    let text =
        "[[rule]]\nname = 'r'\nstate = ['paused', 'pased']\nfor = '5min'\nvm = ['*', '!x']\nfile = '/f'";
    let file = ConfigFile::parse(text, Path::new("hub.toml")).expect("a good file");
    let rule = &file.rules()[0];
    let states = rule.states.as_ref().expect("states");
    assert_eq!((&*states.states[0], states.lasts.as_secs()), ("paused", 300));
    assert!(states.vms.matches("a") && !states.vms.matches("x"));
    assert!(rule.selection.finding.as_ref().is_some_and(|kinds| kinds.matches("alert")));
    let warnings: Vec<String> = file.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["hub.toml:3: unknown state pased; did you mean paused?"]);
}

#[test]
fn archive_takes_every_record_whatever_its_action() {
    //  keys of the rule                          whether only a silence that names it applies
    let cases = [
        ("journald = '/s'", true),
        ("otlp = 'http://h'\nvm = 'web*'", true),
        ("file = '/f'\nevent = 'STOP'", true),
        ("journald = '/s'\nkind = 'finding'", false),
        ("otlp = 'http://h'\nevent = 'STOP'", false),
        ("run = '/bin/true'\nfinding = 'why-*'", false),
        ("run = '/bin/true'\nwhere = 'action=pause'", false),
        ("run = '/bin/true'\nat-most = '1 per 1h'", false),
        ("run = '/bin/true'\nstate = 'paused'", false),
    ];
    for (keys, expected) in cases {
        let text = format!("[[rule]]\nname = 'r'\n{keys}\n");
        let file = ConfigFile::parse(&text, Path::new("hub.toml")).expect(keys);
        assert_eq!(file.rules()[0].takes_every_record, expected, "{keys}");
    }
}

#[test]
fn number_of_rules_is_limited() {
    let text = |count: usize| -> String {
        (0..count).map(|number| format!("[[rule]]\nname = 'r{number}'\nfile = '/f{number}'\n")).collect()
    };
    assert_eq!(
        ConfigFile::parse(&text(1_000), Path::new("hub.toml")).expect("a good file").rules().len(),
        1_000
    );
    let error = ConfigFile::parse(&text(1_001), Path::new("hub.toml")).expect_err("too many").to_string();
    assert!(error.contains("there are 1001 rules, and 1000 at most are allowed"), "{error}");
}

#[test]
fn rules_of_the_same_text_are_equal() {
    let parsed = |text: &str| ConfigFile::parse(text, Path::new("hub.toml")).expect(text).rules().to_vec();
    let one = parsed("[[rule]]\nname = 'a'\nvm = 'x'\nfile = '/f'");
    assert_eq!(one, parsed("\n\n[[rule]]\nfile = '/f' # the same\nname='a'\nvm =   'x'"));
    assert_ne!(one, parsed("[[rule]]\nname = 'a'\nvm = 'y'\nfile = '/f'"));
}

#[test]
fn invalid_rule_is_refused_with_line_and_advice() {
    let cases: [(&str, &str, &str); 40] = [
        //   case          after `[[rule]]`, `name = 'r'`     message
        (
            "no action",
            "",
            "1: this rule has no action; add one of: run = [\"/usr/local/bin/page\", \"--urgent\"], or \
          webhook = \"https://example.org/hook\", or otlp = \"http://localhost:4318\", or journald = true, or file = \"/var/log/qmp-events/events.jsonl\", or nats = \"nats://127.0.0.1:4222\"",
        ),
        (
            "not an address of NATS",
            "nats = 'http://user:geheim@x'",
            "3: expected an address such as \"nats://127.0.0.1:4222\" or \"tls://nats.example.org\"",
        ),
        (
            "not the name of a stream",
            "nats = 'nats://x'\nstream = 'a.b'",
            "4: the name of a stream has no blanks, `.`, `*`, `>` or slashes",
        ),
        ("typo", "evnt = 'STOP'\nfile = '/f'", "3: unknown key \"evnt\"; did you mean \"event\"?"),
        ("typo in the action", "fiel = '/f'", "3: unknown key \"fiel\"; did you mean \"file\"?"),
        (
            "two actions",
            "file = '/f'\njournald = true",
            "1: this rule has `journald` and `file`; write a rule for each",
        ),
        (
            "key of another kind",
            "file = '/f'\nsecret-file = '/s'",
            "4: `secret-file` is an option of `webhook`, and this rule has `file`",
        ),
        (
            "a time without a state",
            "for = '5min'\nfile = '/f'",
            "3: `for` is the time of a state; add: state = [\"paused\", \"io-error\"]",
        ),
        (
            "states and events",
            "state = 'paused'\nevent = 'STOP'\nfile = '/f'",
            "4: a rule has either `state` or `event`; write a rule for each",
        ),
        ("no time", "state = 'paused'\nfor = '0s'\nfile = '/f'", "4: the span must be longer than zero"),
        (
            "bad glob",
            "event = '[a'\nfile = '/f'",
            "3: bad pattern \"[a\": unclosed character class; missing ']'; use * ? [a-z] {a,b}, ! before one that excludes, and \\ before one meant literally",
        ),
        (
            "no event",
            "event = []\nfile = '/f'",
            "3: expected an event or a list of them, such as [\"SHUTDOWN\", \"BLOCK_*\"], found an empty list",
        ),
        (
            "event is no text",
            "event = 5\nfile = '/f'",
            "3: expected an event or a list of them, such as [\"SHUTDOWN\", \"BLOCK_*\"] in quotes, found integer",
        ),
        (
            "bad kind",
            "kind = 'evnt'\nfile = '/f'",
            "3: unknown kind \"evnt\": one of attached, event, finding, detached",
        ),
        (
            "bad where",
            "where = 'x'\nfile = '/f'",
            "3: bad condition \"x\": write PATH=VALUE, such as action=reset or info.type=hyper-v",
        ),
        (
            "bad at-most",
            "at-most = 'x'\nrun = '/bin/true'",
            "3: expected how often, such as \"1 per 10m\" or \"5 per 1h\"",
        ),
        (
            "at-most of a file",
            "at-most = '1 per 1h'\nfile = '/f'",
            "3: `file` takes every record; leave `at-most` out",
        ),
        (
            "bad from",
            "from = 'then'\nfile = '/f'",
            "3: write from = \"start\" for the whole journal, or \"now\" for new records",
        ),
        (
            "no program",
            "run = []",
            "3: expected a program and its arguments, such as [\"/usr/local/bin/page\", \"--urgent\"], found an empty list",
        ),
        (
            "line for a shell",
            "run = 'mail root'",
            "3: there is no shell: write the program and each argument as separate texts in a list",
        ),
        (
            "bad timeout",
            "run = '/bin/true'\ntimeout = '30'",
            "4: expected a unit after the number: ms, s, min, h, d or w",
        ),
        ("no timeout", "run = '/bin/true'\ntimeout = '0s'", "4: the span must be longer than zero"),
        ("bad attempts", "run = '/bin/true'\nattempts = 0", "4: expected a number from 1 to 1000"),
        ("bad scheme", "webhook = 'ftp://x/'", "3: a receiver is http or https, not ftp"),
        (
            "login",
            "webhook = 'https://a:b@x/'",
            "3: a login in the address would be in every log; use `secret-file` or `headers` instead",
        ),
        ("no address", "webhook = 'x'", "3: expected an address such as \"https://example.org/hook\""),
        (
            "ca without TLS",
            "webhook = 'http://x/'\nca-file = '/dev/null'",
            "4: `ca-file` is for https; this webhook is http",
        ),
        (
            "bad body",
            "webhook = 'http://x/'\nbody = '{\"text\": {{ mesage | json }}}'",
            "4: line 1, column 10: unknown value \"mesage\"; did you mean \"message\"?",
        ),
        (
            "bad header",
            "webhook = 'http://x/'\nheaders = 'Title = x'",
            "4: expected a header such as \"Title: {{ vm }}\"",
        ),
        (
            "template for a batch",
            "otlp = 'http://x/'\nheaders = 'X-Vm: {{ vm }}'",
            "4: a request has many records: write the value itself",
        ),
        (
            "body of logs",
            "otlp = 'http://x/'\nbody = 'x'",
            "4: `body` is an option of `webhook`, and this rule has `otlp`",
        ),
        (
            "journald off",
            "journald = false",
            "3: a rule that does nothing: write journald = true, or leave the rule out",
        ),
        (
            "journald is no path",
            "journald = 5",
            "3: expected true, or the path of journald's socket in quotes, found integer",
        ),
        (
            "small files",
            "file = '/f'\nmax-size = '1KiB'",
            "4: a file of less than 4KiB would hold one record or none",
        ),
        ("short files", "file = '/f'\nmax-age = '1ms'", "4: a file must last at least one second"),
        (
            "bad size",
            "file = '/f'\nmax-size = '5 floppies'",
            "4: unknown unit \"floppies\": expected KiB, MiB, GiB, TiB (or KB, MB, GB, TB in steps of 1000)",
        ),
        ("keep alone", "file = '/f'\nkeep = 3", "4: nothing rotates the file; add: max-size = \"100MiB\""),
        (
            "name twice",
            "file = '/f'\n[[rule]]\nname = 'r'\nfile = '/g'",
            "5: the name \"r\" is used twice, here and in line 2; each rule needs a unique name",
        ),
        (
            "no name",
            "file = '/f'\n[[rule]]\nfile = '/g'",
            "4: this rule has no name, which identifies its position; add: name = \"…\"",
        ),
        (
            "bad name",
            "file = '/f'\n[[rule]]\nname = 'a b'\nfile = '/g'",
            "5: a rule's name has 1 to 64 characters out of A-Z a-z 0-9 . _ -",
        ),
    ];
    for (case, text, expected) in cases {
        let text = format!("[[rule]]\nname = 'r'\n{text}");
        let error = ConfigFile::parse(&text, Path::new("hub.toml")).expect_err(case);
        assert_eq!(error.to_string(), format!("hub.toml:{expected}"), "{case}");
    }
    for (text, expected) in [
        ("[rule]\nname = 'r'", "hub.toml:1: a rule is written as [[rule]], in double brackets"),
        ("rule = ['r']", "hub.toml:1: a rule is a table with a name and an action"),
    ] {
        let error = ConfigFile::parse(text, Path::new("hub.toml")).expect_err(text);
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn problems_of_all_rules_are_reported_together() {
    let text = "[[rule]]\nname = 'r'\nat-most = 'x'\nwhere = 'y'\n\
                [[rule]]\nname = 'r'\nfile = '/f'\njournald = true\nevnt = 'STOP'\nfrom = 'then'";
    let error = ConfigFile::parse(text, Path::new("hub.toml")).expect_err("problems").to_string();
    let shown: Vec<&str> = error.lines().filter_map(|line| line.get(..36)).collect();
    let expected = [
        "hub.toml:1: this rule has no action;",
        "hub.toml:3: expected how often, such",
        "hub.toml:4: bad condition \"y\": write",
        "hub.toml:5: this rule has `journald`",
        "hub.toml:6: the name \"r\" is used twi",
        "hub.toml:9: unknown key \"evnt\"; did ",
        "hub.toml:10: write from = \"start\" fo",
    ];
    assert_eq!(shown, expected, "{error}");
}

#[test]
fn possible_fault_is_warned_about() {
    let cases = [
        ("event = 'SHUTDWON'\nfile = '/f'", "3: unknown event SHUTDWON; did you mean SHUTDOWN?"),
        ("finding = ['why-*', 'storms']\nfile = '/f'", "3: unknown finding storms; did you mean storm?"),
        ("where = ['finding=why-ended', 'reason=guest-reset']\nfile = '/f'", ""),
        (
            "where = 'finding=why-end'\nfile = '/f'",
            "3: no finding is why-end, so this never matches; did you mean why-ended?",
        ),
        ("event = ['BLOCK_*', '__com.example_X', 'STOP']\nfile = '/f'", ""),
        ("finding = 'why-ended'\nwhere = ['cause=killed', 'data.by=host']\nfile = '/f'", ""),
        (
            "finding = 'why-ended'\nwhere = 'data.casue=killed'\nfile = '/f'",
            "4: why-ended has no member casue, so this never matches; did you mean cause?",
        ),
        (
            "run = '/nonexistent/page'",
            "3: /nonexistent/page cannot be run as it is: No such file or directory (os error 2)",
        ),
        ("run = '/etc/passwd'", "3: /etc/passwd is no executable file; try: chmod +x /etc/passwd"),
        ("run = 'sh'", ""),
        (
            "run = 'no-such-program'",
            "3: there is no no-such-program in the PATH of this process; a whole path is safer",
        ),
        ("file = '/nonexistent/x/f'", "3: there is no directory /nonexistent/x; the first record creates it"),
        (
            "webhook = 'https://x/'\nsecret-file = '/nonexistent/s'",
            "4: cannot read the secret in /nonexistent/s: No such file or directory (os error 2)",
        ),
    ];
    for (text, expected) in cases {
        let text = format!("[[rule]]\nname = 'r'\n{text}");
        let file = ConfigFile::parse(&text, Path::new("hub.toml")).expect(&text);
        let warnings: Vec<String> = file.warnings().iter().map(ToString::to_string).collect();
        let expected = if expected.is_empty() { String::new() } else { format!("hub.toml:{expected}") };
        assert_eq!(warnings.join("|"), expected, "{text}");
    }
}

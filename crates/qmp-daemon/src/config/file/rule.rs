//! The tables `[[rule]]`: which records, how often, and one thing to do.
//!
//! What a kind of sink wants to know is read by that kind, through [`Settings`].

use std::collections::HashMap;

use qmp_findings as findings;
use qmp_journal::{Globs, Kind as RecordKind, WherePath};
use qmp_settings::suggest::nearest;
use qmp_settings::{Place, Problem, Settings, Value};
use qmp_sinks::{AtMost, KINDS, Kind, RuleConfig, Selection};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Reading;

/// Keys of every rule, whatever it does.
const KEYS: [&str; 8] = ["name", "event", "finding", "kind", "vm", "where", "at-most", "from"];

/// How long the name of a rule may be, in bytes: it is a label of metrics.
const RULE_NAME_MAX_BYTES: usize = 64;

impl<'t> Reading<'t> {
    pub(super) fn rules(&mut self, value: &Value<'t>) -> Vec<RuleConfig> {
        let DeValue::Array(tables) = value.get_ref() else {
            self.problem(&value.span(), "a rule is written as [[rule]], in double brackets");
            return Vec::new();
        };
        let mut rules: Vec<RuleConfig> = Vec::with_capacity(tables.len());
        let mut first_lines: HashMap<Box<str>, usize> = HashMap::new();
        for table in tables {
            let Some((rule, place)) = self.rule(table) else { continue };
            match first_lines.get(&rule.name) {
                None => {
                    first_lines.insert(rule.name.clone(), place.line);
                    rules.push(rule);
                }
                Some(first) => {
                    let message = format!(
                        "the name \"{}\" stands twice, here and in line {first}; each rule needs a name of its own",
                        rule.name
                    );
                    self.problems.push(Problem { place: Some(place), message: message.into() });
                }
            }
        }
        rules
    }

    fn rule(&mut self, value: &Value<'t>) -> Option<(RuleConfig, Place)> {
        let DeValue::Table(table) = value.get_ref() else {
            self.problem(&value.span(), "a rule is a table with a name and something to do");
            return None;
        };
        let problems_before = self.problems.len();
        let kind = self.kind_of_sink(value, table)?;
        for (key, _) in table {
            self.known_key(key, kind);
        }
        let text = self.text_of(table);
        let mut settings = Settings { document: self, table };
        let name: Option<Box<str>> = rule_name(&mut settings, &value.span()).map(Into::into);
        let selection = selection(&mut settings);
        let at_most: Option<AtMost> = settings.parsed("at-most", "how often, such as \"1 per 10m\"");
        if at_most.is_some() && !kind.may_hold_back {
            let message = format!("`{}` takes every record; leave `at-most` out", kind.key);
            settings.problem("at-most", &message);
        }
        let from_start = match settings.text("from", "\"start\" or \"now\"") {
            Some("start") => true,
            None | Some("now") => false,
            Some(_) => {
                let message = "write from = \"start\" for the whole journal, or \"now\" for what comes";
                settings.problem("from", message);
                false
            }
        };
        let action = (kind.read)(&mut settings);
        let place = settings.get("name").map_or(value.span(), Spanned::span);
        let place = self.place(&place);
        if self.problems.len() > problems_before {
            return None;
        }
        let (name, action) = (name?, action?);
        Some((RuleConfig { name, selection, at_most, from_start, kind: kind.key, action, text }, place))
    }

    /// The one thing that a rule does.
    fn kind_of_sink(&mut self, value: &Value<'t>, table: &DeTable<'t>) -> Option<&'static Kind> {
        let has = |kind: &&Kind| table.iter().any(|(key, _)| key.get_ref() == kind.key);
        let found: Vec<&Kind> = KINDS.iter().copied().filter(|kind| has(kind)).collect();
        match found.as_slice() {
            [kind] => KINDS.iter().copied().find(|known| known.key == kind.key),
            [] => {
                let problems_before = self.problems.len();
                let all: Vec<&str> =
                    KINDS.iter().flat_map(|kind| [&[kind.key], kind.options].concat()).collect();
                for (key, _) in table.iter().filter(|(key, _)| !all.contains(&&**key.get_ref())) {
                    if !KEYS.contains(&&**key.get_ref()) {
                        self.unknown(key, &[&KEYS[..], &all[..]].concat());
                    }
                }
                // A misspelt key would otherwise be reported twice.
                if self.problems.len() == problems_before {
                    let examples: Vec<&str> = KINDS.iter().map(|kind| kind.example).collect();
                    let message = format!("this rule does nothing; add one of: {}", examples.join(", or "));
                    self.problem(&value.span(), &message);
                }
                None
            }
            several => {
                let keys: Vec<String> = several.iter().map(|kind| format!("`{}`", kind.key)).collect();
                let message = format!("this rule has {}; write a rule for each", keys.join(" and "));
                self.problem(&value.span(), &message);
                None
            }
        }
    }

    fn known_key(&mut self, key: &Spanned<std::borrow::Cow<'_, str>>, kind: &Kind) {
        let name = key.get_ref().as_ref();
        let known = [&KEYS[..], &[kind.key], kind.options].concat();
        if known.contains(&name) {
            return;
        }
        match KINDS.iter().find(|other| other.options.contains(&name)) {
            Some(other) => {
                let message = format!("`{name}` goes with `{}`, and this rule has `{}`", other.key, kind.key);
                self.problem(&key.span(), &message);
            }
            None => self.unknown(key, &known),
        }
    }

    /// The rule as it was written, its keys in order.
    fn text_of(&self, table: &DeTable<'t>) -> Box<str> {
        let mut lines: Vec<String> = table
            .iter()
            .map(|(key, value)| format!("{} = {}", key.get_ref(), self.text(value.span())))
            .collect();
        lines.sort_unstable();
        lines.join("\n").into()
    }
}

fn rule_name<'r>(settings: &mut Settings<'r, '_>, span: &std::ops::Range<usize>) -> Option<&'r str> {
    if settings.get("name").is_none() {
        settings
            .document
            .problem(span, "this rule has no name, by which it knows its place; add: name = \"…\"");
    }
    let name = settings.text("name", "a name")?;
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.len() > RULE_NAME_MAX_BYTES || !name.bytes().all(is_good) {
        let message =
            format!("a rule's name has 1 to {RULE_NAME_MAX_BYTES} characters out of A-Z a-z 0-9 . _ -");
        settings.problem("name", &message);
        return None;
    }
    Some(name)
}

fn selection(settings: &mut Settings<'_, '_>) -> Selection {
    let event = globs(settings, "event", "an event or a list of them, such as [\"SHUTDOWN\", \"BLOCK_*\"]");
    let finding = globs(settings, "finding", "a kind of finding, or a list of them, such as [\"why-*\"]");
    doubt_names(settings);
    let vm =
        globs(settings, "vm", "a name of a VM, or a list, such as [\"web*\", \"db1\"]").unwrap_or_default();
    let kinds = settings.texts("kind", "a kind of record, or a list of them, such as [\"detached\"]");
    let kind = each(settings, "kind", kinds, |text| text.parse::<RecordKind>());
    let wheres = settings.texts("where", "a condition, or a list of them, such as [\"action=poweroff\"]");
    let where_ = each(settings, "where", wheres, |text| text.parse::<WherePath>());
    Selection { event, finding, kind, vm, where_ }
}

fn globs(settings: &mut Settings<'_, '_>, key: &str, wanted: &str) -> Option<Globs> {
    let texts = settings.texts(key, wanted)?;
    Globs::parse(texts).inspect_err(|error| settings.problem(key, &error.to_string())).ok()
}

fn each<T, E: std::fmt::Display>(
    settings: &mut Settings<'_, '_>,
    key: &str,
    texts: Option<Vec<&str>>,
    read: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    let read = texts.unwrap_or_default().into_iter().map(read);
    read.filter_map(|read| read.inspect_err(|error| settings.problem(key, &error.to_string())).ok()).collect()
}

/// Names that stand for nothing that is known; they may be of a later release.
fn doubt_names(settings: &mut Settings<'_, '_>) {
    let events: Vec<&str> = qmp_events::catalogue().iter().map(|event| event.name).collect();
    let recorded = [findings::COMMAND, findings::PROCESS_ENDED, findings::QUERY];
    let findings: Vec<&str> = findings::KINDS.into_iter().chain(recorded).collect();
    let lists = [("event", "event", &events[..]), ("finding", "finding", &findings[..])];
    for (key, what, known) in lists {
        let problems_before = settings.document.problems.len();
        for name in settings.texts(key, what).unwrap_or_default() {
            let is_pattern = name.contains(['*', '?', '[', '{']) || name.starts_with("__");
            if is_pattern || known.contains(&name) {
                continue;
            }
            let upper = known.iter().find(|known| known.eq_ignore_ascii_case(name)).copied();
            let near = upper.or_else(|| nearest(name, known.iter().copied()));
            let advice = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            settings.doubt(key, &format!("no {what} is known that is called {name}{advice}"));
        }
        // What is wrong with the list was told before.
        settings.document.problems.truncate(problems_before);
    }
}

#[cfg(test)]
mod tests {
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
        name = "journal"
        journald = "/nonexistent/socket"
    "#;

    #[test]
    fn rules_of_each_kind() {
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
            "journal journald /nonexistent/socket false",
        ];
        assert_eq!(shown, expected);
        assert_eq!(file.rules()[0].action.attempts(), 3);
        let doubts: Vec<String> = file.doubts().iter().map(ToString::to_string).collect();
        assert_eq!(
            doubts,
            ["hub.toml:29: there is no /nonexistent/socket: entries wait until journald is there"]
        );
    }

    #[test]
    fn a_rule_is_the_same_when_it_is_written_the_same() {
        let parsed =
            |text: &str| ConfigFile::parse(text, Path::new("hub.toml")).expect(text).rules().to_vec();
        let one = parsed("[[rule]]\nname = 'a'\nvm = 'x'\nfile = '/f'");
        assert_eq!(one, parsed("\n\n[[rule]]\nfile = '/f' # the same\nname='a'\nvm =   'x'"));
        assert_ne!(one, parsed("[[rule]]\nname = 'a'\nvm = 'y'\nfile = '/f'"));
    }

    #[test]
    fn problems_have_lines_and_advice() {
        let cases: [(&str, &str, &str); 31] = [
            //   case          behind `[[rule]]`, `name = 'r'`     said
            (
                "nothing to do",
                "",
                "1: this rule does nothing; add one of: run = [\"/usr/local/bin/page\", \"--urgent\"], or \
              webhook = \"https://example.org/hook\", or journald = true, or file = \"/var/log/qmp-events/events.jsonl\"",
            ),
            ("typo", "evnt = 'STOP'\nfile = '/f'", "3: unknown key \"evnt\"; did you mean \"event\"?"),
            ("typo in what to do", "fiel = '/f'", "3: unknown key \"fiel\"; did you mean \"file\"?"),
            (
                "two things",
                "file = '/f'\njournald = true",
                "1: this rule has `journald` and `file`; write a rule for each",
            ),
            (
                "another's key",
                "file = '/f'\nsecret-file = '/s'",
                "4: `secret-file` goes with `webhook`, and this rule has `file`",
            ),
            (
                "bad glob",
                "event = '[a'\nfile = '/f'",
                "3: bad pattern \"[a\": unclosed character class; missing ']'; use * ? [a-z] {a,b}, and \\ before one meant literally",
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
                "3: write from = \"start\" for the whole journal, or \"now\" for what comes",
            ),
            (
                "no program",
                "run = []",
                "3: expected a program and its arguments, such as [\"/usr/local/bin/page\", \"--urgent\"], found an empty list",
            ),
            (
                "a shell's line",
                "run = 'mail root'",
                "3: there is no shell: write the program and each argument as a text of its own, in a list",
            ),
            (
                "bad timeout",
                "run = '/bin/true'\ntimeout = '30'",
                "4: expected a unit after the number: ms, s, min, h, d or w",
            ),
            ("no timeout", "run = '/bin/true'\ntimeout = '0s'", "4: no time at all is too short"),
            ("bad attempts", "run = '/bin/true'\nattempts = 0", "4: expected a number from 1 to 1000"),
            ("bad scheme", "webhook = 'ftp://x/'", "3: a webhook is http or https, not ftp"),
            (
                "login",
                "webhook = 'https://a:b@x/'",
                "3: a login in the address would stand in every log; sign with `secret-file` instead",
            ),
            ("no address", "webhook = 'x'", "3: expected an address such as \"https://example.org/hook\""),
            (
                "ca without TLS",
                "webhook = 'http://x/'\nca-file = '/dev/null'",
                "4: `ca-file` is for https; this webhook is http",
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
            ("short files", "file = '/f'\nmax-age = '1ms'", "4: a file lasts a second at least"),
            (
                "bad size",
                "file = '/f'\nmax-size = '5 floppies'",
                "4: unknown unit \"floppies\": expected KiB, MiB, GiB, TiB (or KB, MB, GB, TB in steps of 1000)",
            ),
            (
                "keep alone",
                "file = '/f'\nkeep = 3",
                "4: nothing rotates the file; add: max-size = \"100MiB\"",
            ),
            (
                "name twice",
                "file = '/f'\n[[rule]]\nname = 'r'\nfile = '/g'",
                "5: the name \"r\" stands twice, here and in line 2; each rule needs a name of its own",
            ),
            (
                "no name",
                "file = '/f'\n[[rule]]\nfile = '/g'",
                "4: this rule has no name, by which it knows its place; add: name = \"…\"",
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
            ("rule = ['r']", "hub.toml:1: a rule is a table with a name and something to do"),
        ] {
            let error = ConfigFile::parse(text, Path::new("hub.toml")).expect_err(text);
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn what_may_be_right_is_doubted() {
        let cases = [
            (
                "event = 'SHUTDWON'\nfile = '/f'",
                "3: no event is known that is called SHUTDWON; did you mean SHUTDOWN?",
            ),
            (
                "finding = ['why-*', 'storms']\nfile = '/f'",
                "3: no finding is known that is called storms; did you mean storm?",
            ),
            ("event = ['BLOCK_*', '__com.example_X', 'STOP']\nfile = '/f'", ""),
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
            (
                "file = '/nonexistent/x/f'",
                "3: there is no directory /nonexistent/x; it is made at the first record",
            ),
            (
                "webhook = 'https://x/'\nsecret-file = '/nonexistent/s'",
                "4: cannot read the secret in /nonexistent/s: No such file or directory (os error 2)",
            ),
        ];
        for (text, expected) in cases {
            let text = format!("[[rule]]\nname = 'r'\n{text}");
            let file = ConfigFile::parse(&text, Path::new("hub.toml")).expect(&text);
            let doubts: Vec<String> = file.doubts().iter().map(ToString::to_string).collect();
            let expected = if expected.is_empty() { String::new() } else { format!("hub.toml:{expected}") };
            assert_eq!(doubts.join("|"), expected, "{text}");
        }
    }
}

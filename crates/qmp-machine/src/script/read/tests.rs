use proptest::prelude::*;

use super::*;

/// Returns the problems of `text`, one per line; empty if there are none.
fn problems(text: &str) -> String {
    match Script::parse("s.toml", text) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

fn line(problem: &Problem) -> usize {
    problem.location.as_ref().expect("a line of the script").line
}

#[test]
fn problem_has_line_and_suggestion() {
    let cases: [(&str, &str, &str); 38] = [
        ("nothing is enough", "", ""),
        ("typo", "sumary = 'x'", "s.toml:1: unknown key \"sumary\"; did you mean \"summary\"?"),
        ("no TOML", "[[step]]\nat = '1s\n", "s.toml:2: invalid literal string, expected `'`"),
        ("twice", "seed = 1\nseed = 2", "s.toml:2: duplicate key seed"),
        ("speed", "speed = 0", "s.toml:1: a speed has to be more than 0; 2 is twice as fast as written"),
        ("seed", "seed = -1", "s.toml:1: expected a whole number, 0 or more, found -1"),
        ("brackets", "[step]\nat = '1s'", "s.toml:1: a step is written as [[step]], in double brackets"),
        (
            "unknown action of the guest",
            "[[step]]\nguest = 'panik'",
            "s.toml:2: unknown action of the guest \"panik\"; did you mean \"panic\"?",
        ),
        (
            "unknown command",
            "[[step]]\nexecute = 'system_rest'",
            "s.toml:2: unknown command \"system_rest\"; did you mean \"system_reset\"?",
        ),
        (
            "nothing to do",
            "\n[[step]]\nat = '1s'",
            "s.toml:2: no action given; add guest = \"…\", host = \"…\", execute = \"…\" or emit = \"…\"",
        ),
        (
            "two things to do",
            "[[step]]\nexecute = 'stop'\nguest = 'panic'",
            "s.toml:3: \"guest\" cannot be used with \"execute\"",
        ),
        (
            "no unit",
            "[[step]]\nat = '5'\nguest = 'panic'",
            "s.toml:2: \"5\" is not a span of time; write 200ms, 1.5s, 10min or 1h30min",
        ),
        (
            "no quotes",
            "[[step]]\nat = 5\nguest = 'panic'",
            "s.toml:2: expected a span of time in quotes, such as \"1.5s\", found 5",
        ),
        (
            "misspelt time",
            "[[step]]\natt = '5s'\nguest = 'panic'",
            "s.toml:2: unknown key \"att\"; did you mean \"at\"?",
        ),
        (
            "after is for sequences",
            "[[step]]\nafter = '5s'\nguest = 'panic'",
            "s.toml:2: \"after\" belongs to a part of a sequence; a step has \"at\", counted from the beginning",
        ),
        (
            "repeat alone",
            "[[step]]\nrepeat = 3\nguest = 'panic'",
            "s.toml:2: \"repeat\" needs \"every\", the time between two runs",
        ),
        (
            "repeat never",
            "[[step]]\nevery = '1s'\nrepeat = 0\nguest = 'panic'",
            "s.toml:3: expected a whole number, 1 or more",
        ),
        (
            "every nothing",
            "[[step]]\nevery = '0s'\nguest = 'panic'",
            "s.toml:2: \"every\" has to be more than 0; leave it out for a step that runs once",
        ),
        (
            "impossible",
            "[[step]]\nprobability = 0\nguest = 'panic'",
            "s.toml:2: a probability has to be more than 0 and at most 1",
        ),
        (
            "beyond certain",
            "[[step]]\nprobability = 1.1\nguest = 'panic'",
            "s.toml:2: a probability has to be more than 0 and at most 1",
        ),
        ("empty sequence", "[[step]]\nsequence = []", "s.toml:2: a sequence needs at least one part"),
        (
            "sequence and action",
            "[[step]]\nguest = 'panic'\nsequence = [{ execute = 'stop' }]",
            "s.toml:3: \"sequence\" cannot be used with \"guest\"",
        ),
        (
            "wrong part",
            "[[step]]\nsequence = [\n  { execute = 'stop' },\n  { execute = 'conte' },\n]",
            "s.toml:4: unknown command \"conte\"; did you mean \"cont\"?",
        ),
        (
            "at in a part",
            "[[step]]\nsequence = [{ at = '1s', execute = 'stop' }]",
            "s.toml:2: \"at\" belongs to a step; a part of a sequence has \"after\", counted from the part before it",
        ),
        ("no choice", "[[step]]\nany-of = []", "s.toml:2: the list of choices is empty"),
        (
            "choices of choices",
            "[[step]]\nany-of = [{ any-of = [] }]",
            "s.toml:2: a choice cannot have choices of its own",
        ),
        (
            "data of a command",
            "[[step]]\nexecute = 'stop'\ndata = {}",
            "s.toml:3: \"data\" does not belong to \"execute\"",
        ),
        ("arguments", "[[step]]\nexecute = 'stop'\narguments = 1", "s.toml:3: expected a table, found 1"),
        (
            "release",
            "[machine]\nrelease = '7.3'",
            "s.toml:2: release 7.3 does not exist; the first is 0.12, the newest 11.1",
        ),
        (
            "policy",
            "[machine]\npanic = 'pausee'",
            "s.toml:2: unknown action \"pausee\"; did you mean \"pause\"?",
        ),
        (
            "policy twice",
            "[machine]\nreboot = 'reset'\nno-reboot = true",
            "s.toml:3: \"no-reboot\" cannot be used with \"reboot\"",
        ),
        (
            "device",
            "[[machine.device]]\nexecute = 'device_ad'",
            "s.toml:2: unknown way to make a device \"device_ad\"; did you mean \"device_add\"?",
        ),
        (
            "fault without kind",
            "[[fault]]\nskip = 1",
            "s.toml:1: this fault has no kind; add: kind = \"…\", one of drop, delay, duplicate, reorder, truncate, \
             corrupt, close, event-before-greeting, never-greet",
        ),
        (
            "kind",
            "[[fault]]\nkind = 'dropp'",
            "s.toml:2: unknown kind of fault \"dropp\"; did you mean \"drop\"?",
        ),
        ("delay", "[[fault]]\nkind = 'delay'", "s.toml:2: a delay needs a length; add: by = \"200ms\""),
        (
            "fault's key",
            "[[fault]]\nkind = 'drop'\nby = '1s'",
            "s.toml:3: \"by\" does not belong to \"drop\"",
        ),
        (
            "fault's messages",
            "[[fault]]\nkind = 'drop'\nof = 'reply'\nevent = 'STOP'",
            "s.toml:4: \"event\" cannot be used with \"of\"",
        ),
        (
            "two at once",
            "a = 1\n[[step]]\nguest = 1",
            "s.toml:1: unknown key \"a\"; known here: summary, seed, speed, restart, machine, step, fault\n\
          s.toml:3: expected a text in quotes, found 1",
        ),
    ];
    let wrong: Vec<_> = cases
        .iter()
        .filter(|(_, text, expected)| problems(text) != *expected)
        .map(|(case, text, expected)| {
            format!("{case}\n  found    {}\n  expected {expected}\n", problems(text))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn all_keys_are_parsed() {
    let text = r#"
        summary = "all keys"
        seed = 7
        speed = 2.5
        restart = "3s"
        [machine]
        release = "7.2.22"
        no-shutdown = true
        watchdog = "pause"
        start-stopped = true
        memory-bytes = 0x4000_0000
        cpus = 2
        bare = true
        device = [{ execute = "device_add", arguments = { driver = "ide-cd", id = "cd0" } }]
        [[step]]
        at = "1s"
        every = "10s"
        repeat = 4
        jitter = "5ms"
        probability = 0.5
        guest = "panic"
        arguments = { info = { n = -1, big = 18446744073709551615, list = [1.5, true, "a"] } }
        [[step]]
        sequence = [
            { execute = "stop" },
            { after = "1s", jitter = "1ms", probability = 1, any-of = [{ execute = "cont" }, { emit = "MY_EVENT", data = { a = 1 } }] },
        ]
        [[fault]]
        kind = "delay"
        by = "1s"
        jitter = "2s"
        event = "BLOCK_*"
        connection = 2
        skip = 3
        every = 4
        repeat = 5
        probability = 0.25
    "#;
    let script = Script::parse("all.toml", text).unwrap();
    assert_eq!((script.summary.as_deref(), script.seed, script.speed), (Some("all keys"), 7, 2.5));
    assert_eq!(script.restart, Some(std::time::Duration::from_secs(3)));
    assert_eq!(script.machine.release, Some(qmp_events::Release::stable(7, 2, 22)));
    assert_eq!(script.machine.memory_bytes, Some(1 << 30));
    assert_eq!(script.machine.shutdown, Some(crate::ShutdownAction::Pause));
    assert_eq!(script.machine.devices.len(), 1);
    let arguments = serde_json::to_string(&script.actions().next().unwrap().arguments).unwrap();
    assert_eq!(arguments, r#"{"info":{"big":18446744073709551615,"list":[1.5,true,"a"],"n":-1}}"#);
    let names: Vec<_> = script.actions().map(|action| &*action.execute).collect();
    assert_eq!(names, ["x-guest-panic", "stop", "cont", "x-emit"]);
    let fault = &script.faults[0];
    assert_eq!((fault.connection, fault.skip, fault.every, fault.times), (Some(2), 3, 4, Some(5)));
}

proptest! {
    /// Parsing any text does not panic; a problem has a line of the text.
    #[test]
    fn any_text_does_not_panic(text in "[\\[\\]a-z0-9 =\"'{},.\n-]{0,80}") {
        let lines = text.split('\n').count();
        if let Err(error) = Script::parse("s", &text) {
            prop_assert!(!error.problems.is_empty());
            prop_assert!(error.problems.iter().all(|problem| (1..=lines + 1).contains(&line(problem))));
        }
    }

    /// Changing one word of a valid script to an unknown word leaves it valid, or the error names its line. An
    /// unknown key can also make the table invalid, whose line is its header.
    #[test]
    fn changed_word_is_reported_with_its_line(word in "[a-z]{1,8}", place in 0_usize..6) {
        let lines = ["[[step]]", "at = '1s'", "every = '2s'", "guest = 'panic'", "[[fault]]", "kind = 'drop'"];
        let mut changed: Vec<String> = lines.iter().map(ToString::to_string).collect();
        let old = ["step", "at", "every", "guest", "fault", "kind"][place];
        let known = [&KEYS[..], &step::TIMES, &action::KEYS, &fault::KEYS].concat();
        prop_assume!(!known.contains(&&*word));
        changed[place] = changed[place].replacen(old, &word, 1);
        if let Err(error) = Script::parse("s", &changed.join("\n")) {
            let own = error.problems.iter().any(|problem| line(problem) == place + 1);
            prop_assert!(own, "{}: {error}", changed.join("\n"));
        }
    }
}

use super::*;

#[test]
fn people_are_told_who_it_was() {
    let process = |pid, comm: Option<&str>| Peer::Process { uid: 7, gid: 8, pid, comm: comm.map(Box::from) };
    let remote = Peer::Remote("10.0.0.7:4567".parse().expect("an address"));
    let cases = [
        (process(Some(9), Some("qmp")), None, "uid 7 pid 9 (qmp) at /run/hub.sock"),
        (process(None, None), None, "uid 7 at /run/hub.sock"),
        (process(Some(9), None), Some("ci"), "token ci of uid 7 pid 9 at /run/hub.sock"),
        (remote, Some("ci"), "token ci of 10.0.0.7:4567 at /run/hub.sock"),
    ];
    for (peer, token, expected) in cases {
        let identity = ClientIdentity { peer, token: token.map(Box::from), at: "/run/hub.sock".into() };
        assert_eq!(identity.to_string(), expected);
        assert_eq!(identity.members()["client"], expected);
    }
}

#[test]
fn output_of_the_human_monitor_is_counted() {
    let cases = [
        ("human-monitor-command", r#""""#, Some(0)),
        ("human-monitor-command", r#""stop: extraneous\r\n""#, Some(18)),
        ("human-monitor-command", "{}", None),
        ("query-name", r#""""#, None),
    ];
    for (execute, returned, expected) in cases {
        assert_eq!(output_bytes(execute, returned), expected, "{execute} {returned}");
    }
}

#[test]
fn secrets_are_not_recorded() {
    let cases = [
        ("stop", "{}", "{}"),
        (
            "set_password",
            r#"{"protocol": "vnc", "password": "geheim"}"#,
            r#"{"password":"***","protocol":"vnc"}"#,
        ),
        (
            "x",
            r#"{"a": [{"proxy-Password": {"b": "geheim"}}], "key-secret": "sec0", "password-secret": "sec1"}"#,
            r#"{"a":[{"proxy-Password":"***"}],"key-secret":"sec0","password-secret":"sec1"}"#,
        ),
        (
            "blockdev-add",
            r#"{"url": "https://me:geheim@host/a:b@c"}"#,
            r#"{"url":"https://me:***@host/a:b@c"}"#,
        ),
        ("blockdev-add", r#"{"url": "https://host/a:b@c"}"#, r#"{"url":"https://host/a:b@c"}"#),
        (
            "object-add",
            r#"{"qom-type": "secret", "id": "s", "data": "geheim"}"#,
            r#"{"data":"***","id":"s","qom-type":"secret"}"#,
        ),
        (
            "object-add",
            r#"{"qom-type": "secret", "id": "s", "props": {"data": "geheim"}}"#,
            r#"{"id":"s","props":{"data":"***"},"qom-type":"secret"}"#,
        ),
        ("object-add", r#"{"qom-type": "rng", "data": "open"}"#, r#"{"data":"open","qom-type":"rng"}"#),
        ("qom-set", r#"{"property": "data", "value": "geheim"}"#, r#"{"property":"data","value":"***"}"#),
        (
            "human-monitor-command",
            r#"{"command-line": "set_password vnc geheim"}"#,
            r#"{"command-line":"set_password ***"}"#,
        ),
        ("human-monitor-command", r#"{"command-line": "info block"}"#, r#"{"command-line":"info block"}"#),
        ("send-key", r#"{"keys": [1]}"#, r#"{"keys":"***"}"#),
    ];
    for (execute, arguments, expected) in cases {
        assert_eq!(masked(execute, Some(arguments)).to_string(), expected, "{execute}");
    }
    let line = masked("human-monitor-command", Some(r#"{"command-line": "info block"}"#));
    assert_eq!(human_line("human-monitor-command", &line), " `info block`");
    assert_eq!(human_line("x-other", &line), "");
    let long = json!({"command-line": "ä".repeat(LINE_MAX_CHARACTERS + 1)});
    assert_eq!(
        human_line("human-monitor-command", &long),
        format!(" `{}…`", "ä".repeat(LINE_MAX_CHARACTERS))
    );
    let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(ARGUMENTS_MAX_BYTES));
    assert_eq!(masked("x", Some(&long)).to_string(), format!(r#"{{"omitted_bytes":{}}}"#, long.len()));
}

//! Endpoints with certificates and tokens: authentication, permissions, and the errors for other clients.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::client::{Lines, json as read_json, send_request};
use crate::support::endpoints::{
    ANY, Authority, LOOK, STOP, build_request, connect, endpoint, port, request_over_tls, write, write_tokens,
};
use crate::support::{Watcher, config};
use qmp_daemon::Daemon;
use qmp_http::HttpEndpoint;
use qmp_testing::{Monitor, Session, poll_until};
use qmp_wire::Body;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const STOP_COMMAND: &str = r#"{"execute": "stop"}"#;

/// A hub with an attached VM, and an endpoint besides its socket.
async fn start_with_endpoint(home: &Path, endpoint: HttpEndpoint) -> (Daemon, Monitor, Session) {
    let monitor = Monitor::bind(home, "vm1");
    let mut config = config(home, &["vm1"]);
    config.http.push(endpoint);
    let hub = Daemon::start(config).await.expect("starts");
    let session = monitor.accept().await;
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    (hub, monitor, session)
}

#[tokio::test]
async fn token_decides_authentication_and_permissions() {
    let home = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let tls = authority.write(home.path(), "hub", 2100);
    let (hub, _monitor, mut session) =
        start_with_endpoint(home.path(), endpoint(Some(tls), Some(write_tokens(home.path())))).await;
    let (client, port) = (authority.client(None), port(&hub));

    let cont = r#"{"execute": "cont"}"#;
    let status = r#"{"execute": "query-status"}"#;
    let execute = "/v1/vms/vm1/execute";
    let long = format!(r#"{{"execute": "query-status", "arguments": {{"x": "{}"}}}}"#, "x".repeat(16 << 10));
    //  method  path               token          body           status  class
    let cases = [
        ("GET", "/v1/hub", None, "", 401, "Unauthorized"),
        ("GET", "/v1/health", None, "", 401, "Unauthorized"),
        ("GET", "/metrics", None, "", 401, "Unauthorized"),
        ("GET", "/nothing/here", None, "", 401, "Unauthorized"),
        ("POST", execute, None, STOP_COMMAND, 401, "Unauthorized"),
        ("GET", "/v1/hub", Some("wrong-wrong-wrong-wrong-wrong-wrong"), "", 401, "Unauthorized"),
        ("GET", "/v1/hub", Some(&LOOK[1..]), "", 401, "Unauthorized"),
        ("GET", "/v1/hub", Some(LOOK), "", 200, ""),
        ("GET", "/v1/hub", Some(STOP), "", 200, ""),
        ("GET", "/nothing/here", Some(ANY), "", 404, "NotFound"),
        ("POST", execute, Some(LOOK), status, 200, ""),
        ("POST", execute, Some(LOOK), STOP_COMMAND, 403, "NotAllowed"),
        ("POST", execute, Some(STOP), STOP_COMMAND, 200, ""),
        ("POST", execute, Some(STOP), cont, 403, "NotAllowed"),
        ("POST", execute, Some(ANY), cont, 200, ""),
        ("POST", execute, Some(LOOK), &long, 413, "TooLong"),
        ("POST", execute, Some(ANY), &long, 200, ""),
    ];
    for (method, path, token, body, expected, class) in cases {
        let answer = request_over_tls(&client, port, build_request(method, path, token, body)).await;
        let challenge =
            answer.headers().get("www-authenticate").map(|value| value.to_str().expect("text").to_owned());
        assert_eq!(
            challenge.as_deref(),
            (expected == 401).then_some("Bearer realm=\"qmp-events\""),
            "{path}"
        );
        let (status, answer) = read_json(answer).await;
        assert_eq!(
            (status, answer["error"]["class"].as_str().unwrap_or_default()),
            (expected, class),
            "{path}"
        );
        assert!(!answer.to_string().contains("-look-") && !answer.to_string().contains("wrong-"), "{answer}");
    }
    assert_eq!(session.command().await, "stop");
    assert_eq!(session.command().await, "cont");

    let mut journal = Watcher::new(&hub);
    let mut commands = Vec::new();
    while commands.len() < 2 {
        if let Body::Finding { data: Some(data), .. } = journal.next().await.body {
            commands.push(serde_json::from_str::<Value>(&data).expect("JSON"));
        }
    }
    for (data, (name, command)) in commands.iter().zip([("ci", "stop"), ("admin", "cont")]) {
        assert_eq!((&data["token"], &data["execute"]), (&json!(name), &json!(command)));
        assert_eq!((&data["socket"], &data["result"]), (&json!(format!("https://{port}")), &json!("done")));
        assert!(data["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{data}");
        let client = data["client"].as_str().expect("a text");
        assert!(client.starts_with(&format!("token {name} of 127.0.0.1:")), "{client}");
    }
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn token_can_be_required_without_tls() {
    let home = tempfile::tempdir().expect("a directory");
    let tokens = write_tokens(home.path());
    let (hub, _monitor, _session) = start_with_endpoint(home.path(), endpoint(None, Some(tokens))).await;
    let ask = async |token| {
        let stream = TcpStream::connect(port(&hub)).await.expect("the hub listens");
        // With a token, any `Host` header is accepted.
        read_json(send_request(stream, build_request("GET", "/v1/health", token, "")).await).await.0
    };
    assert_eq!((ask(None).await, ask(Some(LOOK)).await), (401, 200));
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn plain_http_at_a_tls_port_gets_an_error() {
    let home = tempfile::tempdir().expect("a directory");
    let tls = Authority::new().write(home.path(), "hub", 2100);
    let (hub, _monitor, _session) =
        start_with_endpoint(home.path(), endpoint(Some(tls), Some(write_tokens(home.path())))).await;
    let stream = TcpStream::connect(port(&hub)).await.expect("the hub listens");
    let (status, answer) =
        read_json(send_request(stream, build_request("GET", "/v1/hub", Some(LOOK), "")).await).await;
    let error = json!({
        "class": "TlsRequired", "desc": "this port requires TLS; use https:// and the hub's name"
    });
    assert_eq!((status, &answer["error"]), (400, &error));
    // Bytes that are neither TLS nor HTTP get no response.
    let mut stream = TcpStream::connect(port(&hub)).await.expect("the hub listens");
    stream.write_all(b"\x16\x03\x01\x00\x02??").await.expect("sends");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).contains("HTTP"));
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn unfinished_handshakes_do_not_block_other_clients() {
    let home = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let tls = authority.write(home.path(), "hub", 2100);
    let (hub, _monitor, _session) =
        start_with_endpoint(home.path(), endpoint(Some(tls), Some(write_tokens(home.path())))).await;
    let (client, port) = (authority.client(None), port(&hub));
    let authorized = connect(&client, port).await.expect("connects");
    let stream = build_request("GET", "/v1/events", Some(LOOK), "");
    let mut stream = Lines::new(send_request(authorized, stream).await);
    assert_eq!(stream.next().await.as_deref(), Some("retry: 2000"));

    // More than the limit of unauthenticated connections, some of them after a handshake.
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(port).await.expect("the hub listens"));
    }
    let mut half = connect(&client, port).await.expect("connects");
    half.write_all(b"GET /v1/hub HTTP/1.1\r\nHost: hub\r\nAuthor").await.expect("sends");
    let answer = request_over_tls(&client, port, build_request("GET", "/v1/hub", Some(LOOK), "")).await;
    assert_eq!(answer.status(), 200, "a client with a token is served beside them");
    let closed = silent[0].read(&mut [0]).await;
    assert!(
        closed.as_ref().is_ok_and(|read| *read == 0) || closed.is_err(),
        "the oldest is closed: {closed:?}"
    );
    let last = silent.last().expect("a connection");
    assert!(
        last.try_read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        "the last stays"
    );
    // An authorized connection is not evicted, at any age.
    while !stream.next().await.expect("an open stream").is_empty() {}
    let stopping = tokio::spawn(hub.stop());
    while stream.next().await.is_some() {}
    stopping.await.expect("no panic").expect("stops in spite of silent connections");
}

#[tokio::test]
async fn tokens_are_added_and_withdrawn_without_a_restart() {
    let home = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let tls = authority.write(home.path(), "hub", 2100);
    let tokens = write_tokens(home.path());
    let (hub, _monitor, _session) =
        start_with_endpoint(home.path(), endpoint(Some(tls), Some(tokens.clone()))).await;
    let (client, port) = (authority.client(None), port(&hub));
    let status = async |token| {
        request_over_tls(&client, port, build_request("GET", "/v1/hub", Some(token), ""))
            .await
            .status()
            .as_u16()
    };
    let follow = async |token| {
        let mut lines = Lines::new(
            request_over_tls(&client, port, build_request("GET", "/v1/events", Some(token), "")).await,
        );
        assert_eq!(lines.next().await.as_deref(), Some("retry: 2000"));
        lines
    };
    let (withdrawn, mut kept) = (follow(LOOK).await, follow(ANY).await);
    assert_eq!((status(LOOK).await, status(ANY).await), (200, 200));

    let fresh = "fresh-fresh-fresh-fresh-fresh-fresh";
    write(&tokens, &format!("admin {ANY} operate\nother {fresh}\n"));
    poll_until("a withdrawn token", async || (status(LOOK).await == 401).then_some(())).await;
    assert_eq!((status(LOOK).await, status(ANY).await, status(fresh).await), (401, 200, 200));
    // A stream whose token was withdrawn is aborted.
    let ended = tokio::spawn(async move {
        let mut withdrawn = withdrawn;
        while withdrawn.next().await.is_some() {}
    });
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the stream ends");
    assert!(ended.expect_err("an incomplete response").is_panic());

    // An invalid file changes nothing.
    write(&tokens, "admin short\n");
    let unusable = home.path().join("unusable");
    write(&unusable, "");
    let error = endpoint(None, Some(tokens.clone())).check_files().expect_err("an error").to_string();
    assert!(
        error.starts_with(&format!("{}:1: the token of admin has 5 characters", tokens.display())),
        "{error}"
    );
    write(&tokens, &format!("last {LOOK}\nadmin {ANY} operate\n"));
    poll_until("a new token", async || {
        assert_eq!(status(ANY).await, 200);
        (status(LOOK).await == 200).then_some(())
    })
    .await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    let stopping = tokio::spawn(hub.stop());
    let mut rest = String::new();
    while let Some(line) = kept.next().await {
        rest += &line;
    }
    assert!(rest.contains("hub stopped"), "the stream is complete: {rest}");
    stopping.await.expect("no panic").expect("stops");
}

#[tokio::test]
async fn replaced_certificate_is_used_without_a_restart() {
    let home = tempfile::tempdir().expect("a directory");
    let (before, after) = (Authority::new(), Authority::new());
    let tls = before.write(home.path(), "hub", 2100);
    let (hub, _monitor, _session) =
        start_with_endpoint(home.path(), endpoint(Some(tls), Some(write_tokens(home.path())))).await;
    let port = port(&hub);
    connect(&before.client(None), port).await.expect("connects");
    let error = connect(&after.client(None), port).await.expect_err("another authority").to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");
    after.write(home.path(), "hub", 2100);
    poll_until("the new certificate", async || connect(&after.client(None), port).await.ok()).await;
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn client_without_a_trusted_certificate_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let (authority, other_authority) = (Authority::new(), Authority::new());
    let elsewhere = tempfile::tempdir().expect("a directory");
    let foreign = other_authority.write(elsewhere.path(), "client", 2100);
    let own = authority.write(home.path(), "client", 2100);
    let mut tls = authority.write(home.path(), "hub", 2100);
    tls.client_ca = Some(home.path().join("ca.pem"));
    let (hub, _monitor, _session) =
        start_with_endpoint(home.path(), endpoint(Some(tls), Some(write_tokens(home.path())))).await;
    for (files, is_accepted) in [(None, false), (Some(&foreign), false), (Some(&own), true)] {
        // With TLS 1.3 the client receives the refusal after its handshake.
        let response = async {
            let mut stream = connect(&authority.client(files), port(&hub)).await?;
            let head =
                format!("GET /v1/health HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {LOOK}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            let mut first = [0; 12];
            stream.read_exact(&mut first).await?;
            std::io::Result::Ok(String::from_utf8_lossy(&first).into_owned())
        };
        let response = response.await;
        assert_eq!(
            response.as_ref().is_ok_and(|line| line == "HTTP/1.1 200"),
            is_accepted,
            "{files:?} {response:?}"
        );
    }
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn stream_over_tls_resumes_after_last_event_id() {
    let home = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let tls = authority.write(home.path(), "hub", 2100);
    let (hub, _monitor, session) =
        start_with_endpoint(home.path(), endpoint(Some(tls), Some(write_tokens(home.path())))).await;
    session.emit("STOP", "");
    session.emit("RESUME", "");
    Watcher::new(&hub).until("vm1 1.2 RESUME").await;
    let mut request = build_request("GET", "/v1/events", Some(LOOK), "");
    request.headers_mut().insert("last-event-id", "2".parse().expect("a header"));
    let answer = request_over_tls(&authority.client(None), port(&hub), request).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut lines = Lines::new(answer);
    for expected in ["retry: 2000", "id: 2", "", "id: 3", "event: event"] {
        assert_eq!(lines.next().await.as_deref(), Some(expected));
    }
    assert!(lines.next().await.is_some_and(|line| line.contains("RESUME")));
    session.emit("STOP", "");
    assert_eq!(lines.next().await.as_deref(), Some(""));
    assert_eq!(lines.next().await.as_deref(), Some("id: 4"), "live and without delay");
    hub.stop().await.expect("stops");
}

/// A client that shares no code with the hub is served.
#[tokio::test]
async fn curl_with_a_token_is_served() {
    let home = tempfile::tempdir().expect("a directory");
    let tls = Authority::new().write(home.path(), "hub", 2100);
    let (hub, _monitor, _session) =
        start_with_endpoint(home.path(), endpoint(Some(tls), Some(write_tokens(home.path())))).await;
    let address = format!("https://{}/v1/health", port(&hub));
    for version in ["1.2", "1.3"] {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--tls-max", version]);
        curl.args(["--tlsv1.2", "--write-out", " %{http_code}", "--cacert"]).arg(home.path().join("ca.pem"));
        curl.args(["--header", &format!("Authorization: Bearer {LOOK}"), &address]);
        let output = tokio::task::spawn_blocking(move || curl.output()).await.expect("no panic");
        match output {
            Ok(output) => {
                let errors = String::from_utf8_lossy(&output.stderr);
                assert_eq!(
                    String::from_utf8_lossy(&output.stdout),
                    r#"{"status":"ok"} 200"#,
                    "{version}: {errors}"
                );
            }
            Err(error) if std::env::var_os("CI").is_none() => {
                eprintln!("not checked: cannot run curl ({error}); Debian has it in the package curl");
            }
            Err(error) => panic!("cannot run curl: {error}; install the package curl"),
        }
    }
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn invalid_endpoint_file_is_reported_at_the_start() {
    let home = tempfile::tempdir().expect("a directory");
    let path = |name: &str| home.path().join(name);
    let authority = Authority::new();
    let (good, other) =
        (authority.write(home.path(), "hub", 2100), authority.write(home.path(), "other", 2100));
    let open = |name: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::copy(path("hub.key"), path(name)).expect("copies");
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(mode)).expect("sets");
        path(name)
    };
    let tls = |certificate: &Path, key: &Path| {
        Some(qmp_http::TlsFiles { certificate: certificate.into(), key: key.into(), client_ca: None })
    };
    let shown = |text: &str| text.replace("HOME", &home.path().display().to_string());
    write(&path("empty"), "# none\n");
    let cases = [
        (
            tls(&path("none"), &good.key),
            None,
            "cannot read the certificate HOME/none: No such file or directory (os error 2)",
        ),
        (
            tls(&good.certificate, &path("none")),
            None,
            "cannot read the private key HOME/none: No such file or directory (os error 2)",
        ),
        (
            tls(&path("empty"), &good.key),
            None,
            "HOME/empty holds no certificate; it should be PEM, beginning with -----BEGIN",
        ),
        (
            tls(&good.certificate, &path("empty")),
            None,
            "HOME/empty holds no private key; it should be PEM, beginning with -----BEGIN",
        ),
        (
            tls(&good.certificate, &other.key),
            None,
            "cannot serve with the certificate HOME/hub.pem and the key HOME/other.key: the key belongs to another certificate",
        ),
        (
            tls(&good.certificate, &open("open.key", 0o604)),
            None,
            "every user of this host may read the private key HOME/open.key; make it private: chmod o= HOME/open.key",
        ),
        (
            None,
            Some(open("open", 0o602)),
            "every user of this host may change the token file HOME/open; make it private: chmod o= HOME/open",
        ),
        (
            None,
            Some(path("none")),
            "cannot read the token file HOME/none: No such file or directory (os error 2)",
        ),
        (
            None,
            Some(path("empty")),
            "there is no token in HOME/empty, so no client could connect; add a line: NAME TOKEN [observe|operate]",
        ),
    ];
    for (tls, tokens, expected) in cases {
        let mut config = config(home.path(), &[]);
        config.http.push(endpoint(tls, tokens));
        let place = config.http[1].to_string();
        let error = Daemon::start(config).await.expect_err(expected).to_string();
        assert_eq!(error, format!("cannot serve at {place}: {}", shown(expected)));
    }
}

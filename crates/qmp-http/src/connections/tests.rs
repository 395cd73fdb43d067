//! Responses to clients over the limit of connections.

use std::path::Path;

use qmp_journal::{Journal, JournalOptions};
use tokio::io::AsyncReadExt as _;

use super::*;
use crate::endpoint::HttpEndpoint;
use crate::listen::listen;

#[tokio::test]
async fn client_over_the_limit_gets_short_responses_and_no_stream() {
    let home = tempfile::tempdir().expect("a directory");
    let (path, socket) = (home.path().join("journal.db"), home.path().join("hub.sock"));
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    let (_ends, ending) = watch::channel(false);
    let api = ApiState::without_vms(&journal, path, ending.clone()).await;
    let clients = Arc::clone(api.registry.clients());
    clients.set_max(2);
    let endpoint: HttpEndpoint = format!("unix:{}", socket.display()).parse().expect("an address");
    let serving = tokio::spawn(serve(listen(&endpoint).await.expect("listens"), api, ending));

    let mut readers = Vec::new();
    for _ in 0..2 {
        let (stream, head) = ask(&socket, "/v1/events").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        readers.push(stream);
    }
    let (_refused, head) = ask(&socket, "/v1/events").await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("TooManyClients"), "{head}");
    // More connections than there are spare ones, all without a request.
    let mut idle = Vec::new();
    for _ in 0..3 * HTTP_SPARE_MAX {
        idle.push(UnixStream::connect(&socket).await.expect("connects"));
    }
    let (_answered, head) = ask(&socket, "/v1/hub").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("connection: close"), "{head}");
    drop(readers);
    while clients.used() > 0 {
        tokio::task::yield_now().await;
    }
    let (_stream, head) = ask(&socket, "/v1/events").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    serving.abort();
}

/// Sends a request, and reads the beginning of the response.
async fn ask(socket: &Path, path: &str) -> (UnixStream, String) {
    let mut stream = UnixStream::connect(socket).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = vec![0; 16 << 10];
    let read = stream.read(&mut answer).await.expect("a response");
    answer.truncate(read);
    (stream, String::from_utf8(answer).expect("UTF-8"))
}

#[test]
fn time_beyond_the_year_9999_has_no_date_header() {
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    assert!(has_date(at(0)) && has_date(at(253_402_300_799)));
    assert!(!has_date(at(253_402_300_800)));
    assert!(!has_date(UNIX_EPOCH - Duration::from_secs(1)), "before 1970");
}

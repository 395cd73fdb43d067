//! The page: its headers, and that it is served without a token.

use crate::support::client::send_request;
use crate::support::config;
use crate::support::endpoints::{build_request, endpoint, port, write_tokens};
use http_body_util::BodyExt as _;
use qmp_daemon::Daemon;
use tokio::net::TcpStream;

#[tokio::test]
async fn page_needs_no_token_and_permits_nothing_but_its_own_files() {
    let home = tempfile::tempdir().expect("a directory");
    let tokens = write_tokens(home.path());
    let mut config = config(home.path(), &[]);
    config.http.push(endpoint(None, Some(tokens)));
    let hub = Daemon::start(config).await.expect("starts");
    let ask = async |path: &str| {
        let stream = TcpStream::connect(port(&hub)).await.expect("the hub listens");
        send_request(stream, build_request("GET", path, None, "")).await
    };
    for path in ["/", "/vm/web1", "/event/STOP"] {
        let answer = ask(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        let header = |name: &str| answer.headers()[name].to_str().expect("text");
        assert_eq!(header("content-type"), "text/html; charset=utf-8");
        assert_eq!((header("cache-control"), header("x-content-type-options")), ("no-cache", "nosniff"));
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin");
        let policy = header("content-security-policy");
        for directive in
            ["default-src 'none'", "script-src 'self'", "trusted-types 'none'", "form-action 'none'"]
        {
            assert!(policy.contains(directive), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(header("etag").starts_with('"'));
    }
    let document = ask("/").await.into_body().collect().await.expect("complete").to_bytes();
    let document = String::from_utf8(document.to_vec()).expect("UTF-8");
    let assets: Vec<&str> = document.split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 2, "{document}");
    for path in assets {
        let answer = ask(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.headers()["cache-control"].to_str().is_ok_and(|cache| cache.contains("immutable")));
    }
    let statuses = [("/assets/other.js", 404), ("/favicon.ico", 204), ("/v1/vms", 401), ("/vm/a/b", 404)];
    for (path, status) in statuses {
        assert_eq!(ask(path).await.status(), status, "{path}");
    }
    hub.stop().await.expect("stops");
}

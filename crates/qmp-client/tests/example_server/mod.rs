// A scripted monitor for the examples of the documentation, which include this file. It serves one connection: it replies
// to every command, lets a backup succeed, and closes after the reply to `cont` or to the second `query-name` (the first
// is a follower's own).
#[allow(dead_code)]
mod example_server {
    use serde_json::{Value, json};
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{UnixListener, UnixStream};

    pub struct Server {
        pub address: String,
        _directory: tempfile::TempDir,
    }

    pub async fn start() -> Server {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        let address = format!("unix:{}", path.display());
        tokio::spawn(async move { serve(listener.accept().await.unwrap().0).await });
        Server { address, _directory: directory }
    }

    async fn serve(stream: UnixStream) {
        let (read, mut write) = stream.into_split();
        let version = json!({"qemu": {"major": 9, "minor": 2, "micro": 0}, "package": ""});
        let greeting = json!({"QMP": {"version": version, "capabilities": []}});
        write.write_all(format!("{greeting}\r\n").as_bytes()).await.unwrap();
        let mut lines = BufReader::new(read).lines();
        let (mut jobs_queries, mut name_queries, mut ends) = (0, 0, false);
        while !ends && let Ok(Some(line)) = lines.next_line().await {
            let command: Value = serde_json::from_str(&line).unwrap();
            let mut event = None;
            let value = match command["execute"].as_str().unwrap() {
                "query-status" => json!({"status": "running", "running": true}),
                "query-name" => {
                    name_queries += 1;
                    ends = name_queries == 2;
                    json!({"name": "vm1"})
                }
                "query-block" => json!([]),
                "query-jobs" => {
                    jobs_queries += 1;
                    let status = if jobs_queries == 1 { "running" } else { "concluded" };
                    event = Some(
                        json!({"event": "JOB_STATUS_CHANGE", "data": {"id": "backup0", "status": status}}),
                    );
                    json!([{"id": "backup0", "type": "backup", "status": status, "current-progress": 1, "total-progress": 1}])
                }
                "cont" => {
                    ends = true;
                    event = Some(json!({"event": "RESUME", "timestamp": {"seconds": 1, "microseconds": 2}}));
                    json!({})
                }
                _ => json!({}),
            };
            let reply = json!({"return": value, "id": command["id"]});
            let event = event.map_or_else(String::new, |event| format!("{event}\r\n"));
            write.write_all(format!("{event}{reply}\r\n").as_bytes()).await.unwrap();
        }
    }
}

//! What a server says about its streams and consumers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use qmp_testing::NatsServer;
use serde_json::Value;

/// The body of a monitoring page.
pub(crate) fn monitoring(server: &NatsServer, path: &str) -> Value {
    let url = server.monitoring_url();
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("connects");
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("writes");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("reads");
    let body = reply.split_once("\r\n\r\n").expect("a head and a body").1;
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {reply}"))
}

/// The stream `qmp` with its consumers, as `/jsz` has it; `None` before it exists.
pub(crate) fn stream(server: &NatsServer) -> Option<Value> {
    let page = monitoring(server, "/jsz?accounts=true&streams=true&consumers=true&config=true");
    let accounts = page["account_details"].as_array()?.iter();
    let mut streams = accounts.filter_map(|account| account["stream_detail"].as_array()).flatten();
    streams.find(|stream| stream["name"] == "qmp").cloned()
}

/// The subjects by which the server filters for each consumer of the stream `qmp`.
pub(crate) fn consumer_filters(server: &NatsServer) -> Vec<Vec<String>> {
    let stream = stream(server);
    let consumers = stream.as_ref().and_then(|stream| stream["consumer_detail"].as_array());
    let filters = consumers.into_iter().flatten().map(|consumer| {
        let config = &consumer["config"];
        assert_eq!(config["ack_policy"], "none", "{consumer}");
        let several = config["filter_subjects"].as_array().into_iter().flatten();
        let one = config.get("filter_subject").into_iter();
        several
            .chain(one)
            .filter_map(Value::as_str)
            .filter(|filter| !filter.is_empty())
            .map(str::to_owned)
            .collect()
    });
    let mut filters: Vec<Vec<String>> = filters.collect();
    filters.sort();
    filters
}

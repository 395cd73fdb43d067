//! Exchanges: input and output.

use std::{fmt::Write as _, os::unix::net::UnixStream, time::Duration};

use super::client::Client;

/// Silence after which a QEMU has sent everything, when the end of input cannot make it finish.
const QUIET: Duration = Duration::from_millis(400);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub name: String,
    pub chunks: Vec<String>,
    pub output: Vec<String>,
}

/// Parses exchanges; `< ` is a line of the output.
pub fn parse(text: &str) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for line in text.lines().skip_while(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("# ") {
            exchanges.push(Exchange { name: name.into(), chunks: Vec::new(), output: Vec::new() });
        } else if let Some(chunk) = line.strip_prefix("> ") {
            exchanges.last_mut().expect("a name comes first").chunks.push(chunk.into());
        } else if let Some(output) = line.strip_prefix("< ") {
            exchanges.last_mut().expect("a name comes first").output.push(output.into());
        } else {
            assert!(line.is_empty() || line.starts_with("## "), "unknown line: {line}");
        }
    }
    exchanges
}

pub fn print(head: &str, exchanges: &[Exchange]) -> String {
    let mut text = String::from(head);
    for exchange in exchanges {
        writeln!(text, "\n# {}", exchange.name).unwrap();
        exchange.chunks.iter().for_each(|chunk| writeln!(text, "> {chunk}").unwrap());
        exchange.output.iter().for_each(|line| writeln!(text, "< {line}").unwrap());
    }
    text
}

impl Exchange {
    /// Returns the bytes to send.
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        self.chunks.iter().map(|chunk| unescape(chunk)).collect()
    }

    /// Sends everything and returns all received lines, without the times of events.
    pub fn run(&self, stream: UnixStream) -> Vec<String> {
        let mut client = Client::new(stream);
        for chunk in self.bytes() {
            client.send(chunk);
        }
        if self.name.ends_with("(oob)") {
            client.lines_until_quiet(QUIET);
        }
        client.finish();
        client.rest().iter().map(|line| without_time(line)).collect()
    }
}

fn unescape(chunk: &str) -> Vec<u8> {
    if let Some((count, text)) = chunk.strip_prefix('*').and_then(|chunk| chunk.split_once(' ')) {
        return unescape(text).repeat(count.parse().expect("a count"));
    }
    let mut bytes = Vec::new();
    let mut rest = chunk.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().expect("an escape") {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).expect("two digits")
            }
            other => panic!("an escape that does not exist: {other}"),
        });
    }
    bytes
}

/// Returns an event without the numbers of its timestamp.
pub fn without_time(line: &str) -> String {
    let Some(rest) = line.strip_prefix(r#"{"timestamp": {"#) else { return line.into() };
    let (_, rest) = rest.split_once('}').expect("a timestamp ends");
    format!(r#"{{"timestamp": {{*}}{rest}"#)
}

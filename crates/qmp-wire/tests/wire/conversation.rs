//! A client on a virtual clock, and its outputs in one line of text each.

use std::time::{Duration, Instant};

use qmp_wire::{Client, ClientConfig, ClientOutput, RawEvent};

/// The nonce of every connection here.
pub(crate) const NONCE: u64 = 0xc0ffee;

/// A client and its clock.
pub(crate) struct Conversation {
    pub(crate) client: Client,
    pub(crate) now: Instant,
}

impl Conversation {
    pub(crate) fn new(out_of_band: bool) -> Self {
        let now = Instant::now();
        let mut config = ClientConfig::new(NONCE);
        config.out_of_band = out_of_band;
        let client = Client::new(config, now);
        Self { client, now }
    }

    /// Passes `bytes` to the client; returns its outputs.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Vec<String> {
        self.client.handle_input(bytes);
        self.outputs()
    }

    /// Returns the outputs of the client.
    pub(crate) fn outputs(&mut self) -> Vec<String> {
        let mut outputs = Vec::new();
        loop {
            match self.client.poll_output() {
                Ok(Some(output)) => outputs.push(line(&output)),
                Ok(None) => return outputs,
                Err(error) => {
                    outputs.push(format!("error {error}"));
                    return outputs;
                }
            }
        }
    }

    /// Returns the requests that the client wants to send, one each.
    pub(crate) fn sent(&mut self) -> Vec<String> {
        let mut sent = Vec::new();
        while !self.client.transmit().is_empty() {
            let text = std::str::from_utf8(self.client.transmit()).unwrap().to_owned();
            sent.extend(text.lines().map(str::to_owned));
            self.client.consume_transmit(text.len());
        }
        sent
    }

    /// Lets time pass; returns the error if it ends the connection.
    pub(crate) fn wait(&mut self, duration: Duration) -> Vec<String> {
        self.now += duration;
        self.client.handle_timeout(self.now).err().map(|error| format!("error {error}")).into_iter().collect()
    }

    /// Closes the server's side.
    pub(crate) fn end(&mut self) -> Vec<String> {
        match self.client.handle_end() {
            Ok(()) => vec!["closed".to_owned()],
            Err(error) => vec![format!("error {error}")],
        }
    }
}

/// Returns the raw id of the command with this number.
pub(crate) fn id(number: u64) -> String {
    format!("\"{NONCE:016x}-{number}\"")
}

/// Formats an output in one line.
pub(crate) fn line(output: &ClientOutput<'_>) -> String {
    match output {
        ClientOutput::Greeting(greeting) => {
            let version = match &greeting.version {
                Some(version) => format!("{}.{}.{}", version.major, version.minor, version.micro),
                None => "unknown".to_owned(),
            };
            format!("greeting {version} {:?}", greeting.capabilities)
        }
        ClientOutput::Negotiated { out_of_band: true } => "negotiated oob".to_owned(),
        ClientOutput::Negotiated { out_of_band: false } => "negotiated".to_owned(),
        ClientOutput::Event(event) => event_line(event),
        ClientOutput::Reply { id, result: Ok(value) } => format!("reply {} {value}", id.0),
        ClientOutput::Reply { id, result: Err(error) } => format!("reply {} error {error}", id.0),
        ClientOutput::Unattributed(error) => format!("unattributed {error}"),
        ClientOutput::Stray(raw) => format!("stray {raw}"),
        _ => unreachable!("no other output exists"),
    }
}

/// Formats an event in one line: name, time, data.
pub(crate) fn event_line(event: &RawEvent<'_>) -> String {
    let time = match event.timestamp {
        Some(time) => format!("{}.{:06}", time.seconds(), time.microseconds()),
        None => "-".to_owned(),
    };
    format!("event {} {time} {}", event.name, event.data.unwrap_or("-"))
}

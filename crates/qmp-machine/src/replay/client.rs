//! One client of a replay: bytes in, bytes out.

use std::sync::Arc;

use qmp_events::Release;
use qmp_wire::{
    Message,
    server::{Profile, Server},
};

use super::{
    replies::one_line,
    session::{Session, members},
};

/// The server's side of a client's connection.
#[derive(Debug)]
pub(super) struct Client {
    server: Server,
    /// Bytes to send.
    pub(super) output: Vec<u8>,
    /// Whether the client sent requests since the flag was last cleared.
    pub(super) has_request: bool,
}

impl Client {
    /// Sends the greeting of the session; a session without a recorded greeting claims `release`.
    pub(super) fn new(session: &Session, release: Release) -> Self {
        let Release { major, minor, micro } = release;
        let version = (major.into(), minor.into(), micro.unwrap_or(0).into());
        let unknown = Profile { version, package: "".into(), out_of_band: false, pretty: false };
        let Some(greeting) = &session.greeting else {
            let server = Server::new(Arc::new(unknown));
            let mut client = Self { server, output: session.early.clone(), has_request: false };
            client.collect();
            return client;
        };
        let mut profile = unknown;
        let mut negotiates = false;
        if let Ok(Message::Greeting(greeting)) = Message::parse(greeting.as_bytes()) {
            profile.out_of_band = greeting.capabilities.iter().any(|capability| &**capability == "oob");
            if let Some(version) = greeting.version {
                profile.version = (version.major, version.minor, version.micro);
                negotiates = true;
            }
        }
        let mut server = Server::new(Arc::new(profile));
        if !negotiates {
            // QEMU 0.12 has no negotiation.
            server.handle_input(b"{\"execute\": \"qmp_capabilities\"}");
            while server.poll_request().is_some() {}
        }
        // The recorded greeting replaces the server's own.
        server.consume_output(server.output().len());
        let mut output = session.early.clone();
        output.extend_from_slice(greeting.as_bytes());
        output.extend_from_slice(b"\r\n");
        Self { server, output, has_request: false }
    }

    /// Processes bytes from the client and replies to them.
    pub(super) fn handle_input(&mut self, bytes: &[u8], session: &Session) {
        self.has_request = true;
        self.server.handle_input(bytes);
        while let Some((id, request)) = self.server.poll_request() {
            match self.reply(&request.command, session) {
                Ok(text) => self.server.reply_text(id, &text),
                Err(refusal) => self.server.reply(id, Err(refusal)),
            }
        }
        self.collect();
    }

    /// Returns whether negotiation is done.
    pub(super) fn in_command_mode(&self) -> bool {
        self.server.in_command_mode()
    }

    fn reply(&self, command: &str, session: &Session) -> Result<Vec<u8>, qmp_wire::server::Refusal> {
        let reply = session.replies.find(command);
        match (reply, command, &session.greeting) {
            (Err(refusal), "query-version", Some(greeting)) => version(greeting).ok_or(refusal),
            (reply, ..) => reply,
        }
    }

    fn collect(&mut self) {
        let length = self.server.output().len();
        self.output.extend_from_slice(self.server.output());
        self.server.consume_output(length);
    }
}

/// Returns the version of a greeting, byte for byte as `query-version` returns it.
fn version(greeting: &str) -> Option<Vec<u8>> {
    let member = |object: &'_ str, name: &str| {
        members(object).into_iter().find(|(member, _)| member == name).map(|(_, value)| value.to_owned())
    };
    let version = member(&member(greeting, "QMP")?, "version")?;
    Some(one_line(&version))
}

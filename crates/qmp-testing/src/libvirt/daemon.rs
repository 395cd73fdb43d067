//! The daemon's side of its connections.

use std::collections::BTreeMap;

use super::frames::{QEMU, REMOTE, error, libvirt_frame, text, words};

/// The code of the error for a domain that does not exist.
const NO_DOMAIN: i32 = 42;

/// A domain of the daemon.
#[derive(Clone, Debug)]
pub struct LibvirtDomain {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uuid: [u8; 16],
    /// The number of its run; −1 while it does not run.
    pub id: i32,
    /// Its state and the reason.
    pub state: (u32, u32),
    /// Whether the daemon can speak to its QEMU: 0 means so, 2 not yet, 3 never again.
    pub control: u32,
}

/// The daemon's side of its connections. It replies to each call at once; a call that it does not know gets error 39.
///
/// Events go to the client that registered last. The methods without a client mean the first one.
#[derive(Debug, Default)]
pub struct LibvirtDaemon {
    /// The kinds of authentication: 0 none, 1 SASL, 2 polkit.
    pub authentications: Vec<u32>,
    /// The domains, running or not.
    pub domains: Vec<LibvirtDomain>,
    /// Procedures that get this error, by program and number.
    pub refusals: BTreeMap<(u32, u32), (i32, String)>,
    /// Procedures that get no reply.
    pub unanswered: Vec<(u32, u32)>,
    /// Domains whose QEMU hangs, by name: their commands get no reply until [`revive`](Self::revive).
    pub hung: Vec<String>,
    /// The URI that cannot be opened, as the one of another daemon.
    pub refused_uri: Option<String>,
    /// Events that precede the reply to the registration for events of monitors, by name of the domain.
    pub early_events: Vec<(String, String)>,
    calls: Vec<(u32, u32)>,
    unreplied: Vec<UnrepliedCall>,
    clients: BTreeMap<u32, ClientBuffers>,
    /// The client that registered for events.
    follower: u32,
}

/// The bytes of one connection.
#[derive(Debug, Default)]
struct ClientBuffers {
    input: Vec<u8>,
    output: Vec<u8>,
}

/// A call without a reply.
#[derive(Debug)]
struct UnrepliedCall {
    client: u32,
    header: [u32; 6],
    /// The payload, which begins with a domain in the calls that hang.
    payload: Vec<u8>,
}

impl LibvirtDomain {
    /// A domain that runs, booted.
    #[must_use]
    pub fn running(name: &str, uuid: [u8; 16], id: i32) -> Self {
        Self { name: name.to_owned(), uuid, id, state: (1, 1), control: 0 }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = text(&self.name);
        bytes.extend(self.uuid);
        bytes.extend(self.id.to_be_bytes());
        bytes
    }
}

impl LibvirtDaemon {
    /// A daemon without authentication, with these domains.
    #[must_use]
    pub fn new(domains: Vec<LibvirtDomain>) -> Self {
        Self { authentications: vec![0], domains, ..Self::default() }
    }

    /// Processes bytes from the client.
    ///
    /// # Panics
    ///
    /// If the bytes are no frames of calls or of keepalive.
    pub fn handle_input(&mut self, bytes: &[u8]) {
        self.handle_input_of(0, bytes);
    }

    /// Takes the bytes for the client.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.take_output_of(0)
    }

    pub(super) fn handle_input_of(&mut self, client: u32, bytes: &[u8]) {
        self.client(client).input.extend(bytes);
        loop {
            let input = &mut self.client(client).input;
            let Some(length) = input.get(..4).map(word).filter(|length| *length <= input.len()) else {
                return;
            };
            let frame: Vec<u8> = input.drain(..length).collect();
            let header: [u32; 6] = std::array::from_fn(|place| word32(&frame[4 + 4 * place..]));
            self.handle_frame(client, header, &frame[28..]);
        }
    }

    pub(super) fn take_output_of(&mut self, client: u32) -> Vec<u8> {
        std::mem::take(&mut self.client(client).output)
    }

    /// Whether the client gets the events.
    pub(super) fn is_follower(&self, client: u32) -> bool {
        self.follower == client
    }

    /// The connection of a client ended.
    pub(super) fn forget(&mut self, client: u32) {
        self.clients.remove(&client);
        self.unreplied.retain(|call| call.client != client);
    }

    /// Lets the QEMU of a domain reply to its commands.
    pub fn revive(&mut self, name: &str) {
        self.hung.retain(|hung| hung != name);
        let (replied, unreplied) = std::mem::take(&mut self.unreplied)
            .into_iter()
            .partition(|call| self.addressed(&call.payload).is_ok_and(|domain| domain.name == name));
        self.unreplied = unreplied;
        for UnrepliedCall { client, header, payload } in replied {
            self.handle_call(client, header, &payload);
        }
    }

    /// The calls so far: program and procedure.
    #[must_use]
    pub fn calls(&self) -> &[(u32, u32)] {
        &self.calls
    }

    /// Number of calls that were not replied to.
    #[must_use]
    pub fn unreplied_calls(&self) -> usize {
        self.unreplied.len()
    }

    /// Returns the domain of this name.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn domain(&mut self, name: &str) -> &mut LibvirtDomain {
        self.domains.iter_mut().find(|domain| domain.name == name).expect("a domain of this name")
    }

    /// Sends an event of the monitor of a domain, with the time 1795856600.000001.
    pub fn emit(&mut self, name: &str, event: &str, data: Option<&str>) {
        let mut payload = self.domain(name).encode();
        payload.extend(text(event));
        payload.extend(words(&[0, 1_795_856_600, 1]));
        payload.extend(data.map_or_else(|| words(&[0]), |data| [words(&[1]), text(data)].concat()));
        self.send_message(QEMU, 6, 1, &payload);
    }

    /// Sends a lifecycle event and its detail.
    pub fn emit_lifecycle(&mut self, name: &str, event: u32, detail: u32) {
        let mut payload = self.domain(name).encode();
        payload.extend(words(&[event, detail]));
        self.send_message(REMOTE, 318, 0, &payload);
    }

    /// Says that the monitor of a domain is lost.
    pub fn emit_control_error(&mut self, name: &str) {
        let payload = self.domain(name).encode();
        self.send_message(REMOTE, 325, 0, &payload);
    }

    /// Sends a ping.
    pub fn ping(&mut self) {
        self.send(&libvirt_frame([0x6b65_6570, 1, 1, 2, 0, 0], &[]));
    }

    /// Sends bytes unchanged.
    pub fn send(&mut self, bytes: &[u8]) {
        let follower = self.follower;
        self.client(follower).output.extend(bytes);
    }

    /// Forgets the connections, and serves the next ones.
    pub fn reset(&mut self) {
        self.clients.clear();
        self.calls.clear();
        self.unreplied.clear();
    }

    fn client(&mut self, client: u32) -> &mut ClientBuffers {
        self.clients.entry(client).or_default()
    }

    fn send_message(&mut self, program: u32, procedure: u32, callback: u32, payload: &[u8]) {
        let payload = [&words(&[callback]), payload].concat();
        self.send(&libvirt_frame([program, 1, procedure, 2, 1, 0], &payload));
    }

    fn handle_frame(&mut self, client: u32, header: [u32; 6], payload: &[u8]) {
        let [program, version, procedure, kind, _, status] = header;
        if program == 0x6b65_6570 {
            if procedure == 1 {
                self.client(client).output.extend(libvirt_frame([program, 1, 2, 2, 0, 0], &[]));
            }
            return;
        }
        assert_eq!((version, kind, status), (1, 0, 0), "a call");
        if (program, procedure) == (REMOTE, 316) && !self.is_follower(client) {
            // The calls of the sessions before are of no interest.
            self.follower = client;
            self.calls.clear();
        }
        self.calls.push((program, procedure));
        self.handle_call(client, header, payload);
    }

    fn handle_call(&mut self, client: u32, header: [u32; 6], payload: &[u8]) {
        let [program, _, procedure, _, serial, _] = header;
        let is_of_hung = |domain: &LibvirtDomain| self.hung.contains(&domain.name);
        let hangs = (program, procedure) == (QEMU, 1) && self.addressed(payload).is_ok_and(is_of_hung);
        if hangs || self.unanswered.contains(&(program, procedure)) {
            return self.unreplied.push(UnrepliedCall { client, header, payload: payload.to_owned() });
        }
        let refusal = self.refusals.get(&(program, procedure)).cloned();
        let reply = refusal.map_or_else(|| self.reply(program, procedure, payload), Err);
        let (status, payload) = match reply {
            Ok(payload) => (0, payload),
            Err((code, message)) => (1, error(code, &message)),
        };
        let reply = libvirt_frame([program, 1, procedure, 1, serial, status], &payload);
        self.client(client).output.extend(reply);
    }

    fn reply(&mut self, program: u32, procedure: u32, payload: &[u8]) -> Result<Vec<u8>, (i32, String)> {
        Ok(match (program, procedure) {
            (REMOTE, 66) => {
                let count = u32::try_from(self.authentications.len()).expect("few");
                words(&[&[count], &*self.authentications].concat())
            }
            (REMOTE, 1) if self.refuses(payload) => {
                return Err((1, "internal error: unexpected QEMU URI path, try qemu:///session".to_owned()));
            }
            (REMOTE, 1 | 2) => Vec::new(),
            (REMOTE, 60 | 70 | 316) => words(&[1]),
            (REMOTE, 59) => text("host1"),
            (REMOTE, 157) => words(&[0, 9_000_000]),
            (REMOTE, 212) => {
                let (state, reason) = self.addressed(payload)?.state;
                words(&[state, reason])
            }
            (REMOTE, 229) => words(&[self.addressed(payload)?.control, 0, 0, 7]),
            (REMOTE, 273) => {
                let only_active = payload[7] == 1;
                let listed: Vec<_> =
                    self.domains.iter().filter(|domain| !only_active || domain.id >= 0).collect();
                let count = words(&[u32::try_from(listed.len()).expect("few")]);
                let domains = listed.iter().flat_map(|domain| domain.encode());
                count.iter().copied().chain(domains).chain(count.iter().copied()).collect()
            }
            (QEMU, 1) => text(r#"{"return":{},"id":"libvirt-1"}"#),
            (QEMU, 4) => {
                for (name, event) in std::mem::take(&mut self.early_events) {
                    self.emit(&name, &event, None);
                }
                words(&[1])
            }
            _ => return Err((39, format!("unknown procedure: {procedure}"))),
        })
    }

    /// Returns whether the URI in the arguments of the call that opens is refused.
    fn refuses(&self, payload: &[u8]) -> bool {
        let refused = self.refused_uri.as_deref().map(str::as_bytes);
        refused.is_some_and(|uri| payload[8..].starts_with(uri))
    }

    /// Returns the domain at the beginning of the payload, by its UUID.
    fn addressed(&self, payload: &[u8]) -> Result<&LibvirtDomain, (i32, String)> {
        let uuid = 4 + word(payload).next_multiple_of(4);
        let uuid = &payload[uuid..uuid + 16];
        let found = self.domains.iter().find(|domain| domain.uuid == uuid);
        found.ok_or_else(|| (NO_DOMAIN, "Domain not found: no domain with matching uuid".to_owned()))
    }
}

fn word32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("4 bytes"))
}

fn word(bytes: &[u8]) -> usize {
    usize::try_from(word32(bytes)).expect("a size")
}

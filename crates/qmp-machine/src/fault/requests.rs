//! Matches replies to their commands.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use qmp_host::lock;
use qmp_wire::{
    dialect::{ErrorTexts, Input, Value},
    server::Request,
};

/// Maximum number of outstanding requests of a connection that are tracked; the oldest are discarded.
///
/// A client has a handful under way.
const REQUESTS_MAX: usize = 4096;

/// The outstanding requests of one connection. Pass it the client's bytes before the machine gets them.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    open: Arc<Mutex<PendingRequests>>,
}

#[derive(Debug)]
struct PendingRequests {
    input: Input,
    /// The `id` and the command of each request; no command if the message is not a request.
    waiting: VecDeque<(Option<Value>, Option<String>)>,
}

impl Default for PendingRequests {
    fn default() -> Self {
        Self { input: Input::new(ErrorTexts::Worded), waiting: VecDeque::new() }
    }
}

impl Requests {
    /// Processes bytes from the client, cut anywhere.
    pub fn handle_input(&self, bytes: &[u8]) {
        let mut open = lock(&self.open);
        open.input.feed(bytes);
        while let Some(item) = open.input.poll() {
            let request = match item {
                Ok(value) => {
                    let (id, request) = Request::read(value, true);
                    (id, request.ok().map(|request| request.command))
                }
                Err(_) => (None, None),
            };
            open.waiting.push_back(request);
            if open.waiting.len() > REQUESTS_MAX {
                open.waiting.pop_front();
            }
        }
    }

    /// Returns the command that a reply belongs to and removes the request.
    pub(super) fn answered(&self, reply: &[u8]) -> Option<String> {
        let Value::Object(reply) = Value::read(reply) else { return None };
        if reply.get("return").is_none() && reply.get("error").is_none() {
            return None;
        }
        let mut open = lock(&self.open);
        let index = open.waiting.iter().position(|(id, _)| id.as_ref() == reply.get("id"))?;
        open.waiting.remove(index)?.1
    }
}

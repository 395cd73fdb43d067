//! Runs the requests of clients.

use std::sync::Arc;

use qmp_events::EventKind;
use qmp_wire::{
    dialect::Value,
    server::{Refusal, Request, RequestId},
};

use super::event_loop::EventLoop;
use crate::{
    check,
    connection::{ClientDisconnect, ConnectionKey},
    panics::{self, CaughtPanic},
    pending_command::{Arms, PendingCommand, ReplyQueue},
};

/// The outcome of a request.
enum Outcome {
    Reply(Result<Vec<u8>, Refusal>),
    /// Success without a reply.
    Silent,
    HandedOver,
}

impl EventLoop {
    /// Serves the clients that got a reply from another thread, and may have more requests.
    pub(super) fn serve_waiting(&mut self) {
        for key in std::mem::take(&mut self.to_serve) {
            self.serve(key);
        }
    }

    /// Runs the requests of a client that can run now, writes the output, and closes the connection if that was
    /// all.
    pub(super) fn serve(&mut self, key: ConnectionKey) {
        while self.has_room(key) {
            // Earlier events are not for a client whose negotiation ends here; for all other clients, they precede
            // the following ones.
            self.deliver_queue();
            let Some(connection) = self.connection(key) else { return };
            let request = connection.server.poll_request();
            connection.collect();
            self.admit(key);
            let Some((id, request)) = request else { break };
            let outcome = self.run(key, id, request);
            self.deliver_queue();
            let Some(connection) = self.connection(key) else { return };
            match outcome {
                Outcome::Reply(Ok(text)) => connection.server.reply_text(id, &text),
                Outcome::Reply(Err(refusal)) => connection.server.reply(id, Err(refusal)),
                Outcome::Silent => connection.server.forget(id),
                Outcome::HandedOver => {}
            }
            connection.collect();
        }
        self.finish(key);
    }

    /// Returns whether a client reads its output; further requests of a client that does not read have to wait.
    fn has_room(&mut self, key: ConnectionKey) -> bool {
        let output_max_bytes = self.parts.output_max_bytes;
        self.connection(key).is_some_and(|connection| connection.outgoing.len() <= output_max_bytes / 2)
    }

    /// Writes the output; closes the connection if that was all.
    pub(super) fn finish(&mut self, key: ConnectionKey) {
        let output_max_bytes = self.parts.output_max_bytes;
        let Some(connection) = self.connections.get_mut(key.slot as usize).and_then(Option::as_mut) else {
            return;
        };
        if connection.key != key {
            return;
        }
        let waited = connection.outgoing.len() > output_max_bytes / 2;
        let reads = connection.server.wants_input() && !waited;
        let watched = match connection.flush() {
            Ok(()) if connection.is_done() => Err(ClientDisconnect),
            Ok(()) => connection.watch(reads),
            Err(ClientDisconnect) => Err(ClientDisconnect),
        };
        match watched {
            Err(ClientDisconnect) => self.close(key),
            // The client has read enough of its output: continue with its requests.
            Ok(()) if waited && connection.outgoing.len() <= output_max_bytes / 2 => self.to_serve.push(key),
            Ok(()) => {}
        }
    }

    fn run(&mut self, key: ConnectionKey, id: RequestId, mut request: Request) -> Outcome {
        let Some(caller) = self.connection(key).map(|connection| connection.caller.clone()) else {
            return Outcome::HandedOver;
        };
        let shared = &self.parts.shared;
        let ready = &self.parts.ready;
        let Ok(ready) = panics::catch(&shared.counters, &**ready) else {
            return Outcome::Reply(Err(panics::refusal(&request.command)));
        };
        let Some(command) = self.parts.commands.get_mut(&request.command) else {
            let desc = format!("The command {} has not been found", request.command);
            return Outcome::Reply(Err(Refusal::command_not_found(desc)));
        };
        if let Err(refusal) = command.check(&request, ready) {
            return Outcome::Reply(Err(refusal));
        }
        check::wrap_unsigned(&mut request.arguments, &command.arguments);
        let arms = arms(&request);
        let (is_handed_over, is_checked) = (command.is_handed_over(), command.is_checked());
        let returns = Arc::clone(&command.returns);
        let name: Box<str> = request.command.as_str().into();
        let pending = |arguments| PendingCommand {
            name: name.clone(),
            arguments,
            out_of_band: request.out_of_band,
            request: id,
            connection: key,
            replies: Some(Arc::clone(shared) as Arc<dyn ReplyQueue>),
            arms: arms.clone(),
            returns: Arc::clone(&returns),
            caller: caller.clone(),
        };
        let outcome =
            panics::catch(&shared.counters, || command.execute(&caller, request.arguments, pending));
        match outcome {
            // A pending command replies by itself, at the latest when it is dropped.
            Ok(None) => Outcome::HandedOver,
            Err(CaughtPanic) if is_handed_over => Outcome::HandedOver,
            Err(CaughtPanic) => Outcome::Reply(Err(panics::refusal(&name))),
            Ok(Some(result)) => {
                let checked = |text| shared.policy.check_return(&name, &returns, text, &shared.counters);
                let result = if is_checked { result.and_then(checked) } else { result };
                if let (Ok(_), Some((kind, source))) = (&result, arms) {
                    shared.arm(kind, source.as_deref());
                }
                if result.is_ok() && !command.replies { Outcome::Silent } else { Outcome::Reply(result) }
            }
        }
    }
}

/// Returns the event whose source a command re-arms, and the source; `None` for all sources.
fn arms(request: &Request) -> Option<Arms> {
    let (kind, argument) = match &*request.command {
        "query-rx-filter" => (EventKind::NicRxFilterChanged, "name"),
        "block-set-write-threshold" => (EventKind::BlockWriteThreshold, "node-name"),
        _ => return None,
    };
    let source = match request.arguments.get(argument) {
        Some(Value::String(name)) => Some(name.clone()),
        _ => None,
    };
    Some((kind, source))
}

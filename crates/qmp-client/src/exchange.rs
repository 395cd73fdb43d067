//! Pairs the commands of a queue with the replies of a connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Context;

use qmp_wire::{CommandError, CommandId};

use crate::close_reason::CloseReason;
use crate::command_queue::{CommandQueue, ReplyTarget, Request};
use crate::commander::PendingReply;
use crate::connection::Connection;
use crate::execute_error::ExecuteError;

/// Most in-band commands that are sent ahead of their replies: as many as QEMU accepts. The others stay in the queue,
/// where they are counted and can still be cancelled.
///
/// Source: QEMU `monitor/qmp.c`, `QMP_REQ_QUEUE_LEN_MAX`.
const IN_BAND_MAX_COMMANDS: usize = 8;

/// The command of a probe: QEMU of every release replies to it at once, and it changes no state.
const PROBE: &str = "query-status";

/// Commands that were sent and have no reply yet.
#[derive(Debug)]
pub(crate) struct Exchange {
    queue: Arc<CommandQueue>,
    in_flight: BTreeMap<CommandId, InFlight>,
    in_band: usize,
    /// The probe that has no reply yet.
    probe: Option<CommandId>,
}

#[derive(Debug)]
struct InFlight {
    target: ReplyTarget,
    in_band: bool,
}

impl Exchange {
    pub(crate) fn new(queue: Arc<CommandQueue>) -> Self {
        Self { queue, in_flight: BTreeMap::new(), in_band: 0, probe: None }
    }

    /// Gives the connection the commands that may be sent. Afterwards `cx` is woken when a command is queued.
    pub(crate) fn poll_commands(&mut self, connection: &mut Connection, cx: &Context<'_>) {
        while let Some(request) = self.queue.poll_next(self.in_band < IN_BAND_MAX_COMMANDS, cx) {
            let Request { command, arguments, out_of_band, descriptors, target } = request;
            let id = if out_of_band {
                Ok(connection.execute_out_of_band(&command, arguments.as_deref()))
            } else {
                connection.execute_with_descriptors(&command, arguments.as_deref(), descriptors)
            };
            match id {
                Ok(id) => {
                    self.in_band += usize::from(!out_of_band);
                    self.in_flight.insert(id, InFlight { target, in_band: !out_of_band });
                }
                Err(error) => drop(PendingReply::new(target, Err(error))),
            }
        }
        let has_room = self.probe.is_none() && self.in_band < IN_BAND_MAX_COMMANDS;
        if has_room && self.queue.take_probe() {
            self.probe = Some(connection.execute(PROBE, None));
        }
    }

    /// Whether this is the reply to the probe; if so, another probe can be sent.
    pub(crate) fn take_probe(&mut self, id: CommandId) -> bool {
        let is_probe = self.probe == Some(id);
        if is_probe {
            self.probe = None;
        }
        is_probe
    }

    /// Finds the target of a reply; `None` if no command of the queue has this id.
    pub(crate) fn reply(
        &mut self,
        id: CommandId,
        result: Result<&str, CommandError>,
    ) -> Option<PendingReply> {
        if self.take_probe(id) {
            return None;
        }
        let InFlight { target, in_band } = self.in_flight.remove(&id)?;
        self.in_band -= usize::from(in_band);
        Some(PendingReply::new(target, result.map(Into::into).map_err(ExecuteError::Refused)))
    }

    /// The connection ended: fails every command that has no reply.
    pub(crate) fn fail(&mut self, reason: &CloseReason) -> impl Iterator<Item = PendingReply> {
        self.in_band = 0;
        std::mem::take(&mut self.in_flight)
            .into_values()
            .map(|sent| PendingReply::new(sent.target, Err(ExecuteError::Closed { reason: reason.clone() })))
    }
}

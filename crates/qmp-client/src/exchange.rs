//! Pairs the commands of a mailbox with the replies of a connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Context;

use qmp_wire::{CommandError, CommandId};

use crate::commander::PendingReply;
use crate::mailbox::{Asker, Mailbox, Request};
use crate::{Connection, ExecuteError, Gone};

/// Most in-band commands that are handed to the connection ahead of their replies: as many as QEMU takes in. The others
/// stay in the mailbox, where they are counted, and can still be given up.
///
/// Source: QEMU `monitor/qmp.c`, `QMP_REQ_QUEUE_LEN_MAX`.
const IN_BAND_MAX_COMMANDS: usize = 8;

/// What a probe asks: QEMU of every release answers it at once, and it changes nothing.
const PROBE: &str = "query-status";

/// Commands that were sent and have no reply yet.
#[derive(Debug)]
pub(crate) struct Exchange {
    mailbox: Arc<Mailbox>,
    in_flight: BTreeMap<CommandId, InFlight>,
    in_band: usize,
    /// The probe that has no answer yet.
    probe: Option<CommandId>,
}

#[derive(Debug)]
struct InFlight {
    asker: Asker,
    in_band: bool,
}

impl Exchange {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { mailbox, in_flight: BTreeMap::new(), in_band: 0, probe: None }
    }

    /// Gives to the connection what may be sent. Afterwards `cx` is woken when a command comes.
    pub(crate) fn poll_commands(&mut self, connection: &mut Connection, cx: &Context<'_>) {
        while let Some(request) = self.mailbox.poll_take(self.in_band < IN_BAND_MAX_COMMANDS, cx) {
            let Request { command, arguments, out_of_band, descriptors, asker } = request;
            let id = if out_of_band {
                Ok(connection.execute_out_of_band(&command, arguments.as_deref()))
            } else {
                connection.execute_with_descriptors(&command, arguments.as_deref(), descriptors)
            };
            match id {
                Ok(id) => {
                    self.in_band += usize::from(!out_of_band);
                    self.in_flight.insert(id, InFlight { asker, in_band: !out_of_band });
                }
                Err(error) => drop(PendingReply::new(asker, Err(error))),
            }
        }
        let has_room = self.probe.is_none() && self.in_band < IN_BAND_MAX_COMMANDS;
        if has_room && self.mailbox.take_probe() {
            self.probe = Some(connection.execute(PROBE, None));
        }
    }

    /// Whether this is the answer to the probe; another one can be sent then.
    pub(crate) fn take_probe(&mut self, id: CommandId) -> bool {
        let is_probe = self.probe == Some(id);
        if is_probe {
            self.probe = None;
        }
        is_probe
    }

    /// Finds the asker of a reply; `None` if nobody here asked.
    pub(crate) fn reply(
        &mut self,
        id: CommandId,
        result: Result<&str, CommandError>,
    ) -> Option<PendingReply> {
        if self.take_probe(id) {
            return None;
        }
        let InFlight { asker, in_band } = self.in_flight.remove(&id)?;
        self.in_band -= usize::from(in_band);
        Some(PendingReply::new(asker, result.map(Into::into).map_err(ExecuteError::Refused)))
    }

    /// The connection ended: what was sent has no reply to come.
    pub(crate) fn fail(&mut self, gone: &Gone) -> impl Iterator<Item = PendingReply> {
        self.in_band = 0;
        std::mem::take(&mut self.in_flight)
            .into_values()
            .map(|sent| PendingReply::new(sent.asker, Err(ExecuteError::Gone { reason: gone.clone() })))
    }
}

//! Migration, outgoing and incoming, and its companions (COLO, failover, VFIO, SPICE clients).

mod state;
mod lifecycle;
mod parameters;
mod settings;
mod outgoing;
mod incoming;
mod colo;

pub(super) use lifecycle::at_exit;
pub(crate) use state::Migration;

use crate::commands::Entry;

pub(crate) fn commands() -> Vec<Entry> {
    [
        parameters::commands(),
        settings::commands(),
        outgoing::commands(),
        incoming::commands(),
        colo::commands(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

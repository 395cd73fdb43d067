//! Panics of the embedder's code, caught where the monitor's loop calls it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use qmp_wire::server::Refusal;

use crate::counters::{Counters, add};

/// Code of the embedder panicked; the panic hook has reported it.
#[derive(Debug)]
pub(crate) struct Panicked;

/// Calls `code`, and counts a panic in it.
///
/// State that `code` shares with other threads may be left half changed: that is the embedder's, whose locks are
/// poisoned by it. Nothing of the monitor is borrowed by `code`.
pub(crate) fn catch<T>(counters: &Counters, code: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|_| {
        add(&counters.panics, 1);
        Panicked
    })
}

/// What the client of a command gets when the code that runs it panicked.
pub(crate) fn refusal(command: &str) -> Refusal {
    Refusal::generic(format!("The command {command} panicked"))
}

/// The text of a panic that ended a thread.
pub(crate) fn text(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(|text| &**text)).unwrap_or("no message")
}

//! Catches panics of the embedder's code in the monitor's loop.

use std::panic::{AssertUnwindSafe, catch_unwind};

use qmp_wire::server::Refusal;

use crate::counters::{Counters, add};

/// A panic of the embedder's code; the panic hook has reported it.
#[derive(Debug)]
pub(crate) struct CaughtPanic;

/// Calls `code`, and counts a panic in it.
///
/// State that `code` shares with other threads may be left inconsistent: that is the embedder's responsibility,
/// whose locks are poisoned. `code` borrows nothing of the monitor.
pub(crate) fn catch<T>(counters: &Counters, code: impl FnOnce() -> T) -> Result<T, CaughtPanic> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|_| {
        add(&counters.panics, 1);
        CaughtPanic
    })
}

/// Returns the reply for the client of a command whose code panicked.
pub(crate) fn refusal(command: &str) -> Refusal {
    Refusal::generic(format!("The command {command} panicked"))
}

/// Returns the text of a panic that ended a thread.
pub(crate) fn text(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(|text| &**text)).unwrap_or("no message")
}

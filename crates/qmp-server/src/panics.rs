//! Catches panics of the embedder's code: in a call, and in the drop of a value.

use std::{
    any::Any,
    fmt,
    ops::{Deref, DerefMut},
    panic::{AssertUnwindSafe, catch_unwind},
};

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
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| {
        add(&counters.panics, 1);
        discard(payload);
        CaughtPanic
    })
}

/// Drops a value of the embedder; a panic of the drop is caught, and not counted.
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // The drop of this payload could panic, too.
        std::mem::forget(payload);
    }
}

/// A closure of the embedder, which may have captured values whose drop panics: [`discard`] drops it.
pub(crate) struct Hook<F: ?Sized>(Option<Box<F>>);

impl<F: ?Sized> Hook<F> {
    pub(crate) fn new(code: Box<F>) -> Self {
        Self(Some(code))
    }
}

impl<F: ?Sized> Deref for Hook<F> {
    type Target = F;

    fn deref(&self) -> &F {
        self.0.as_deref().expect("only the drop removes the closure")
    }
}

impl<F: ?Sized> DerefMut for Hook<F> {
    fn deref_mut(&mut self) -> &mut F {
        self.0.as_deref_mut().expect("only the drop removes the closure")
    }
}

impl<F: ?Sized> Drop for Hook<F> {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}

impl<F: ?Sized> fmt::Debug for Hook<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Hook")
    }
}

/// Returns the reply for the client of a command whose code panicked.
pub(crate) fn refusal(command: &str) -> Refusal {
    Refusal::generic(format!("The command {command} panicked"))
}

/// Returns the text of a panic that ended a thread.
pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(|text| &**text)).unwrap_or("no message")
}

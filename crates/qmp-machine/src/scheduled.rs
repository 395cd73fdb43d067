//! Calls that a user of the machine scheduled: a panic in one is caught and reported.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// The panics of scheduled calls.
#[derive(Debug, Default)]
pub(crate) struct Panics {
    pub(crate) count: u64,
    /// The text of the first one since the last report, and the number of later ones.
    unreported: Option<(Box<str>, u64)>,
}

impl Panics {
    /// Records a panic.
    pub(crate) fn add(&mut self, payload: Box<dyn Any + Send>) {
        self.count += 1;
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(|text| &**text));
        match &mut self.unreported {
            Some((_, more)) => *more += 1,
            None => self.unreported = Some((text.unwrap_or("no message").into(), 0)),
        }
        discard(payload);
    }

    /// Returns the error that reports all panics since the last call; `None` if there was none.
    pub(crate) fn report(&mut self) -> Option<std::io::Error> {
        let (text, more) = self.unreported.take()?;
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        Some(std::io::Error::other(format!("a scheduled call panicked: {text}{more}")))
    }
}

/// A value of the user: a panic of its drop is caught.
pub(crate) struct UserValue<T>(Option<T>);

impl<T> UserValue<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    pub(crate) fn into_inner(mut self) -> T {
        self.0.take().expect("only this and the drop remove the value")
    }
}

impl<T> Drop for UserValue<T> {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}

/// Calls `call`; returns the payload of its panic as an error.
///
/// The machine is consistent after each of its own operations, of which `call` may have completed some.
pub(crate) fn call<T>(call: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(call))
}

fn discard<T>(value: T) {
    if let Err(payload) = call(|| drop(value)) {
        // The drop of this payload could panic, too.
        std::mem::forget(payload);
    }
}

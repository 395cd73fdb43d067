//! Tasks that run as long as the hub. A task that ends earlier is a fault of the hub, which health reports.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::lock::lock;

/// The tasks of the hub that ended early. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Duties(Arc<Mutex<Vec<Box<str>>>>);

/// Records the end of a task by a panic.
struct Duty {
    name: Box<str>,
    duties: Duties,
}

impl Duties {
    /// Runs `task`, whose end is a fault unless `may_end` returns that it was ordered by then. An aborted task is
    /// no fault.
    pub fn watch<N: Into<Box<str>>, E: Fn() -> bool + Send, T: Future<Output = ()> + Send>(
        &self,
        name: N,
        may_end: E,
        task: T,
    ) -> impl Future<Output = ()> + Send + use<N, E, T> {
        let duty = Duty { name: name.into(), duties: self.clone() };
        async move {
            task.await;
            if !may_end() {
                duty.ended("it returned");
            }
        }
    }

    /// Returns the tasks that ended.
    pub fn ended(&self) -> Vec<Box<str>> {
        lock(&self.0).clone()
    }
}

impl Duty {
    fn ended(&self, how: &str) {
        let mut ended = lock(&self.duties.0);
        if !ended.contains(&self.name) {
            tracing::error!(task = %self.name, "a task of the hub ended unexpectedly: {how}");
            ended.push(self.name.clone());
        }
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.ended("it panicked");
        }
    }
}

/// Returns whether a task may end: once `stop` is true.
pub fn ends_after(stop: &watch::Sender<bool>) -> impl Fn() -> bool + Send + 'static {
    let stop = stop.subscribe();
    move || *stop.borrow()
}

/// Waits until all tasks have ended, and logs those that died.
pub async fn join_all(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!("a task of the hub died: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unexpected_end_is_noted_and_an_expected_one_is_not() {
        let duties = Duties::default();
        tokio::spawn(duties.watch("told to end", || true, async {})).await.expect("ends");
        let aborted = tokio::spawn(duties.watch("aborted", || false, std::future::pending()));
        aborted.abort();
        aborted.await.expect_err("is aborted");
        assert_eq!(duties.ended(), Vec::<Box<str>>::new());
        tokio::spawn(duties.watch("returned", || false, async {})).await.expect("ends");
        tokio::spawn(duties.watch("panicked", || true, async { panic!("of this test") }))
            .await
            .expect_err("panics");
        assert_eq!(duties.ended(), ["returned".into(), "panicked".into()]);
    }
}

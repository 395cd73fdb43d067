//! SIGINT and SIGTERM: how people and supervisors end a program.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;

/// Both of them. From the moment at which this is made, they do not end the program by themselves.
#[derive(Debug)]
pub struct End {
    interrupt: Signal,
    terminate: Signal,
}

impl End {
    /// Takes the signals.
    pub fn new() -> Result<Self, Failure> {
        let take = |kind| {
            signal(kind).map_err(|error| Failure::failed(format_args!("cannot take signals: {error}")))
        };
        Ok(Self { interrupt: take(SignalKind::interrupt())?, terminate: take(SignalKind::terminate())? })
    }

    /// Waits for one of them.
    pub async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for `work`, which blocks, on a thread of its own. One of the signals ends it early, by `stop`; what `work`
    /// has open is closed when this returns.
    pub async fn or_stop<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
        stop: impl FnOnce(),
    ) -> Result<T, tokio::task::JoinError> {
        let mut ended = tokio::task::spawn_blocking(work);
        tokio::select! {
            ended = &mut ended => ended,
            () = self.recv() => {
                stop();
                ended.await
            }
        }
    }
}

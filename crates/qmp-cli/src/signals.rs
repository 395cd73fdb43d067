//! SIGINT and SIGTERM: the signals with which users and service managers end a program.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;

/// Receives both signals. Once this is constructed, they do not end the program by themselves.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Registers for the signals.
    pub fn new() -> Result<Self, Failure> {
        let register = |kind| {
            signal(kind).map_err(|error| Failure::failed(format_args!("cannot handle signals: {error}")))
        };
        Ok(Self {
            interrupt: register(SignalKind::interrupt())?,
            terminate: register(SignalKind::terminate())?,
        })
    }

    /// Waits for one of them.
    pub async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Runs `work`, which blocks, on a separate thread. A signal ends the work early, through `stop`; its open files are
    /// closed when this returns.
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

//! One attempt to deliver, and the pause after it: meanwhile the records that wait are counted.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::{Flow, Runner, SINK_RETRY_AFTER_MAX};
use crate::backlog::BACKLOG_INTERVAL;
use crate::delivery::{Delivery, DeliveryFailure, DeliveryOutcome};

impl Runner {
    /// Makes one attempt to deliver records, of which there is at least one, and pauses after a failure. Returns how many of
    /// them are handled, from the first on.
    pub(super) async fn attempt(&mut self, deliveries: &[Delivery]) -> ControlFlow<(), usize> {
        let outcome = self.deliver_once(deliveries).await;
        let arrived = outcome.delivered.min(deliveries.len());
        if arrived > 0 {
            self.refusals = 0;
            self.arrived(&deliveries[..arrived], outcome.rejected.as_ref());
        }
        let Some(failure) = outcome.failure else { return ControlFlow::Continue(arrived) };
        let pause = match failure {
            DeliveryFailure::Refused { error } => {
                self.refusals += 1;
                let (refusals, attempts) = (self.refusals, self.rule.action.attempts());
                if refusals >= attempts {
                    self.refusals = 0;
                    let Some(refused) = deliveries.get(arrived) else {
                        return ControlFlow::Continue(arrived);
                    };
                    self.give_up(&refused.record, &error);
                    return ControlFlow::Continue(arrived + 1);
                }
                self.report_failure(
                    &error,
                    format_args!("attempt {refusals} of {attempts}, after which the record is given up"),
                );
                self.backoff.next_delay()
            }
            DeliveryFailure::Repeat { after, reason } => {
                self.repeat = Some((after, reason));
                return ControlFlow::Continue(arrived);
            }
            DeliveryFailure::Unavailable { error, after } => {
                self.report_failure(&error, format_args!("retried until it succeeds"));
                let asked = after.unwrap_or_default().min(SINK_RETRY_AFTER_MAX);
                self.backoff.next_delay().max(asked)
            }
        };
        self.pause_and_count(pause).await?;
        ControlFlow::Continue(arrived)
    }

    /// Makes one attempt. While the receiver does not reply, the records that wait are counted.
    async fn deliver_once(&mut self, deliveries: &[Delivery]) -> DeliveryOutcome {
        let Self { sink, backlog, reader, rule, status, read_to, .. } = self;
        status.waiting.fetch_add(backlog.take_counted(*read_to).await, Relaxed);
        let mut attempt = std::pin::pin!(sink.deliver(deliveries));
        loop {
            match tokio::time::timeout(BACKLOG_INTERVAL, &mut attempt).await {
                Ok(outcome) => return outcome,
                Err(_) => {
                    status.waiting.fetch_add(backlog.count(reader, rule, *read_to).await, Relaxed);
                }
            }
        }
    }

    /// Counts the selected records that were committed since the last count, too.
    async fn count_backlog(&mut self) {
        let more = self.backlog.count(&self.reader, &self.rule, self.read_to).await;
        self.status.waiting.fetch_add(more, Relaxed);
    }

    /// Pauses between two attempts.
    async fn pause_and_count(&mut self, pause: Duration) -> Flow {
        self.count_backlog().await;
        let end = Instant::now() + pause;
        while Instant::now() < end {
            self.pause(BACKLOG_INTERVAL.min(end - Instant::now())).await?;
            self.count_backlog().await;
        }
        Flow::Continue(())
    }
}

//! One attempt to deliver, and the pause after it: meanwhile the records that wait are counted.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use qmp_journal::Reader;
use qmp_wire::Offset;
use tokio::time::Instant;

use super::{Flow, Runner};
use crate::backlog::Backlog;
use crate::delivery::{Delivery, DeliveryOutcome};
use crate::rule::RuleConfig;
use crate::status::Status;

/// How often the records that wait for a receiver are counted.
const BACKLOG_INTERVAL: Duration = Duration::from_secs(1);

impl Runner {
    /// Makes one attempt. While the receiver does not reply, the records that wait are counted.
    pub(super) async fn deliver_once(&mut self, deliveries: &[Delivery]) -> DeliveryOutcome {
        let Self { sink, backlog, reader, rule, status, read_to, .. } = self;
        let mut attempt = std::pin::pin!(sink.deliver(deliveries));
        loop {
            match tokio::time::timeout(BACKLOG_INTERVAL, &mut attempt).await {
                Ok(outcome) => return outcome,
                Err(_) => add_backlog(backlog, reader, rule, status, *read_to).await,
            }
        }
    }

    async fn count_backlog(&mut self) {
        add_backlog(&mut self.backlog, &self.reader, &self.rule, &self.status, self.read_to).await;
    }

    /// Pauses between two attempts.
    pub(super) async fn pause_and_count(&mut self, pause: Duration) -> Flow {
        self.count_backlog().await;
        let end = Instant::now() + pause;
        while Instant::now() < end {
            self.pause(BACKLOG_INTERVAL.min(end - Instant::now())).await?;
            self.count_backlog().await;
        }
        Flow::Continue(())
    }
}

/// Adds the selected records to the status that were committed since the last count.
async fn add_backlog(
    backlog: &mut Backlog,
    reader: &Reader,
    rule: &RuleConfig,
    status: &Status,
    read_to: Offset,
) {
    let counted = backlog.records();
    let more = backlog.count(reader, rule, read_to).await.saturating_sub(counted);
    status.waiting.fetch_add(more, Relaxed);
}

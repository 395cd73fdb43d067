//! The records that a rule has read and not handled, of a rule without a limit.

use qmp_wire::Record;

use super::source::SINK_BATCH_RECORDS;
use super::{Flow, Runner};
use crate::delivery::Delivery;

impl Runner {
    /// Whether the next batch is read while the queue is delivered: the sink gets it before its records in flight are
    /// acknowledged. So the rule has the records in flight and two batches in memory, of which each has a bound in bytes.
    pub(super) fn reads_ahead(&self) -> bool {
        let in_flight = self.sink.in_flight_max();
        in_flight > 0 && self.is_behind && self.queue.len() < in_flight + SINK_BATCH_RECORDS
    }

    /// Adds the selected records to the queue.
    pub(super) fn enqueue(&mut self, records: Vec<Record<'static>>) {
        if self.queue.is_empty() {
            self.reported_by_queue = self.reported.clone();
        }
        let mut reported = std::mem::take(&mut self.reported_by_queue);
        for record in records {
            if self.is_delivered(&record, &reported) {
                self.report(&mut reported, &record);
                self.queue.push(Delivery { record, held_back: 0 });
            }
        }
        self.reported_by_queue = reported;
    }

    /// Makes one attempt to deliver the queue.
    pub(super) async fn deliver_queue(&mut self) -> Flow {
        let mut queue = std::mem::take(&mut self.queue);
        let handled = self.attempt(&queue).await?;
        queue.drain(..handled);
        self.queue = queue;
        self.queue_delivered();
        Flow::Continue(())
    }

    /// Moves past the records that were read and not selected, if the queue is empty.
    pub(super) fn queue_delivered(&mut self) {
        if self.queue.is_empty() && self.repeat.is_none() {
            self.moved_to(self.read_to);
        }
    }
}

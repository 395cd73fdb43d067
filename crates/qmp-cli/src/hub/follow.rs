//! A stream of records from the hub that survives restarts of the hub.
//!
//! After the connection is lost, the stream reconnects until the hub answers, and continues after the last record received:
//! by their offsets, no record is missed and none is repeated.

use std::time::Duration;

use qmp_wire::{Offset, Record};

use super::client::HubClient;
use super::error::HubError;
use super::lines::Lines;
use super::request::Query;

/// The delay between attempts to reconnect.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// After so long without a record, the stream asks the hub whether its journal stalls.
const STALL_CHECK_EVERY: Duration = Duration::from_secs(10);

/// Follows the journal of a hub.
#[derive(Debug)]
pub struct HubFollow {
    client: HubClient,
    query: Query,
    position: Offset,
    lines: Option<Lines>,
    is_lost: bool,
}

/// The items of [`HubFollow::next`].
#[derive(Debug)]
pub enum HubItem {
    /// The next record.
    Record(Record<'static>),
    /// The connection was lost; the stream reconnects.
    Lost(HubError),
    /// So many records were removed from the journal; the stream continues after them.
    Removed(u64),
    /// The hub is back, and the stream continues at its position.
    Back,
}

impl HubFollow {
    /// Follows the records that match `query`, after `position`.
    pub fn new(client: HubClient, query: Query, position: Offset) -> Self {
        Self { client, query, position, lines: None, is_lost: false }
    }

    /// The offset of the last record received.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Whether the next record is available without waiting.
    pub fn has_record(&self) -> bool {
        self.lines.as_ref().is_some_and(Lines::has_line)
    }

    /// Returns the next item. Cancel safe.
    ///
    /// # Errors
    ///
    /// Errors that waiting does not resolve: the hub refuses, or the peer is not a hub.
    pub async fn next(&mut self) -> Result<HubItem, HubError> {
        loop {
            let Some(lines) = &mut self.lines else {
                match self.connect().await {
                    Ok(removed) => {
                        let was_lost = std::mem::take(&mut self.is_lost);
                        match removed {
                            0 if was_lost => return Ok(HubItem::Back),
                            0 => continue,
                            removed => return Ok(HubItem::Removed(removed)),
                        }
                    }
                    Err(error) if !error.is_passing() => return Err(error),
                    Err(_) if self.is_lost => {
                        tokio::time::sleep(RETRY_EVERY).await;
                        continue;
                    }
                    Err(error) => {
                        self.is_lost = true;
                        return Ok(HubItem::Lost(error));
                    }
                }
            };
            let Ok(line) = tokio::time::timeout(STALL_CHECK_EVERY, lines.next()).await else {
                // The response shows whether the journal stalls; the stream itself detects a lost hub.
                let _ = self.client.info().await;
                continue;
            };
            let lost = match line {
                Ok(Some(line)) => {
                    let record = Record::from_json(line).map_err(|error| HubError::not_a_record(&error))?;
                    self.position = record.offset.unwrap_or(self.position);
                    return Ok(HubItem::Record(record));
                }
                Ok(None) => HubError::Lost { what: "the hub stopped".into() },
                Err(error) if error.is_passing() => error,
                Err(error) => return Err(error),
            };
            self.lines = None;
            self.is_lost = true;
            return Ok(HubItem::Lost(lost));
        }
    }

    /// Opens the stream; returns how many records were removed after the position.
    async fn connect(&mut self) -> Result<u64, HubError> {
        if self.is_lost {
            let head = self.client.info().await?.head;
            if head < self.position.0 {
                let position = self.position.0;
                let what =
                    format!("its journal ends at offset {head}, before {position}: it is another journal");
                return Err(HubError::NotAHub { what });
            }
        }
        let query = self.query.with("after", self.position.0).with("follow", "true");
        let lines = self.client.records(&query).await?;
        let removed = lines.removed();
        self.lines = Some(lines);
        Ok(removed)
    }
}

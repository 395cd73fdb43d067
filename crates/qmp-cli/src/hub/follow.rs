//! A stream of records from the hub that outlives the hub.
//!
//! When the connection breaks off, the hub is asked again until it answers, and the stream goes on behind the
//! last record that came: offsets make sure that nothing is missed and nothing comes twice.

use std::time::Duration;

use qmp_wire::{Offset, Record};

use super::{HubClient, HubError, Lines, Query};

/// How long to wait before the hub is asked again.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// How long nothing may come until the hub is asked whether its journal takes what comes.
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

/// What [`HubFollow::next`] yields.
#[derive(Debug)]
pub enum HubItem {
    /// The next record.
    Record(Record<'static>),
    /// The hub went away; it is asked again from here on.
    Lost(HubError),
    /// So many records are not in the journal any more; the stream goes on behind them.
    Removed(u64),
    /// The hub is back, and the stream goes on where it broke off.
    Back,
}

impl HubFollow {
    /// The records that match `query`, from behind `position` on.
    pub fn new(client: HubClient, query: Query, position: Offset) -> Self {
        Self { client, query, position, lines: None, is_lost: false }
    }

    /// The offset of the last record that came.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Whether the next record is at hand.
    pub fn has_record(&self) -> bool {
        self.lines.as_ref().is_some_and(Lines::has_line)
    }

    /// The next thing. Cancel safe.
    ///
    /// # Errors
    ///
    /// Those that do not pass by waiting: the hub refuses, or is none.
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
                // Its answer says whether the journal stalls; whether the hub is there, the stream finds out.
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

    /// Asks for what comes; how many records are gone meanwhile.
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

//! Follows the records of a stream for ever, for a reader without a journal of its own.
//!
//! After the connection is lost, it connects again with back-off and continues after the last message. A record that its host
//! publishes again is returned once.

use std::time::Duration;

use qmp_host::Backoff;
use tokio::time::Instant;

use super::error::FleetError;
use super::message::{MessageError, ReceivedMessage};
use super::repetitions::Repetitions;
use super::server::ServerConfig;
use super::stream_reader::{StreamMessage, StreamReader, StreamStart};
use super::subject_filter::widest;

/// The first pause before another attempt to connect.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// The longest such pause.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);

/// The items of [`StreamFollow::next`].
#[derive(Debug)]
pub enum FollowItem {
    /// A record.
    Record(Box<ReceivedMessage>),
    /// The stream cannot be read. Each failed attempt returns one.
    Lost(FleetError),
    /// The stream is read again, after its last message.
    Back {
        /// Whether it was deleted and created in between.
        is_other: bool,
    },
    /// The server has not applied the filter: more records are returned than the filter selects.
    Unfiltered {
        /// The requested filter.
        requested: Box<str>,
        /// The version of the server.
        server_version: Box<str>,
    },
    /// A message is not a record.
    Invalid(MessageError),
}

/// Follows a stream. Connects at the first call of [`open`](Self::open) or [`next`](Self::next).
#[derive(Debug)]
pub struct StreamFollow {
    reader: StreamReader,
    /// The subjects that the server filters by.
    filters: Vec<String>,
    repetitions: Repetitions,
    backoff: Backoff,
    /// When the next attempt is due; `None` while the stream is read.
    retry_at: Option<Instant>,
    /// When the stream was created that was read last.
    created: Option<i128>,
}

impl StreamFollow {
    /// Follows the messages with one of the subjects `filters`, or all of them if there is none.
    #[must_use]
    pub fn new(server: ServerConfig, stream: &str, filters: Vec<String>, start: StreamStart) -> Self {
        let seed = u64::from(std::process::id());
        Self {
            reader: StreamReader::new(server, stream, filters.clone(), start),
            filters,
            repetitions: Repetitions::new(start == StreamStart::End),
            backoff: Backoff::new(RETRY_DELAY, RETRY_DELAY_MAX, seed),
            retry_at: None,
            created: None,
        }
    }

    /// Connects. Returns [`FollowItem::Unfiltered`] if the server does not filter.
    ///
    /// # Errors
    ///
    /// Any [`FleetError`].
    pub async fn open(&mut self) -> Result<Option<FollowItem>, FleetError> {
        let unfiltered = match self.reader.open().await {
            Err(FleetError::Filter { requested }) => {
                let server_version = self.reader.server_version().unwrap_or_default().into();
                self.widen();
                Some(FollowItem::Unfiltered { requested, server_version })
            }
            opened => opened.map(|()| None)?,
        };
        if unfiltered.is_none() {
            self.created = self.reader.created();
        }
        Ok(unfiltered)
    }

    /// Waits for the next item. Cancellation loses nothing.
    pub async fn next(&mut self) -> FollowItem {
        loop {
            if let Some(at) = self.retry_at {
                tokio::time::sleep_until(at).await;
            }
            match self.try_next().await {
                Ok(Some(item)) => return item,
                Ok(None) => {}
                Err(error) => {
                    self.retry_at = Some(Instant::now() + self.backoff.next_delay());
                    return FollowItem::Lost(error);
                }
            }
        }
    }

    /// Removes the consumer at the server, and disconnects.
    pub async fn close(&mut self) {
        self.reader.close().await;
    }

    /// `None` for a message that is a repetition.
    async fn try_next(&mut self) -> Result<Option<FollowItem>, FleetError> {
        let known = self.created;
        if let Some(unfiltered) = self.open().await? {
            return Ok(Some(unfiltered));
        }
        self.backoff.reset();
        if self.retry_at.take().is_some() {
            return Ok(Some(FollowItem::Back { is_other: known.is_some() && known != self.created }));
        }
        let message = self.reader.next().await?;
        Ok(self.item(&message))
    }

    fn item(&mut self, message: &StreamMessage) -> Option<FollowItem> {
        match message.decode() {
            Ok(received) => {
                let is_new = self.repetitions.is_new(&received.journal, received.link);
                is_new.then(|| FollowItem::Record(Box::new(received)))
            }
            Err(error) => Some(FollowItem::Invalid(error)),
        }
    }

    /// Requests one subject instead of several, and then none.
    fn widen(&mut self) {
        let wider = widest(&self.filters).filter(|_| self.filters.len() > 1);
        self.filters = wider.into_iter().collect();
        self.reader.set_filters(self.filters.clone());
    }
}

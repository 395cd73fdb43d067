#![doc = include_str!("../README.md")]
//!
//! # What is exact
//!
//! A message has the offset of its record in the journal of the host, and the offset of the record that the host
//! published before it. A receiver follows this chain, so it recognizes repetitions, and knows each hole with its
//! bounds. The duplicate window of the server (`Nats-Msg-Id`) spares work and decides nothing.
//!
//! `JetStream` acknowledges a message before it syncs its disk. So a host has two cursors: *published*, up to which the
//! server has acknowledged, and *confirmed*, up to which a fleet hub has committed. The host publishes again from the
//! confirmed cursor when the stream has lost acknowledged messages, when a fleet hub asks for it, or when the
//! confirmation does not advance.
//!
//! The crate knows no journal, and no configuration file. `docs/adr/0014-nats.md` has the reasons for the design.

mod token;
mod subject;
mod link;
mod message;
mod confirmation;
mod sign_of_life;
mod stream_config;
mod subject_filter;
mod monitoring;
mod publisher;
mod receiver;
mod error;
mod server;
mod session;
mod publish_driver;
mod stream_consumer;
mod stream_reader;
mod repetitions;
mod stream_follow;

pub use confirmation::{CONFIRMATIONS_MAX, Confirmation};
pub use error::{FleetError, ServerError};
pub use link::Link;
pub use message::{CloudEventAttributes, Message, MessageError, ReceivedMessage};
pub use monitoring::{SyncPolicy, sync_policy};
pub use publish_driver::{
    PublishConfig, PublishDriver, PublishEvent, PublishFailure, PublishHealth, PublishOutcome,
};
pub use publisher::{PUBLISH_WINDOW, Publisher, PublisherState, RepeatCause, StreamMark};
pub use receiver::{Hole, Receiver, ReceiverConfig, ReceiverOutput};
pub use server::{ServerAddress, ServerAddressError, ServerConfig};
pub use sign_of_life::{SIGN_OF_LIFE_INTERVAL, SignOfLife};
pub use stream_config::{ConfigDifference, StreamRequest, covers};
pub use stream_follow::{FollowItem, StreamFollow};
pub use stream_reader::{HostSign, StreamItem, StreamMessage, StreamReader, StreamStart};
pub use subject::{
    RECORD_SUBJECTS, SIGN_OF_LIFE_SUBJECTS, Subject, SubjectError, SubjectNames, SubjectTokens,
    confirmation_stream, confirmation_subject, confirmation_subjects, filter_subject, sign_of_life_host,
    sign_of_life_subject,
};
pub use subject_filter::{SelectedName, SubjectSelection, widest};
pub use token::{TOKEN_MAX_BYTES, Token, TokenError};

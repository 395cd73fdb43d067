//! The traits of every public type by the API guidelines: `Send`, `Sync` and `Debug`, checked when this file is compiled.

use std::error::Error;
use std::fmt::Debug;

use qmp_client::{
    AcceptedStream, Address, AddressError, ClientError, CloseReason, CommandError, Commander, ConnectConfig,
    ConnectError, Connection, EventItem, Events, ExecuteError, Follow, FollowConfig, FollowItem,
    FollowStream, IncomingMonitor, IncomingMonitors, JobEnd, MonitorClient, PeerProcess, PendingReply,
    ReceivedEvent, RetryConfig, Timestamp, Version,
};
use qmp_events::{
    DatalessEvent, DecodeError, Event, EventDesc, EventKind, ParseEventKindError, ParseReleaseError,
    ParseRunStateError, Release, RunState, Violation,
};
use qmp_wire::{Client, FrameError, FrameReader, Record, RecordError, SocketOptions, SocketOptionsError};

fn assert_shared<T: Debug + Send + Sync + 'static>() {}

/// Held by one task at a time: streams and `ReplySink`s need not be `Sync`.
fn assert_moved<T: Debug + Send + 'static>() {}

fn assert_error<T: Error + Send + Sync + 'static>() {}

#[test]
fn public_types_can_be_sent_between_threads() {
    assert_shared::<(MonitorClient, Commander, IncomingMonitors, ReceivedEvent, JobEnd, PeerProcess)>();
    assert_shared::<(Events, EventItem, FollowItem, FollowStream)>();
    assert_shared::<(Address, ConnectConfig, FollowConfig, RetryConfig, Timestamp, Version, CloseReason)>();
    assert_shared::<(Event, EventKind, DatalessEvent, &EventDesc, Release, RunState, Violation)>();
    assert_shared::<(Client, FrameReader, Record<'static>, SocketOptions)>();
    assert_moved::<(Connection, Follow, PendingReply, AcceptedStream, IncomingMonitor)>();
}

#[test]
fn errors_are_errors_that_threads_can_share() {
    assert_error::<ConnectError>();
    assert_error::<ExecuteError>();
    assert_error::<CloseReason>();
    assert_error::<AddressError>();
    assert_error::<ClientError>();
    assert_error::<CommandError>();
    assert_error::<DecodeError>();
    assert_error::<ParseEventKindError>();
    assert_error::<ParseReleaseError>();
    assert_error::<ParseRunStateError>();
    assert_error::<FrameError>();
    assert_error::<RecordError>();
    assert_error::<SocketOptionsError>();
}

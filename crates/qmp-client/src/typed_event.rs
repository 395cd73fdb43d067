//! Typed events of the catalogue, made of the events of a connection.

use crate::events::ReceivedEvent;

impl TryFrom<&ReceivedEvent> for qmp_events::Event {
    type Error = qmp_events::DecodeError;

    /// Decodes the event. An event that the catalogue lacks becomes `Unknown`, and data that does not fit becomes
    /// `Undecodable`: no error, so that nothing is lost.
    fn try_from(event: &ReceivedEvent) -> Result<Self, Self::Error> {
        Self::decode(&event.name, event.data.as_deref())
    }
}

impl TryFrom<ReceivedEvent> for qmp_events::Event {
    type Error = qmp_events::DecodeError;

    /// As from a reference.
    fn try_from(event: ReceivedEvent) -> Result<Self, Self::Error> {
        Self::try_from(&event)
    }
}

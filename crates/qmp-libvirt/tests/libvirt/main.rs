//! The state machine against frames recorded from libvirt, a scripted daemon, and any bytes.

mod conversation;
mod worked_frames;
mod recorded;
mod opening;
mod epochs;
mod properties;

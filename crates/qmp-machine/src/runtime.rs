//! Machines for tests on a tokio runtime, also with a paused clock.

mod clock_hold;
mod driver;
mod stream;
mod machine;

pub use clock_hold::ClockHold;
pub use machine::MemoryMachine;
pub use stream::MemoryStream;

//! Events that need an operating system as the guest: Linux and its drivers, each event caused by its real cause.

mod balloon;
mod disks;
mod memory;
mod net;
mod panic;
mod power;
mod processors;
mod rates;
mod serial;
mod watchdog;

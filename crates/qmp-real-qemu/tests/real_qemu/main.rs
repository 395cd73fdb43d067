//! Every event of a real QEMU that needs no operating system as its guest, each caused by its real cause.

mod clock;
mod disks;
mod jobs;
mod migration;
mod net;
mod power;
mod quorum;
mod rates;
mod run;
mod spice;
mod unplug;
mod vnc;
mod watchdog;

//! Every event of a real QEMU that needs no operating system as its guest, each caused by its real cause.

mod power;
mod run;

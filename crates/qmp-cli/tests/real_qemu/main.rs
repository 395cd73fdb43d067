//! The program with a real `qemu-system-x86_64`.
//!
//! Without an installed QEMU the tests print a note and pass; with `CI` set in the environment they fail.

mod bad_input;
mod catalogue;
mod first_path;
mod hub;
mod libvirt;
mod qemu;
mod two_monitors;
mod wait;

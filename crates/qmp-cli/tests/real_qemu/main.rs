//! The program against a real `qemu-system-x86_64`.
//!
//! Where no QEMU is installed the tests say so and pass; with `CI` set in the environment that is a failure.

mod bad_input;
mod catalogue;
mod first_path;
mod hub;
mod qemu;
mod two_monitors;
mod wait;

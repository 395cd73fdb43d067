//! What a real libvirtd sends for what happens to a domain. Skipped without libvirt, unless `CI` is set.

mod watched_hub;
mod raw;
mod follower;
mod follower_process;
mod hub;
mod stories;
mod migration;
mod proxy;
mod gaps;
mod burden;
mod polkit;
mod lifecycle;
mod recording;

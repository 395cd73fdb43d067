//! What a real libvirtd sends for what happens to a domain. Skipped without libvirt, unless `CI` is set.

mod follower;
mod hub;
mod lifecycle;
mod recording;

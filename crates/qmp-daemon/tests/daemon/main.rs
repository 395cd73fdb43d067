//! The whole hub, over scripted monitors and real QEMUs. All tests are one program: it is linked once.

mod support;

mod config_schema;
mod discovery;
mod discovery_libvirt;
mod discovery_real_qemu;
mod findings_checkpoints;
mod findings_real_qemu;
mod findings_recorded;
mod fleet;
mod hub_damage;
mod hub_endpoints;
mod hub_epochs;
mod hub_events;
mod hub_gaps;
mod hub_http;
mod hub_metrics;
mod hub_openapi;
mod hub_overrun;
mod hub_page;
mod hub_queries;
mod hub_real_qemu;
mod hub_registry;
mod hub_reload;
mod hub_retention;
mod hub_silence;
mod ignored_real_qemu;
mod relay;
mod relay_libvirt;
mod relay_real_qemu;
mod requests;
mod sinks;
mod sinks_nats;
mod sinks_otlp;
mod sinks_recipes;
mod taken_real_qemu;

//! Parses `[machine]`.

use qmp_events::Release;
use serde::{Deserialize, de::value::StrDeserializer};

use super::values::{ScriptReader, Value};
use crate::{
    action::Action,
    script::settings::{self, MachineSettings},
    transitions::{RebootAction, ShutdownAction},
};

const KEYS: [&str; 14] = [
    "release",
    "reboot",
    "shutdown",
    "panic",
    "watchdog",
    "no-reboot",
    "no-shutdown",
    "start-stopped",
    "incoming",
    "memory-bytes",
    "cpus",
    "guest",
    "bare",
    "device",
];

impl<'t> ScriptReader<'t> {
    pub(super) fn machine(&mut self, value: &Value<'t>) -> MachineSettings {
        let mut settings = MachineSettings::default();
        let Some(table) = self.table(value) else { return settings };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "release" => settings.release = self.release(value),
                "reboot" => settings.reboot = self.one_of(value, "action", &["reset", "shutdown"]),
                "shutdown" => settings.shutdown = self.one_of(value, "action", &["poweroff", "pause"]),
                "panic" => {
                    let known = ["none", "pause", "shutdown", "exit-failure"];
                    settings.panic = self.one_of(value, "action", &known);
                }
                "watchdog" => {
                    let known = ["reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"];
                    settings.watchdog = self.one_of(value, "action", &known);
                }
                "no-reboot" => {
                    if self.boolean(value) == Some(true) {
                        settings.reboot = Some(RebootAction::Shutdown);
                    }
                }
                "no-shutdown" => {
                    if self.boolean(value) == Some(true) {
                        settings.shutdown = Some(ShutdownAction::Pause);
                    }
                }
                "start-stopped" => settings.start_stopped = self.boolean(value),
                "incoming" => settings.incoming = self.boolean(value),
                "memory-bytes" => settings.memory_bytes = self.count(value),
                "cpus" => settings.cpus = self.count(value).and_then(|cpus| cpus.try_into().ok()),
                "guest" => settings.guest = self.one_of(value, "guest", &["absent", "attentive"]),
                "bare" => settings.bare = self.boolean(value).unwrap_or(false),
                "device" => settings.devices = self.each(value, "machine.device", Self::device),
                _ => self.unknown(key, &KEYS),
            }
        }
        for (short, long) in [("no-reboot", "reboot"), ("no-shutdown", "shutdown")] {
            if let (Some((short, _)), Some((long, _))) =
                (table.get_key_value(short), table.get_key_value(long))
            {
                self.only_one(&[long, short]);
            }
        }
        settings
    }

    fn release(&mut self, value: &Value<'t>) -> Option<Release> {
        let text = self.string(value)?;
        settings::release(text).map_err(|message| self.problem(&value.span(), &message)).ok()
    }

    fn one_of<T: Deserialize<'static>>(
        &mut self,
        value: &Value<'t>,
        what: &str,
        known: &[&'static str],
    ) -> Option<T> {
        let text = self.string(value)?;
        let Some(text) = known.iter().find(|known| **known == text) else {
            self.unknown_value(value, what, known);
            return None;
        };
        T::deserialize(StrDeserializer::<serde::de::value::Error>::new(text)).ok()
    }

    fn device(&mut self, table: &toml::de::DeTable<'t>, span: std::ops::Range<usize>) -> Option<Action> {
        const MAKERS: [&str; 5] = ["device_add", "blockdev-add", "netdev_add", "chardev-add", "object-add"];
        for key in table.keys().filter(|key| !["execute", "arguments"].contains(&key.get_ref().as_ref())) {
            self.unknown(key, &["execute", "arguments"]);
        }
        let Some(value) = table.get("execute") else {
            self.problem(&span, &format!("this device lacks execute = \"…\", one of {}", MAKERS.join(", ")));
            return None;
        };
        let make = self.string(value)?;
        if !MAKERS.contains(&make) {
            self.unknown_value(value, "way to make a device", &MAKERS);
            return None;
        }
        let mut device = Action::new(make);
        if let Some(arguments) = table.get("arguments") {
            device.arguments = self.object(arguments)?;
        }
        Some(device)
    }
}

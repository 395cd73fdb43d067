//! The commands of a monitor by name, and the two that list them.

use std::collections::BTreeMap;

use qmp_events::Release;

use crate::{builtin, command::Command, schema, types::ObjectType};

/// The commands of a monitor. `query-commands` and `query-qmp-schema` are created at their first use.
#[derive(Debug)]
pub(crate) struct Commands {
    by_name: BTreeMap<Box<str>, Command>,
    release: Release,
    /// Events of the embedder, for `query-qmp-schema`.
    events: BTreeMap<Box<str>, ObjectType>,
    /// Whether the listings are out of date.
    is_stale: bool,
}

impl Commands {
    pub(crate) fn new(
        release: Release,
        events: BTreeMap<Box<str>, ObjectType>,
        commands: impl IntoIterator<Item = Command>,
    ) -> Self {
        let by_name = commands.into_iter().map(|command| (command.name.clone(), command)).collect();
        Self { by_name, release, events, is_stale: true }
    }

    /// Adds a command, replacing one of the same name.
    pub(crate) fn insert(&mut self, command: Command) {
        self.by_name.insert(command.name.clone(), command);
        self.is_stale = true;
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Command> {
        self.is_stale = true;
        self.by_name.remove(name)
    }

    /// Adds an event to the schema.
    pub(crate) fn insert_event(&mut self, name: &str, data: ObjectType) {
        self.events.insert(name.into(), data);
        self.is_stale = true;
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Command> {
        if self.is_stale && builtin::DIRECTORY.contains(&name) {
            self.list();
        }
        self.by_name.get_mut(name)
    }

    /// Creates the listings, unless the embedder has its own.
    fn list(&mut self) {
        self.by_name.retain(|_, command| !command.is_listing);
        let enabled = self.by_name.values().filter(|command| command.disabled.is_none());
        let directory = builtin::directory(self.release, enabled.map(|command| &*command.name), |listings| {
            schema::schema(self.release, &self.events, self.by_name.values().chain(listings))
        });
        for mut command in directory {
            command.is_listing = true;
            self.by_name.entry(command.name.clone()).or_insert(command);
        }
        self.is_stale = false;
    }
}

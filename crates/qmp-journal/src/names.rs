//! Ids of the names of VMs and events.

use std::collections::{HashMap, HashSet};

use qmp_wire::QualifiedName;
use rusqlite::{Connection, OptionalExtension as _};

use super::damage::is_damage;
use super::limits::NAMES_CACHED_MAX_BYTES;

/// The kind of a name. A VM may have the name of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Vm,
    Event,
}

impl Role {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Vm => "vm",
            Self::Event => "event",
        }
    }
}

/// A name with a new id that is not yet in the file.
pub(super) type NewName = (u32, Role, Box<str>);

/// The names as the writer uses them: looks up ids, and assigns new ones.
#[derive(Debug)]
pub(super) struct Names {
    vms: HashMap<Box<str>, u32>,
    events: HashMap<Box<str>, u32>,
    fresh: Vec<NewName>,
    next: u32,
    /// Memory of the names.
    bytes: usize,
    /// Whether every name of the file is in memory.
    complete: bool,
    /// Names that cannot be read. A VM or event with such a name gets another id.
    unreadable: u64,
}

impl Names {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let next = connection.query_row("SELECT max(id) + 1 FROM name", [], |row| row.get(0))?;
        let mut names = Self {
            vms: HashMap::new(),
            events: HashMap::new(),
            fresh: Vec::new(),
            next,
            bytes: 0,
            complete: true,
            unreadable: 0,
        };
        let mut statement =
            connection.prepare("SELECT id, role, name FROM name WHERE role <> 'kind' ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if names.bytes >= NAMES_CACHED_MAX_BYTES {
                names.complete = false;
                break;
            }
            let read = |row: &rusqlite::Row<'_>| {
                let role = if row.get_ref(1)?.as_str()? == Role::Vm.text() { Role::Vm } else { Role::Event };
                Ok((role, row.get(2)?, row.get(0)?))
            };
            match read(row) {
                Ok((role, name, id)) => names.keep(role, name, id),
                Err(error) if is_damage(&error) => names.unreadable += 1,
                Err(error) => return Err(error),
            }
        }
        drop(rows);
        drop(statement);
        Ok(names)
    }

    /// The names of VMs of other hosts in the file, by id.
    pub(super) fn foreign(connection: &Connection) -> rusqlite::Result<HashMap<u32, Box<str>>> {
        let sql = "SELECT id, name FROM name WHERE role = 'vm' AND instr(name, '/') > 0";
        let mut select = connection.prepare(sql)?;
        let mut rows = select.query([])?;
        let mut foreign = HashMap::new();
        while let Some(row) = rows.next()? {
            // A name that cannot be read counts as one without records.
            let Ok(name) = row.get_ref(1)?.as_str() else { continue };
            if QualifiedName::parse(name).is_some() {
                foreign.insert(row.get(0)?, name.into());
            }
        }
        Ok(foreign)
    }

    /// The number of names that cannot be read.
    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// The id of a name in the file.
    pub(super) fn find(connection: &Connection, role: Role, name: &str) -> rusqlite::Result<Option<u32>> {
        connection
            .prepare_cached("SELECT id FROM name WHERE role = ?1 AND name = ?2")?
            .query_row((role.text(), name), |row| row.get(0))
            .optional()
    }

    /// Returns the id of a name, or assigns a new one. `find` looks a name up that is not in memory.
    ///
    /// Repeating the call after an error returns the same id.
    pub(super) fn id<E>(
        &mut self,
        role: Role,
        name: &str,
        find: impl FnOnce(Role, &str) -> Result<Option<u32>, E>,
    ) -> Result<u32, E> {
        if let Some(id) = self.of_role(role).get(name) {
            return Ok(*id);
        }
        if !self.complete
            && let Some(id) = find(role, name)?
        {
            self.keep(role, name.into(), id);
            return Ok(id);
        }
        let id = self.next;
        self.next += 1;
        self.keep(role, name.into(), id);
        self.fresh.push((id, role, name.into()));
        Ok(id)
    }

    /// Takes the names that the next commit has to write.
    pub(super) fn take_fresh(&mut self) -> Vec<NewName> {
        std::mem::take(&mut self.fresh)
    }

    /// Drops the cache if it exceeds the limit. Only after a commit: every name is in the file then.
    pub(super) fn trim(&mut self) {
        if self.bytes > NAMES_CACHED_MAX_BYTES {
            self.clear();
        }
    }

    /// Drops names that were removed from the file. Only after a commit.
    pub(super) fn forget(&mut self, removed: &HashSet<u32>) {
        let bytes = &mut self.bytes;
        self.events.retain(|name, id| {
            let stays = !removed.contains(id);
            *bytes -= if stays { 0 } else { cached_bytes(name) };
            stays
        });
    }

    /// Drops the cache, because the names in the file are not known. Only after a commit.
    pub(super) fn clear(&mut self) {
        (self.vms, self.events) = (HashMap::new(), HashMap::new());
        (self.bytes, self.complete) = (0, false);
    }

    fn keep(&mut self, role: Role, name: Box<str>, id: u32) {
        self.bytes += cached_bytes(&name);
        self.of_role(role).insert(name, id);
    }

    fn of_role(&mut self, role: Role) -> &mut HashMap<Box<str>, u32> {
        match role {
            Role::Vm => &mut self.vms,
            Role::Event => &mut self.events,
        }
    }
}

/// The memory of a cached name: its text, and its entry with room to grow.
pub(super) fn cached_bytes(name: &str) -> usize {
    name.len() + 64
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    fn write(connection: &Connection, names: &mut Names) {
        for (id, role, name) in names.take_fresh() {
            connection
                .execute("INSERT INTO name (id, role, name) VALUES (?1, ?2, ?3)", (id, role.text(), name))
                .expect("no id and no name twice");
        }
    }

    /// A peer that invents names does not grow the memory, and each name keeps its id.
    #[test]
    fn names_beyond_memory_limit_keep_their_ids() {
        let mut connection = Connection::open_in_memory().expect("opens");
        schema::create(&mut connection).expect("makes it");
        let mut names = Names::load(&connection).expect("loads");
        let find = |role, name: &str| Names::find(&connection, role, name);
        let id = |names: &mut Names, role, name: &str| names.id(role, name, find).expect("has an id");
        let (vm, event) = (id(&mut names, Role::Vm, "STOP"), id(&mut names, Role::Event, "STOP"));
        assert_ne!(vm, event, "a VM may have an event's name");
        let many = NAMES_CACHED_MAX_BYTES / cached_bytes("") + 1;
        for number in 0..many {
            id(&mut names, Role::Event, &format!("E{number}"));
        }
        write(&connection, &mut names);
        names.trim();
        assert_eq!((names.bytes, names.events.len()), (0, 0));
        let next = id(&mut names, Role::Event, "another");
        for names in [&mut names, &mut Names::load(&connection).expect("loads")] {
            assert_eq!(id(names, Role::Vm, "STOP"), vm);
            assert_eq!(id(names, Role::Event, "STOP"), event);
            assert_eq!(id(names, Role::Event, "E0"), event + 1);
            assert_eq!(id(names, Role::Event, &format!("E{}", many - 1)), next - 1);
            names.trim();
            assert!(names.bytes <= NAMES_CACHED_MAX_BYTES + cached_bytes("E65535"));
        }
    }
}

//! A query compiled for one file: the ids of the names that it matches, and SQL.

use qmp_wire::{Body, Record};
use rusqlite::Connection;

use super::body::RecordKind;
use super::limits::POSTING_NAMES_MAX;
use super::names::Role;
use super::query::Query;

/// The ids that match the parts of a query, updated as names are added to the file.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    query: Query,
    /// Ids for each part that narrows the query; `None` for a part that does not.
    vm: Option<Vec<u32>>,
    event: Option<Vec<u32>>,
    kind: Option<Vec<u32>>,
    /// The id of the last name that was compared.
    seen: u32,
    /// The conditions that SQLite can check, each with its `AND`.
    sql: String,
}

impl Filter {
    pub(super) fn new(query: Query) -> Self {
        let kind = (!query.kind.is_empty()).then(|| query.kind.iter().map(|kind| kind.id()).collect());
        let mut filter = Self {
            vm: (!query.has_every_vm()).then(Vec::new),
            event: (!query.event.is_any()).then(Vec::new),
            kind,
            query,
            seen: 0,
            sql: String::new(),
        };
        filter.write_sql();
        filter
    }

    pub(super) fn query(&self) -> &Query {
        &self.query
    }

    /// Compares names that were added since the last call.
    pub(super) fn refresh(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.vm.is_none() && self.event.is_none() {
            return Ok(());
        }
        let seen_before = self.seen;
        let mut statement =
            connection.prepare_cached("SELECT id, role, name FROM name WHERE id > ?1 ORDER BY id")?;
        let mut rows = statement.query([self.seen])?;
        while let Some(row) = rows.next()? {
            self.seen = row.get(0)?;
            // A name that cannot be read matches nothing, and its records are skipped.
            let (Ok(role), Ok(name)) = (row.get_ref(1)?.as_str(), row.get_ref(2)?.as_str()) else { continue };
            let (ids, is_match) = match role {
                role if role == Role::Vm.text() => (&mut self.vm, self.query.has_vm(name)),
                role if role == Role::Event.text() => (&mut self.event, self.query.event.matches(name)),
                _ => continue,
            };
            if let Some(ids) = ids.as_mut().filter(|_| is_match) {
                ids.push(self.seen);
            }
        }
        if self.seen != seen_before {
            self.write_sql();
        }
        Ok(())
    }

    /// The SQL condition on a record: ` AND …`, or empty.
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// Whether a segment whose records were received from `min` to `max` can hold a match.
    pub(super) fn may_match(&self, min: i64, max: i64) -> bool {
        self.query.since.is_none_or(|since| max >= since.0)
            && self.query.until.is_none_or(|until| min < until.0)
    }

    /// Whether a record has the names for which postings are looked up.
    pub(super) fn is_posted(&self, record: &Record<'_>) -> bool {
        let is_looked_up =
            |ids: &Option<Vec<u32>>| ids.as_ref().is_some_and(|ids| ids.len() <= POSTING_NAMES_MAX);
        let event = match &record.body {
            Body::Event { name, .. } => self.query.event.matches(name),
            _ => false,
        };
        let is_kind = match self.posted_kinds() {
            Some(_) => self.query.kind.contains(&RecordKind::of(&record.body)),
            None => true,
        };
        (!is_looked_up(&self.vm) || self.query.has_vm(&record.vm))
            && (!is_looked_up(&self.event) || event)
            && is_kind
    }

    /// For each part with few ids, the ids whose postings give candidate offsets: a match is in every list.
    pub(super) fn posted(&self) -> Vec<&[u32]> {
        let lists = [self.vm.as_deref(), self.event.as_deref(), self.posted_kinds()];
        lists.into_iter().flatten().filter(|ids| ids.len() <= POSTING_NAMES_MAX).collect()
    }

    /// The ids of the kinds, if each of them has a posting: events are too many for one.
    fn posted_kinds(&self) -> Option<&[u32]> {
        self.kind.as_deref().filter(|kinds| !kinds.contains(&RecordKind::Event.id()))
    }

    fn write_sql(&mut self) {
        self.sql.clear();
        for (column, ids) in [("vm", &self.vm), ("event", &self.event), ("kind", &self.kind)] {
            if let Some(ids) = ids {
                let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
                self.sql.push_str(&format!(" AND {column} IN ({})", ids.join(",")));
            }
        }
        if let Some(since) = self.query.since {
            self.sql.push_str(&format!(" AND received >= {}", since.0));
        }
        if let Some(until) = self.query.until {
            self.sql.push_str(&format!(" AND received < {}", until.0));
        }
    }
}

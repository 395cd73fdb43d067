//! Parses a reply to `query-qmp-schema`, and resolves its events to all their members.
//!
//! Type names are numbers without meaning, so all of them are resolved. A recursive type is followed once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::entry::{Entry, EntryMember};

/// Maximum nesting of objects in an event: real events have two levels.
pub const SCHEMA_DEPTH_MAX: usize = 32;

/// Maximum number of members of all events together: QEMU has about 300.
pub const SCHEMA_MEMBERS_MAX: usize = 20_000;

/// Maximum length of the name of an event, type, member or value: the longest real one has 40 bytes.
pub const SCHEMA_NAME_MAX_BYTES: usize = 256;

/// The events of an introspection reply.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    events: BTreeMap<String, SchemaEvent>,
    features: BTreeSet<String>,
}

/// An event with all its members.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SchemaEvent {
    /// Members of `data`, nested ones after their object.
    pub members: Vec<SchemaMember>,
    /// Features of the event, such as `deprecated`.
    pub features: Vec<String>,
}

/// A member of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaMember {
    /// Dotted name: `info.device`.
    pub path: String,
    /// The branch of its union: name of the tag, and its value.
    pub branch: Option<(String, String)>,
    /// JSON type; of lists, that of the elements in brackets.
    pub ty: String,
    /// Whether it may be absent.
    pub optional: bool,
    /// The values of an enum, each with its features.
    pub values: Option<BTreeMap<String, Vec<String>>>,
    /// Features of the member.
    pub features: Vec<String>,
}

/// Errors of parsing a reply to `query-qmp-schema`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The text is not a list of schema entries.
    #[error("not a reply to query-qmp-schema: {0}")]
    NotASchema(#[from] serde_json::Error),
    /// Two entries have one name.
    #[error("{name:?} is defined twice")]
    DefinedTwice {
        /// The name.
        name: Box<str>,
    },
    /// A type name has no entry.
    #[error("type {name:?} is not defined")]
    UndefinedType {
        /// The name; empty if a required name is missing.
        name: Box<str>,
    },
    /// A name has more than [`SCHEMA_NAME_MAX_BYTES`] bytes.
    #[error("a name has more than {SCHEMA_NAME_MAX_BYTES} bytes")]
    NameTooLong,
    /// An event nests objects deeper than [`SCHEMA_DEPTH_MAX`] levels.
    #[error("event {event:?} nests more than {SCHEMA_DEPTH_MAX} levels")]
    TooDeep {
        /// The event.
        event: Box<str>,
    },
    /// The events have more than [`SCHEMA_MEMBERS_MAX`] members.
    #[error("the events have more than {SCHEMA_MEMBERS_MAX} members")]
    TooManyMembers,
}

impl Schema {
    /// Parses the return value of `query-qmp-schema`: a JSON list.
    ///
    /// # Errors
    ///
    /// [`SchemaError::NotASchema`] for any other text, [`SchemaError::DefinedTwice`] and
    /// [`SchemaError::UndefinedType`] if its names are inconsistent, and the others beyond their limits.
    pub fn parse(json: &str) -> Result<Self, SchemaError> {
        let entries: Vec<Entry> = serde_json::from_str(json)?;
        let mut resolver = Resolver { types: HashMap::new(), members: 0 };
        for entry in &entries {
            check_names(entry)?;
            // Commands and events have a separate name space from types in practice.
            let is_type = !matches!(&*entry.meta_type, "event" | "command");
            if is_type && resolver.types.insert(&entry.name, entry).is_some() {
                return Err(SchemaError::DefinedTwice { name: (*entry.name).into() });
            }
        }
        let mut schema = Self::default();
        for entry in &entries {
            schema.features.extend(entry.features.iter().cloned());
            let members = entry.members.iter().flatten();
            schema.features.extend(members.flat_map(|member| member.features.iter().cloned()));
            if entry.meta_type == "event" {
                let event = resolver.event(entry)?;
                if schema.events.insert(entry.name.clone(), event).is_some() {
                    return Err(SchemaError::DefinedTwice { name: (*entry.name).into() });
                }
            }
        }
        Ok(schema)
    }

    /// Iterates over the events, sorted by name.
    pub fn events(&self) -> impl Iterator<Item = (&str, &SchemaEvent)> {
        self.events.iter().map(|(name, event)| (&**name, event))
    }

    /// Returns the event of that name.
    pub fn event(&self, name: &str) -> Option<&SchemaEvent> {
        self.events.get(name)
    }

    /// Returns whether any part of the schema has that feature. A QEMU configured to hide deprecated parts shows
    /// none.
    pub(super) fn shows(&self, feature: &str) -> bool {
        self.features.contains(feature)
    }
}

fn check_names(entry: &Entry) -> Result<(), SchemaError> {
    let members = entry.members.iter().flatten().filter_map(|member| member.name.as_ref());
    let cases = entry.variants.iter().flatten().map(|variant| &variant.value);
    let mut names =
        [&entry.name].into_iter().chain(entry.values.iter().flatten()).chain(members).chain(cases);
    if names.any(|name| name.len() > SCHEMA_NAME_MAX_BYTES) {
        return Err(SchemaError::NameTooLong);
    }
    Ok(())
}

struct Resolver<'a> {
    types: HashMap<&'a str, &'a Entry>,
    /// Number of members listed so far.
    members: usize,
}

/// The position in the event whose members are being listed.
struct Position<'a> {
    event: &'a str,
    prefix: String,
    branch: Option<(String, String)>,
    /// The enclosing types, from the outermost.
    within: Vec<&'a str>,
}

impl<'a> Resolver<'a> {
    fn event(&mut self, entry: &'a Entry) -> Result<SchemaEvent, SchemaError> {
        let mut event = SchemaEvent { members: Vec::new(), features: entry.features.clone() };
        let name = entry.arg_type.as_deref().unwrap_or_default();
        let position =
            Position { event: &entry.name, prefix: String::new(), branch: None, within: vec![name] };
        let ty = self.find(name)?;
        self.object(ty, &position, &mut event.members)?;
        Ok(event)
    }

    fn find(&self, name: &str) -> Result<&'a Entry, SchemaError> {
        self.types.get(name).copied().ok_or_else(|| SchemaError::UndefinedType { name: name.into() })
    }

    fn object(
        &mut self,
        ty: &'a Entry,
        position: &Position<'a>,
        list: &mut Vec<SchemaMember>,
    ) -> Result<(), SchemaError> {
        if position.within.len() > SCHEMA_DEPTH_MAX {
            return Err(SchemaError::TooDeep { event: position.event.into() });
        }
        for member in ty.members.iter().flatten() {
            self.member(member, position, list)?;
        }
        let tag = ty.tag.as_deref().unwrap_or_default();
        for variant in ty.variants.iter().flatten() {
            let branch = Some((format!("{}{tag}", position.prefix), variant.value.clone()));
            let mut within = position.within.clone();
            within.push(&variant.ty);
            let position =
                Position { event: position.event, prefix: position.prefix.clone(), branch, within };
            self.object(self.find(&variant.ty)?, &position, list)?;
        }
        Ok(())
    }

    fn member(
        &mut self,
        member: &'a EntryMember,
        position: &Position<'a>,
        list: &mut Vec<SchemaMember>,
    ) -> Result<(), SchemaError> {
        self.members += 1;
        if self.members > SCHEMA_MEMBERS_MAX {
            return Err(SchemaError::TooManyMembers);
        }
        let mut ty = self.find(member.ty.as_deref().unwrap_or_default())?;
        let mut lists = 0;
        while let Some(element) = ty.element_type.as_deref().filter(|_| ty.meta_type == "array") {
            ty = self.find(element)?;
            lists += 1;
            if lists > SCHEMA_DEPTH_MAX {
                return Err(SchemaError::TooDeep { event: position.event.into() });
            }
        }
        let path = format!("{}{}", position.prefix, member.name.as_deref().unwrap_or_default());
        let json_type = match &*ty.meta_type {
            "builtin" => ty.json_type.as_deref().unwrap_or_default(),
            "enum" => "string",
            other => other,
        };
        list.push(SchemaMember {
            path: path.clone(),
            branch: position.branch.clone(),
            ty: format!("{}{json_type}{}", "[".repeat(lists), "]".repeat(lists)),
            optional: member.is_optional,
            values: (ty.meta_type == "enum").then(|| values(ty)),
            features: member.features.clone(),
        });
        if ty.meta_type == "object" && !position.within.contains(&&*ty.name) {
            let mut within = position.within.clone();
            within.push(&ty.name);
            let prefix = format!("{path}{}.", "[]".repeat(lists));
            let position =
                Position { event: position.event, prefix, branch: position.branch.clone(), within };
            self.object(ty, &position, list)?;
        }
        Ok(())
    }
}

/// Returns the values of an enum: from `members`, or from `values` before 6.2.
fn values(ty: &Entry) -> BTreeMap<String, Vec<String>> {
    let members = ty.members.iter().flatten();
    let named = members.filter_map(|member| Some((member.name.clone()?, member.features.clone())));
    match ty.members {
        Some(_) => named.collect(),
        None => ty.values.iter().flatten().map(|value| (value.clone(), Vec::new())).collect(),
    }
}

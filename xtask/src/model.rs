//! The catalogue in the form of its files. Unknown keys are refused.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::release::Release;

/// The whole catalogue; modules are in the order of their file names.
pub(crate) struct Catalogue {
    pub(crate) releases: Vec<Release>,
    pub(crate) modules: Vec<Module>,
}

/// `catalogue/releases.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleaseTable {
    pub(crate) release: Vec<Release>,
}

/// Any other file of the catalogue.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Module {
    pub(crate) module: String,
    #[serde(default, rename = "enum")]
    pub(crate) enums: Vec<Enum>,
    #[serde(default, rename = "struct")]
    pub(crate) structs: Vec<Struct>,
    #[serde(default, rename = "event")]
    pub(crate) events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enum {
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) source: String,
    #[serde(rename = "value")]
    pub(crate) values: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Value {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) summary: String,
    pub(crate) since: Option<Release>,
    pub(crate) removed: Option<Release>,
    pub(crate) deprecated: Option<Release>,
    #[serde(default)]
    pub(crate) unstable: bool,
    pub(crate) condition: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) source: String,
    #[serde(default, rename = "member")]
    pub(crate) members: Vec<Member>,
    pub(crate) tag: Option<String>,
    #[serde(default, rename = "variant")]
    pub(crate) variants: Vec<Variant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variant {
    pub(crate) value: String,
    #[serde(rename = "type")]
    pub(crate) ty: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) ty: Type,
    pub(crate) summary: String,
    pub(crate) since: Option<Release>,
    pub(crate) removed: Option<Release>,
    #[serde(default)]
    pub(crate) optional: bool,
    pub(crate) optional_since: Option<Release>,
    pub(crate) unit: Option<String>,
    pub(crate) deprecated: Option<Release>,
    #[serde(default)]
    pub(crate) unstable: bool,
    pub(crate) condition: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) source: String,
    /// The events of libvirt that it becomes, with their details, as `virsh event` names them.
    pub(crate) libvirt: Vec<String>,
    pub(crate) since: Release,
    #[serde(default)]
    pub(crate) severity: Severity,
    pub(crate) failure: Option<Failure>,
    pub(crate) removed: Option<Release>,
    pub(crate) deprecated: Option<Release>,
    #[serde(default)]
    pub(crate) unstable: bool,
    pub(crate) condition: Option<String>,
    pub(crate) condition_since: Option<Release>,
    pub(crate) condition_removed: Option<Release>,
    pub(crate) data_since: Option<Release>,
    #[serde(default)]
    pub(crate) notes: Vec<String>,
    pub(crate) throttle: Option<Throttle>,
    #[serde(default, rename = "member")]
    pub(crate) members: Vec<Member>,
    #[serde(default, rename = "sequel")]
    pub(crate) sequels: Vec<Sequel>,
    #[serde(default)]
    pub(crate) ends: Vec<Ends>,
    #[serde(default, rename = "rule")]
    pub(crate) rules: Vec<Rule>,
    #[serde(default, rename = "example")]
    pub(crate) examples: Vec<String>,
}

/// How urgent an event is; without the key it is `info`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Error,
    Warning,
    Lifecycle,
    Success,
    #[default]
    Info,
}

/// The member that makes the event an error: by its presence, or by this value.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    pub(crate) member: String,
    pub(crate) value: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Throttle {
    pub(crate) interval_ms: u32,
    pub(crate) since: Release,
    #[serde(default, rename = "key")]
    pub(crate) keys: Vec<Key>,
    #[serde(default)]
    pub(crate) exempt: Vec<Exempt>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    pub(crate) member: String,
    pub(crate) since: Release,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exempt {
    pub(crate) member: String,
    pub(crate) value: String,
    pub(crate) since: Release,
    #[serde(default)]
    pub(crate) also: Vec<Release>,
}

/// Members with their allowed values: each member must have one of its values.
pub(crate) type Values = BTreeMap<String, Vec<Scalar>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sequel {
    pub(crate) event: String,
    #[serde(default)]
    pub(crate) with: Values,
    #[serde(default)]
    pub(crate) when: Values,
    pub(crate) option: Option<String>,
    pub(crate) unless_option: Option<String>,
    pub(crate) since: Option<Release>,
    pub(crate) removed: Option<Release>,
    pub(crate) note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ends {
    #[serde(default)]
    pub(crate) when: Values,
    pub(crate) option: Option<String>,
    pub(crate) unless_option: Option<String>,
    pub(crate) since: Option<Release>,
    pub(crate) removed: Option<Release>,
    pub(crate) note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) when: Values,
    pub(crate) then: Values,
    pub(crate) note: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Scalar {
    Bool(bool),
    Int(i64),
    Str(String),
}

/// A type in the notation of a member: a builtin, the name of an enum or struct, or `[T]`.
#[derive(Deserialize)]
#[serde(from = "String")]
pub(crate) enum Type {
    Name(String),
    Array(Box<Type>),
}

impl Type {
    /// Returns the name within all brackets.
    pub(crate) fn base(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Array(element) => element.base(),
        }
    }
}

impl From<String> for Type {
    fn from(text: String) -> Self {
        match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(element) => Self::Array(Box::new(element.to_owned().into())),
            None => Self::Name(text),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Array(element) => write!(formatter, "[{element}]"),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(formatter),
            Self::Int(value) => value.fmt(formatter),
            Self::Str(value) => value.fmt(formatter),
        }
    }
}

impl Catalogue {
    pub(crate) fn enums(&self) -> impl Iterator<Item = &Enum> {
        self.modules.iter().flat_map(|module| &module.enums)
    }

    pub(crate) fn structs(&self) -> impl Iterator<Item = &Struct> {
        self.modules.iter().flat_map(|module| &module.structs)
    }

    /// Returns all events, sorted by name, each with its module.
    pub(crate) fn events(&self) -> Vec<(&Module, &Event)> {
        let mut all: Vec<_> = self
            .modules
            .iter()
            .flat_map(|module| module.events.iter().map(move |event| (module, event)))
            .collect();
        all.sort_by_key(|(_, event)| &event.name);
        all
    }

    pub(crate) fn enum_named(&self, name: &str) -> Option<&Enum> {
        self.enums().find(|other| other.name == name)
    }

    pub(crate) fn struct_named(&self, name: &str) -> Option<&Struct> {
        self.structs().find(|other| other.name == name)
    }

    pub(crate) fn event_named(&self, name: &str) -> Option<&Event> {
        self.modules.iter().flat_map(|module| &module.events).find(|other| other.name == name)
    }
}

//! One entry of the reply to `query-qmp-schema`, as it is on the wire.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An entry of any meta-type; keys of other meta-types are absent.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Entry {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) variants: Option<Vec<EntryVariant>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) members: Option<Vec<EntryMember>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) json_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) element_type: Option<String>,
    pub(super) meta_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) arg_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) values: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) features: Vec<String>,
}

/// A member of an object, a value of an enum, or a possibility of an alternate.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct EntryMember {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// Present, with the value `null`, if the member may be absent.
    #[serde(
        default,
        rename = "default",
        deserialize_with = "is_present",
        serialize_with = "null",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub(super) is_optional: bool,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) ty: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) features: Vec<String>,
}

/// A branch of a union.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EntryVariant {
    #[serde(rename = "case")]
    pub(super) value: String,
    #[serde(rename = "type")]
    pub(super) ty: String,
}

fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn null<S: Serializer>(_: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_unit()
}

//! The JSON Schema of the configuration file, for editors (draft 2020-12).
//!
//! It refuses a file that has an unknown key, a value of another form, or keys that exclude each other. Conditions that
//! need more than the file (whether a name is unique, a path absolute, a condition possible) are those of the reader. The
//! limits of a span or a size, which has many units, are in the description of the key.

use std::collections::BTreeMap;

use qmp_settings::schema::{Constraint, Form, KeySchema, Presence, TableSchema};
use qmp_settings::{size, span};
use serde_json::{Map, Value, json};

use super::schema::HUB;

/// Definitions by the names of their tables.
type Definitions = BTreeMap<&'static str, Value>;

/// Returns the schema, as a text of several lines.
#[must_use]
pub fn config_schema() -> String {
    let mut definitions = Definitions::new();
    let Value::Object(mut schema) = table(&HUB, &mut definitions) else {
        unreachable!("a table is an object")
    };
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), "Configuration of the hub of qmp-events (hub.toml)".into());
    schema.insert("$defs".into(), json!(definitions));
    format!("{:#}\n", Value::Object(schema))
}

fn table(schema: &'static TableSchema, definitions: &mut Definitions) -> Value {
    let keys = schema.all_keys();
    let properties: Map<String, Value> =
        keys.iter().map(|key| (key.name.to_owned(), property(key, definitions))).collect();
    let mut object = json!({
        "type": "object",
        "description": schema.summary,
        "properties": properties,
        "additionalProperties": false,
    });
    let required: Vec<&str> =
        keys.iter().filter(|key| key.presence == Presence::Required).map(|key| key.name).collect();
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    if !schema.variants.is_empty() {
        object["oneOf"] = schema.variants.iter().map(|variant| has(variant.key.name)).collect();
    }
    let conditions = conditions(schema);
    if !conditions.is_empty() {
        object["allOf"] = json!(conditions);
    }
    object
}

/// The conditions on several keys.
fn conditions(schema: &TableSchema) -> Vec<Value> {
    let options = schema.all_keys().into_iter().filter_map(|key| {
        let owners: Vec<&str> = schema.owners(key.name).map(|variant| variant.key.name).collect();
        (!owners.is_empty()).then(|| condition(key.name, &has_any(&owners)))
    });
    let constraints = schema.constraints.iter().flat_map(|constraint| match *constraint {
        Constraint::Requires { key, any_of } => vec![condition(key, &has_any(any_of))],
        Constraint::RequiresValue { key, other, value } => {
            let has_value = json!({ "required": [other], "properties": { other: { "const": value } } });
            vec![condition(key, &has_value)]
        }
        Constraint::Excludes { key, others } => {
            others().into_iter().map(|other| condition(key, &json!({ "not": has(other) }))).collect()
        }
    });
    options.chain(constraints).collect()
}

fn condition(key: &str, then: &Value) -> Value {
    json!({ "if": has(key), "then": then })
}

fn has(key: &str) -> Value {
    json!({ "required": [key] })
}

fn has_any(keys: &[&str]) -> Value {
    match keys {
        [key] => has(key),
        keys => json!({ "anyOf": keys.iter().map(|key| has(key)).collect::<Vec<_>>() }),
    }
}

fn property(key: &KeySchema, definitions: &mut Definitions) -> Value {
    let mut property = value_schema(&key.form, definitions);
    let mut description = format!("{} Value: {}.", key.summary, key.form);
    match key.presence {
        Presence::Default(value) => property["default"] = literal(value),
        Presence::Optional("") | Presence::Required => {}
        Presence::Optional(effect) => description += &format!(" Without it: {effect}."),
    }
    property["description"] = description.into();
    if !key.example.is_empty() {
        property["examples"] = json!([literal(key.example)]);
    }
    property
}

fn value_schema(form: &Form, definitions: &mut Definitions) -> Value {
    match *form {
        Form::Flag => json!({ "type": "boolean" }),
        Form::True => json!({ "const": true }),
        Form::Text | Form::Path => json!({ "type": "string", "minLength": 1 }),
        Form::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
        Form::Choice(choices) => json!({ "enum": choices() }),
        Form::Suggested(names) => {
            json!({ "anyOf": [{ "enum": names() }, { "type": "string", "minLength": 1 }] })
        }
        Form::Span { .. } => json!({ "type": "string", "pattern": span::pattern() }),
        Form::Size { is_number, min_bytes } => {
            let text = json!({ "type": "string", "pattern": size::PATTERN });
            if is_number {
                json!({ "anyOf": [text, { "type": "integer", "minimum": min_bytes }] })
            } else {
                text
            }
        }
        Form::Number { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Form::Mode => json!({ "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": 0o777 },
            { "type": "string", "pattern": "^0*[0-7]{1,3}$" },
        ] }),
        Form::Command => json!({ "anyOf": [
            { "type": "string", "minLength": 1 },
            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        ] }),
        Form::List(item) => {
            json!({ "type": "array", "items": value_schema(item, definitions), "minItems": 1 })
        }
        Form::OneOrList { item, min } => {
            let item = value_schema(item, definitions);
            json!({ "anyOf": [item, { "type": "array", "items": item, "minItems": min }] })
        }
        Form::Any(forms) => {
            let forms: Vec<Value> = forms.iter().map(|form| value_schema(form, definitions)).collect();
            json!({ "anyOf": forms })
        }
        Form::Table(table) => reference(table, definitions),
        Form::Tables(table) => json!({ "type": "array", "items": reference(table, definitions) }),
    }
}

fn reference(schema: &'static TableSchema, definitions: &mut Definitions) -> Value {
    let name = schema.header.trim_matches(['[', ']']).rsplit('.').next().unwrap_or_default();
    if !definitions.contains_key(name) {
        let definition = table(schema, definitions);
        definitions.insert(name, definition);
    }
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// The JSON value of a value as written in TOML.
fn literal(text: &str) -> Value {
    let table: toml::Table = toml::from_str(&format!("value = {text}")).unwrap_or_default();
    table.get("value").map_or(Value::Null, |value| json!(value))
}
